package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/pick"
)

func i64(n int64) *kernel.Expr { return kernel.C(kernel.I64, float64(n)) }

// normal takes numbers below the smallest normal one for 0, as some targets do
// by themselves. It looks at the bits, so all agree.
func (s *sampler) normal(x *kernel.Expr) *kernel.Expr {
	magnitude := x.As(kernel.U32).And(kernel.U(0x7fffffff))
	return magnitude.Lt(kernel.U(0x00800000)).Select(f32(0), x)
}

// octaves is how far a logit is below the largest, as package pick scales it: minus the
// binary logarithm of its weight, times 2^ScaleBits (u32). Two operations of float32 that
// are rounded the same everywhere, then integers: it does not fall along the ranking. What
// it is for logits that are no numbers, and where the largest is infinite, does not matter.
func (s *sampler) octaves(logit *kernel.Expr) *kernel.Expr {
	below := s.Let("below", s.normal(logit).Sub(s.largest))
	d := s.Let("d", s.normal(below).Mul(s.inv))
	d = s.Let("d", d.Ge(f32(pick.Lowest)).Select(d, f32(pick.Lowest)))
	n := s.Let("n", d.Neg().Mul(f32(1<<pick.ScaleBits)).To(kernel.I32).As(kernel.U32))
	return s.Let("z", scaledProduct(n, kernel.U(pick.Log2E), pick.Log2EBits))
}

// weight is a token's weight as package pick defines it (u32).
func (s *sampler) weight(key, octaves *kernel.Expr) *kernel.Expr {
	f := s.Let("f", octaves.And(kernel.U(1<<pick.ScaleBits-1)))
	terms := pick.PowerTerms
	power := kernel.U(terms[len(terms)-1])
	for i := len(terms) - 2; i >= 0; i-- {
		power = s.Let("power", kernel.U(terms[i]).Sub(scaledProduct(power, f, pick.ScaleBits)))
	}
	power = s.Let("power", kernel.U(1<<pick.PowerBits).Sub(scaledProduct(power, f, pick.ScaleBits)))
	shift := s.Let("shift", octaves.Shr(kernel.U(pick.ScaleBits)).Add(kernel.U(pick.PowerBits-pick.WeightBits)))
	half := kernel.U(1).Shl(shift.Sub(kernel.U(1)))
	w := s.Let("weight", power.Add(half).Shr(shift))
	return s.Let("weight", key.Eq(s.bestKey).Select(kernel.U(pick.One), w))
}

// drawn is what of a weight a token is drawn by: all, or nothing if it is below min-p.
func drawn(weight, minP *kernel.Expr) *kernel.Expr {
	return weight.Ge(minP).Select(weight, kernel.U(0))
}

// scaledProduct is floor(x*y / 2^bits) of u32 whose product is below 2^63.
func scaledProduct(x, y *kernel.Expr, bits int64) *kernel.Expr {
	return x.To(kernel.I64).Mul(y.To(kernel.I64)).Shr(i64(bits)).To(kernel.U32)
}

// portion is floor(total * share / 2^32) of an i64 below 2^46 and a u32. The
// product has up to 78 bits; its lower 16 do not matter.
func (s *sampler) portion(total, share *kernel.Expr) *kernel.Expr {
	const part = 16
	wide := s.Let("wide", share.To(kernel.I64))
	high := total.Shr(i64(part)).Mul(wide)
	low := total.And(i64(1<<part - 1)).Mul(wide).Shr(i64(part))
	return high.Add(low).Shr(i64(part))
}
