package lower

import "smelt.example/smelt/internal/codegen/kernel"

// A sum is an i64 below 2^46, in threadgroup memory and over lanes two u32: the
// bits from sumBits on, and those below. The parts of 1024 sums fit a u32.
const sumBits = 22

// wideSum is a sum as two parts.
type wideSum struct{ low, high *kernel.Expr }

func partsOf(v *kernel.Expr) wideSum {
	return wideSum{v.And(i64(1<<sumBits - 1)).To(kernel.U32), v.Shr(i64(sumBits)).To(kernel.U32)}
}

func (p wideSum) value() *kernel.Expr {
	return p.high.To(kernel.I64).Shl(i64(sumBits)).Add(p.low.To(kernel.I64))
}

// where is the sum where the condition holds, else 0.
func (p wideSum) where(cond *kernel.Expr) wideSum {
	return wideSum{cond.Select(p.low, kernel.U(0)), cond.Select(p.high, kernel.U(0))}
}

// acrossLanes adds up over the SIMD group.
func (s *sampler) acrossLanes(p wideSum) wideSum {
	return wideSum{s.Let("low", p.low.SimdSum()), s.Let("high", p.high.SimdSum())}
}

// lanesBefore adds up over the lanes before.
func (s *sampler) lanesBefore(p wideSum) wideSum {
	return wideSum{s.Let("low", p.low.SimdPrefix()), s.Let("high", p.high.SimdPrefix())}
}

// wideArray is sums in threadgroup memory.
type wideArray struct{ low, high kernel.Array }

func (s *sampler) wideArray(name string, n int) wideArray {
	return wideArray{s.SharedArray(name+"_low", kernel.U32, n), s.SharedArray(name+"_high", kernel.U32, n)}
}

func (a wideArray) set(i *kernel.Expr, p wideSum) {
	a.low.Set(i, p.low)
	a.high.Set(i, p.high)
}

func (a wideArray) at(i *kernel.Expr) wideSum { return wideSum{a.low.At(i), a.high.At(i)} }
