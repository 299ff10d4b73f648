package num

import (
	"math"
	"math/bits"
)

// SinCos is the sine and cosine of x radians, each within 0.6 ulp for every finite x; NaN for others.
func SinCos(x float64) (sin, cos float64) {
	a := math.Abs(x)
	switch {
	case a < 0x1p-27:
		return x, 1
	case a < 0x1p24:
	case !(a <= math.MaxFloat64):
		return math.NaN(), math.NaN()
	}
	n, r, rest := reduce(a)
	s, c := sinKernel(r, rest), cosKernel(r, rest)
	return quadrant(uint64(n), math.Float64bits(s), math.Float64bits(c), math.Float64bits(x)&signBit)
}

const signBit = 1 << 63

// quadrant turns sine and cosine by n right angles and the sine's sign by that of x. It has no
// branches, as they could not be predicted.
func quadrant(n, s, c, sign uint64) (sin, cos float64) {
	swap := (s ^ c) & -(n & 1)
	s, c = s^swap, c^swap
	s ^= n<<62&signBit ^ sign
	c ^= (n + 1) << 62 & signBit
	return math.Float64frombits(s), math.Float64frombits(c)
}

// reduce writes a finite a >= 0 as n*pi/2 + r + rest, n modulo 4 and |r| <= pi/4 or a little more.
func reduce(a float64) (n int, r, rest float64) {
	if a >= 0x1p24 {
		return reduceLarge(a)
	}
	nf := float64(float64(a*(2/math.Pi))+roundShift) - roundShift
	// n has at most 24 bits and the first three parts of pi/2 have 29 each, so these products are
	// exact, and so is the first difference.
	r, rest1 := twoSum(a-float64(nf*halfPi1), -float64(nf*halfPi2))
	r, rest2 := twoSum(r, -float64(nf*halfPi3))
	rest = (rest2 - float64(nf*halfPi4)) + rest1
	s := r + rest
	return int(nf) & 3, s, rest - (s - r)
}

// reduceLarge is reduce for a >= 2^24, after Payne and Hanek: a = m * 2^e with an integer m, and of
// 2/pi only those bits matter whose product with 2^e is neither a multiple of 4 nor negligible.
func reduceLarge(a float64) (n int, r, rest float64) {
	u := math.Float64bits(a)
	m := u&(1<<52-1) | 1<<52
	e := int(u>>52) - 1075

	// Three words from the bit of weight 2^(1-e) on; the table begins with 64 zero bits.
	first := uint(e + 62)
	word := func(i uint) uint64 {
		at, shift := first/64+i, first%64
		return twoOverPi[at]<<shift | twoOverPi[at+1]>>(64-shift)
	}
	// p is a*2/pi modulo 4, in units of 2^-190.
	h1, p1 := bits.Mul64(word(1), m)
	h2, p2 := bits.Mul64(word(2), m)
	p1, carry := bits.Add64(p1, h2, 0)
	p0 := word(0)*m + h1 + carry

	n = int((p0 + 1<<61) >> 62)
	p0 -= uint64(n) << 62
	sign := 1.0
	if int64(p0) < 0 {
		sign = -1
		var borrow uint64
		p2, borrow = bits.Sub64(0, p2, 0)
		p1, borrow = bits.Sub64(0, p1, borrow)
		p0, _ = bits.Sub64(0, p0, borrow)
	}
	// The fraction as hi+lo: 53 bits and the 64 after them.
	exp := -62
	if p0 == 0 {
		p0, p1, p2, exp = p1, p2, 0, exp-64
	}
	lead := uint(bits.LeadingZeros64(p0))
	p0, p1 = p0<<lead|p1>>(64-lead), p1<<lead|p2>>(64-lead)
	hi := math.Ldexp(float64(p0>>11), exp-int(lead)+11)
	lo := math.Ldexp(float64(p0<<53|p1>>11), exp-int(lead)-53)

	r, rest = twoProd(hi, halfPi)
	rest += float64(hi*halfPiRest) + float64(lo*halfPi)
	s := r + rest
	return n & 3, sign * s, sign * (rest - (s - r))
}

// Factorials, the inverse coefficients of the series. Constant arithmetic is exact.
const (
	f3  = 6
	f4  = f3 * 4
	f5  = f4 * 5
	f6  = f5 * 6
	f7  = f6 * 7
	f8  = f7 * 8
	f9  = f8 * 9
	f10 = f9 * 10
	f11 = f10 * 11
	f12 = f11 * 12
	f13 = f12 * 13
	f14 = f13 * 14
	f15 = f14 * 15
	f16 = f15 * 16
	f17 = f16 * 17
	f18 = f17 * 18
)

// sinKernel is sin(r+rest) by its series. The cubic term is taken in two parts, the larger of them
// rounded once, as its rounding errors would show in the result; so would that of the first sum.
func sinKernel(r, rest float64) float64 {
	const sixth, sixthRest = 0x1.5555555555555p-3, 1.0/6 - 0x1.5555555555555p-3
	z := float64(r * r)
	q := -1.0/f15 + float64(z*(1.0/f17))
	q = 1.0/f13 + float64(z*q)
	q = -1.0/f11 + float64(z*q)
	q = 1.0/f9 + float64(z*q)
	q = -1.0/f7 + float64(z*q)
	q = 1.0/f5 + float64(z*q)

	top := math.Float64frombits(math.Float64bits(r) &^ (1<<36 - 1)) // 17 bits
	square := float64(top * top)
	cube := float64(square * top) // exact
	small := float64((r - top) * (z + float64(r*top) + square))
	small = float64(float64(float64(r*z)*z)*q) - float64(small*sixth) - float64(cube*sixthRest)
	small += float64(rest * (1 - float64(0.5*z)))
	cubic := float64(cube * sixth)
	s := r - cubic
	return s + (((r - s) - cubic) + small)
}

// cosKernel is cos(r+rest) by its series. Half of r^2 is taken in two parts, as its rounding error
// would show in the result.
func cosKernel(r, rest float64) float64 {
	z := float64(r * r)
	q := 1.0/f16 - float64(z*(1.0/f18))
	q = -1.0/f14 + float64(z*q)
	q = 1.0/f12 + float64(z*q)
	q = -1.0/f10 + float64(z*q)
	q = 1.0/f8 + float64(z*q)
	q = -1.0/f6 + float64(z*q)
	q = 1.0/f4 + float64(z*q)

	rh := upper(r)
	a, b := float64(0.5*float64(rh*rh)), float64(0.5*float64((r-rh)*(r+rh)))
	w := 1 - a
	small := ((1 - w) - a) - b
	return w + (small + (float64(float64(z*z)*q) - float64(r*rest)))
}
