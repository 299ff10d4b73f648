// Package num has elementary functions that give the same bits on every machine. The standard
// library's do not: some of them are assembly on some machines, and a compiler may fuse x*y + z
// where the machine can. Here every product that meets a sum is converted explicitly, which forbids
// fusing, and only correctly rounded operations are used.
//
// Errors are in units in the last place (ulp) of the exact result, as measured against math/big in
// the tests, over random and special arguments; below the normal range the unit is 2^-1074.
//
// It also has the small floats that weights and caches are stored as, each to float32 and back.
package num

import "math"

// Sigmoid is 1/(1+e^-x), within 3.1 ulp (2.2 seen).
func Sigmoid(x float64) float64 {
	if x < 0 {
		e := Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + Exp(-x))
}

// Softplus is log(1+e^x), within 3.1 ulp (1.2 seen).
func Softplus(x float64) float64 {
	return max(x, 0) + Log1p(Exp(-math.Abs(x)))
}

// Silu is x/(1+e^-x), within 4.1 ulp (2.6 seen). At minus infinity it is its limit, -0.
func Silu(x float64) float64 {
	switch {
	case x > -700 || x != x:
		return x * Sigmoid(x)
	case x < -expLimit:
		return math.Copysign(0, -1)
	}
	// Here it is x e^x, and e^x alone may be subnormal, with few bits.
	m, k := expParts(x, 0)
	return math.Ldexp(x*m, k)
}

// twoSum is a+b as its rounded value and the exact rest.
func twoSum(a, b float64) (s, rest float64) {
	s = a + b
	t := s - a
	return s, (a - (s - t)) + (b - t)
}

// upper keeps the 26 leading bits of a, so that the product of two such parts is exact.
func upper(a float64) float64 {
	return math.Float64frombits(math.Float64bits(a) &^ (1<<27 - 1))
}

// twoProd is a*b as its rounded value and the rest, which is exact but for its own last bits.
func twoProd(a, b float64) (p, rest float64) {
	p = float64(a * b)
	ah, bh := upper(a), upper(b)
	al, bl := a-ah, b-bh
	rest = float64(ah*bh) - p
	rest += float64(ah * bl)
	rest += float64(al * bh)
	return p, rest + float64(al*bl)
}
