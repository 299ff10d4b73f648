package num

import (
	"math"
	"math/big"
	"sync"
)

// refPrec is enough for every reference below: results are off by far less than 2^-150 of their size.
const refPrec = 320

func bigF(x float64) *big.Float { return new(big.Float).SetPrec(refPrec).SetFloat64(x) }
func bigN() *big.Float          { return new(big.Float).SetPrec(refPrec) }

// series adds first * prod(step(i)) over i = 1, 2... until the terms vanish.
func series(first *big.Float, step func(term *big.Float, i int64)) *big.Float {
	sum, term := bigN().Set(first), bigN().Set(first)
	for i := int64(1); term.Sign() != 0 && (sum.Sign() == 0 || term.MantExp(nil) > sum.MantExp(nil)-refPrec-8); i++ {
		step(term, i)
		sum.Add(sum, term)
	}
	return sum
}

// twiceAtanh is 2 atanh(x) = log((1+x)/(1-x)).
func twiceAtanh(x *big.Float) *big.Float {
	sq, power := bigN().Mul(x, x), bigN().Set(x)
	sum := series(x, func(t *big.Float, i int64) {
		power.Mul(power, sq)
		t.Quo(power, bigN().SetInt64(2*i+1))
	})
	return sum.Mul(sum, bigF(2))
}

var bigLn2 = sync.OnceValue(func() *big.Float { return twiceAtanh(bigN().Quo(bigF(1), bigF(3))) })

// bigPi has precision for the reduction of any float64. Machin: pi = 16 atan(1/5) - 4 atan(1/239).
var bigPi = sync.OnceValue(func() *big.Float {
	const prec = 1600
	n := func(v int64) *big.Float { return new(big.Float).SetPrec(prec).SetInt64(v) }
	atanInv := func(v int64) *big.Float {
		sum, power := n(0), new(big.Float).SetPrec(prec).Quo(n(1), n(v))
		for i := int64(0); power.MantExp(nil) > -prec; i++ {
			term := new(big.Float).SetPrec(prec).Quo(power, n(2*i+1))
			if i%2 == 1 {
				term.Neg(term)
			}
			sum.Add(sum, term)
			power.Quo(power, n(v*v))
		}
		return sum
	}
	a, b := atanInv(5), atanInv(239)
	return a.Sub(a.Mul(a, n(16)), b.Mul(b, n(4)))
})

func bigExp(x *big.Float) *big.Float {
	q, _ := bigN().Quo(x, bigLn2()).Float64()
	k := math.RoundToEven(q)
	r := bigN().Sub(x, bigN().Mul(bigF(k), bigLn2()))
	e := series(bigF(1), func(t *big.Float, i int64) { t.Mul(t, r).Quo(t, bigN().SetInt64(i)) })
	return e.SetMantExp(e, int(k))
}

func bigLog(x *big.Float) *big.Float {
	m := bigN()
	k := x.MantExp(m) // m in [0.5, 1)
	if m.Cmp(bigF(0.7)) < 0 {
		m.Mul(m, bigF(2))
		k--
	}
	sum := twiceAtanh(bigN().Quo(bigN().Sub(m, bigF(1)), bigN().Add(m, bigF(1))))
	return sum.Add(sum, bigN().Mul(bigN().SetInt64(int64(k)), bigLn2()))
}

func bigSinCos(x float64) (sin, cos *big.Float) {
	half := new(big.Float).SetPrec(1600).Quo(bigPi(), big.NewFloat(2))
	exact := new(big.Float).SetPrec(1600).SetFloat64(x)
	q := new(big.Float).SetPrec(1600).Quo(exact, half)
	q.Add(q, big.NewFloat(math.Copysign(0.5, x)))
	n, _ := q.Int(nil)
	r := bigN().Set(exact.Sub(exact, half.Mul(half, new(big.Float).SetPrec(1600).SetInt(n))))
	sq := bigN().Neg(bigN().Mul(r, r))
	sin = series(r, func(t *big.Float, i int64) { t.Mul(t, sq).Quo(t, bigN().SetInt64(2*i*(2*i+1))) })
	cos = series(bigF(1), func(t *big.Float, i int64) { t.Mul(t, sq).Quo(t, bigN().SetInt64(2*i*(2*i-1))) })
	switch new(big.Int).And(n, big.NewInt(3)).Int64() {
	case 1:
		return cos, sin.Neg(sin)
	case 2:
		return sin.Neg(sin), cos.Neg(cos)
	case 3:
		return cos.Neg(cos), sin
	}
	return sin, cos
}

func bigSigmoid(x *big.Float) *big.Float {
	d := bigExp(bigN().Neg(x))
	return d.Quo(bigF(1), d.Add(d, bigF(1)))
}

// bigLog1p is exact in its argument even where 1+x is not.
func bigLog1p(x *big.Float) *big.Float {
	if x.Sign() != 0 && x.MantExp(nil) < -20 {
		return twiceAtanh(bigN().Quo(x, bigN().Add(x, bigF(2))))
	}
	return bigLog(bigN().Add(x, bigF(1)))
}

// ulps is how far got is from want, in units of want's last place as a float64.
func ulps(got float64, want *big.Float) float64 {
	if math.IsNaN(got) {
		return math.Inf(1)
	}
	if math.IsInf(got, 0) {
		if f, _ := want.Float64(); f == got {
			return 0.5
		}
		return math.Inf(1)
	}
	e := max(want.MantExp(nil)-53, -1074)
	d := new(big.Float).SetPrec(refPrec).Sub(bigF(got), want)
	d.SetMantExp(d, -e)
	f, _ := d.Float64()
	return math.Abs(f)
}
