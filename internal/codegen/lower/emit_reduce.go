package lower

import (
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
)

// threadgroupSum adds a value up over all threads, SIMD groups in ascending order.
func (u *emitter) threadgroupSum(v *kernel.Expr) *kernel.Expr {
	s := u.Schedule()
	n := s.Threads / s.SimdWidth
	part := u.Let("part", v.SimdSum())
	if n == 1 {
		return part
	}
	parts := u.SharedArray("partial", kernel.F32, n)
	u.Barrier()
	u.If(kernel.Lane().Eq(i32(0)), func() { parts.Set(kernel.Simd(), part) }, nil)
	u.Barrier()
	total := parts.At(i32(0))
	for i := 1; i < n; i++ {
		total = total.Add(parts.At(i32(i)))
	}
	return u.Let("total", total)
}

// rms is 1/sqrt(mean(x^2)+eps) of k elements, from vector `first` on, added up
// by the whole threadgroup; every thread gets it.
func (u *emitter) rms(x kernel.Buffer, first *kernel.Expr, k int, eps float64) *kernel.Expr {
	sum := u.squares(x, first, k, kernel.Thread(), u.Schedule().Threads)
	return u.inverseRms(u.threadgroupSum(sum), k, eps)
}

// rmsOfSimd is the same, added up by each SIMD group for itself.
func (u *emitter) rmsOfSimd(x kernel.Buffer, first *kernel.Expr, k int, eps float64) *kernel.Expr {
	sum := u.squares(x, first, k, kernel.Lane(), u.Schedule().SimdWidth)
	return u.inverseRms(u.Let("total", sum.SimdSum()), k, eps)
}

// squares adds up x^2 of every `threads`-th vector from this thread's on.
func (u *emitter) squares(x kernel.Buffer, first *kernel.Expr, k int, thread *kernel.Expr, threads int) *kernel.Expr {
	sum := u.Var("squares", f32(0))
	u.For("i", thread, i32(k/4), i32(threads), func(i *kernel.Expr) {
		v := u.Let("v", x.At(first.Add(i)))
		acc := sum.Expr
		for lane := range 4 {
			acc = v.Lane(lane).Fma(v.Lane(lane), acc)
		}
		sum.Set(acc)
	})
	return sum.Expr
}

func (u *emitter) inverseRms(total *kernel.Expr, k int, eps float64) *kernel.Expr {
	return u.Let("inv_rms", total.Mul(f32(1/float64(k))).Add(f32(eps)).Rsqrt())
}

// sumsOverLanes adds each of some values up over the SIMD group, at most as many as
// it has lanes: lane l gets the sum of value l/each. Each step leaves half of the
// values to the other half of the lanes, so that all take fewer shuffles than a sum
// of one takes for each.
func (u *emitter) sumsOverLanes(values []*kernel.Expr) (sum *kernel.Expr, each int) {
	each = u.Schedule().SimdWidth
	for each*len(values) > u.Schedule().SimdWidth {
		each /= 2
	}
	v := slices.Clone(values)
	for len(v) < u.Schedule().SimdWidth/each {
		v = append(v, values[len(values)-1])
	}
	for mask := u.Schedule().SimdWidth / 2; mask > 0; mask /= 2 {
		half := len(v) / 2
		if half == 0 {
			v[0] = u.Let("sum", v[0].Add(v[0].ShuffleXor(mask)))
			continue
		}
		upper := u.Let("upper", kernel.Lane().And(i32(mask)).Ne(i32(0)))
		for i := range half {
			give := u.Let("give", upper.Select(v[i], v[half+i]))
			v[i] = u.Let("sum", upper.Select(v[half+i], v[i]).Add(give.ShuffleXor(mask)))
		}
		v = v[:half]
	}
	return v[0], each
}
