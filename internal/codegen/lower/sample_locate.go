package lower

import "smelt.example/smelt/internal/codegen/kernel"

// place is what locate finds: an index, -1 if there is none, and the sum before it.
type place struct{ index, before *kernel.Expr }

// locate finds the first of n values (i32, the same for all threads; i64 each, whose sums
// stay below 2^46) at which their sum exceeds target. Each SIMD group has a run of them.
// All threads must reach it, and agree on the place.
func (s *partSampler) locate(n *kernel.Expr, value func(i *kernel.Expr) *kernel.Expr, target *kernel.Expr) place {
	found, before := s.SharedArray("found", kernel.I32, 1), s.wideArray("found_before", 1)
	s.Barrier()
	s.If(kernel.Thread().Eq(i32(0)), func() { found.Set(i32(0), i32(-1)) }, nil)
	threads := s.Schedule().Threads
	run := s.Let("run", n.Add(i32(threads-1)).Div(i32(threads)).Mul(i32(rankBuckets)))
	from := s.Let("run_from", kernel.Simd().Mul(run).Min(n))
	to := s.Let("run_to", from.Add(run).Min(n))
	mine := s.Var("mine", i64(0))
	s.For("i", from.Add(kernel.Lane()), to, i32(rankBuckets), func(i *kernel.Expr) { mine.Set(mine.Add(value(i))) })
	sums := s.wideArray("run_sums", s.groups())
	total := s.sumOverLanes(mine.Expr)
	s.If(kernel.Lane().Eq(i32(0)), func() { sums.set(kernel.Simd(), partsOf(total)) }, nil)
	s.Barrier()
	sum := s.Var("running", s.sumOfGroups(sums, kernel.Simd()))
	s.If(sum.Le(target).And(sum.Add(total).Gt(target)), func() {
		s.For("at", from, to, i32(rankBuckets), func(at *kernel.Expr) {
			i := s.Let("i", at.Add(kernel.Lane()))
			v := s.Var("v", i64(0))
			s.If(i.Lt(to), func() { v.Set(value(i)) }, nil)
			start := s.Let("start", sum.Add(s.sumBeforeLane(v.Expr)))
			s.If(start.Le(target).And(start.Add(v.Expr).Gt(target)), func() {
				found.Set(i32(0), i)
				before.set(i32(0), partsOf(start))
			}, nil)
			sum.Set(sum.Add(s.sumOverLanes(v.Expr)))
		})
	}, nil)
	s.Barrier()
	return place{s.Let("located", found.At(i32(0))), s.Let("located_before", before.at(i32(0)).value())}
}
