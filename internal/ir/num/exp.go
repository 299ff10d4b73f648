package num

import "math"

const (
	expBits = 7
	expN    = 1 << expBits

	// expLimit bounds the arguments whose exponential is neither 0 nor infinite.
	expLimit = 1000.0

	// roundShift added and subtracted rounds to the nearest integer, for magnitudes below 2^51.
	roundShift = 0x1.8p52
)

// Exp is e^x, within 0.51 ulp (1 ulp where the result is subnormal).
func Exp(x float64) float64 {
	if !(math.Abs(x) < expLimit) {
		switch {
		case x > 0:
			return math.Inf(1)
		case x < 0:
			return 0
		}
		return x
	}
	m, k := expParts(x, 0)
	if k < -1022 || k > 1023 {
		return math.Ldexp(m, k)
	}
	return m * math.Float64frombits(uint64(k+1023)<<52)
}

// expParts is e^(x+tail) = m * 2^k with m in (0.99, 2), for |x| < expLimit and |tail| <= ulp(x).
//
// x = (k + i/N) ln 2 + r with 0 <= i < N and |r| <= ln 2 / 2N, so e^x = 2^k * 2^(i/N) * e^r, with
// the second factor from a table and the third from its series. Only the last addition rounds
// at the scale of the result.
func expParts(x, tail float64) (m float64, k int) {
	n := float64(float64(x*expPerLn2)+roundShift) - roundShift
	// n has at most 18 bits and expLn2Hi 35, so that the first difference is exact.
	r := (x - float64(n*expLn2Hi)) - float64(n*expLn2Lo) + tail
	q := 1.0/6 + float64(r*(1.0/24+float64(r*(1.0/120))))
	q = 0.5 + float64(r*q)
	p := r + float64(float64(r*r)*q)
	i := int(n)
	t := &expTable[i&(expN-1)]
	return t.value + float64(t.value*(t.rest+p)), i >> expBits
}
