package num

import "math"

const (
	logBits = 7
	logN    = 1 << logBits

	// logLow is the lower end of the interval [logLow, 2*logLow) to which arguments are scaled: 1 is
	// well inside.
	logLow = 0.6875
)

// Log is the natural logarithm, within 0.52 ulp. It is NaN below 0 and minus infinity at 0.
func Log(x float64) float64 {
	switch {
	case x != x || x > math.MaxFloat64:
		return x
	case x < 0:
		return math.NaN()
	case x == 0:
		return math.Inf(-1)
	}
	hi, lo := logParts(x)
	return hi + lo
}

// Log1p is log(1+x), within 0.52 ulp also near 0. It is NaN below -1 and minus infinity at -1.
func Log1p(x float64) float64 {
	switch {
	case x != x || x > math.MaxFloat64:
		return x
	case x < -1:
		return math.NaN()
	case x == -1:
		return math.Inf(-1)
	case math.Abs(x) < 0x1p-54:
		return x
	case math.Abs(x) < 0x1p-13:
		q := 1.0/3 - float64(x*(1.0/4-float64(x*(1.0/5))))
		q = 0.5 - float64(x*q)
		return x - float64(float64(x*x)*q)
	}
	u, rest := twoSum(1, x)
	hi, lo := logParts(u)
	return hi + (lo + rest/u)
}

// logParts is log(x) as hi+lo for a positive finite x, with an error below 2^-66 and below 2^-59 of
// the result. lo is at most a hundredth of hi.
//
// x = 2^k z, and z * c = 1 + r with c near 1/z from a table, so log x = k ln 2 - log c + log(1+r).
// c has so few bits that r is exact in two parts; next to 1 c is 1, so that nothing cancels.
func logParts(x float64) (hi, lo float64) {
	k := 0
	if x < 0x1p-1022 {
		x, k = x*0x1p54, -54
	}
	u := math.Float64bits(x)
	above := u - logLowBits
	k += int(int64(above) >> 52)
	z := math.Float64frombits(u - above&(0xFFF<<52))
	t := &logTable[above>>(52-logBits)&(logN-1)]

	zh := upper(z)
	r, rest := twoSum(float64(zh*t.c)-1, float64((z-zh)*t.c))
	kf := float64(k)
	base := float64(kf*logLn2Hi) + t.hi // exact: 11 and 42 bits, and multiples of 2^-42
	hi, lo = twoSum(base, r)
	lo += rest + (t.lo + float64(kf*logLn2Lo))

	q := 1.0/7 - float64(r*(1.0/8-float64(r*(1.0/9))))
	q = 1.0/5 - float64(r*(1.0/6-float64(r*q)))
	q = 1.0/3 - float64(r*(1.0/4-float64(r*q)))
	q = 0.5 - float64(r*q)
	return hi, lo - float64(float64(r*r)*q)
}

// Pow is base^y for a positive finite base and a finite y, NaN for other arguments, within 0.6 ulp
// for results in the normal range and |y| <= 1 (as in rotary frequencies), 1 ulp otherwise.
func Pow(base, y float64) float64 {
	if !(base > 0 && base <= math.MaxFloat64 && math.Abs(y) <= math.MaxFloat64) {
		return math.NaN()
	}
	hi, lo := logParts(base)
	hi, lo = hi+lo, lo-((hi+lo)-hi)
	if p := y * hi; !(math.Abs(p) < expLimit) {
		return Exp(p)
	}
	p, rest := twoProd(y, hi)
	m, k := expParts(p, rest+float64(y*lo))
	return math.Ldexp(m, k)
}
