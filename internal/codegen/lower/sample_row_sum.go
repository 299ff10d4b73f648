package lower

import "smelt.example/smelt/internal/codegen/kernel"

// measure gives the number that is added up for a token, a u32 up to pick.One, for the
// tokens that are in.
type measure struct {
	in func(c candidate) *kernel.Expr
	of func(c candidate) *kernel.Expr
}

// segmentTokens is how many ids of a segment a lane has at most. Ids are added up
// in segments: runs that a SIMD group goes through with a u32 for each lane. The
// sum of so many weights fits, and locate goes through a single segment.
const segmentTokens = 64

func (s *rowSampler) segments() int {
	each := segmentTokens * s.Schedule().SimdWidth
	return max(s.groups(), (s.vocab+each-1)/each)
}

// segmentIDs is the number of ids in a segment; the last ones may have fewer,
// or none.
func (s *rowSampler) segmentIDs() int {
	width := s.Schedule().SimdWidth
	each := s.segments() * width
	return (s.vocab + each - 1) / each * width
}

func (s *rowSampler) segment(segment *kernel.Expr) (first, end *kernel.Expr) {
	first = s.Let("first_id", segment.Mul(i32(s.segmentIDs())))
	return first, s.Let("end_id", first.Add(i32(s.segmentIDs())).Min(i32(s.vocab)))
}

// eachSegment runs f for the lanes' candidates of the SIMD group's segments,
// start before and end behind each segment.
func (s *rowSampler) eachSegment(start func(), f func(c candidate), end func(segment *kernel.Expr)) {
	s.For("segment", kernel.Simd(), i32(s.segments()), i32(s.groups()), func(segment *kernel.Expr) {
		first, last := s.segment(segment)
		start()
		s.For("i", first.Add(kernel.Lane()), last, i32(s.Schedule().SimdWidth), func(i *kernel.Expr) { f(s.candidate(i)) })
		end(segment)
	})
}

// totals adds up each of vs (i64) over the threadgroup, which has to meet.
func (s *rowSampler) totals(vs []kernel.Variable) []*kernel.Expr {
	sums, totals := make([]wideSum, len(vs)), make([]*kernel.Expr, len(vs))
	for i, v := range vs {
		sums[i] = s.acrossLanes(partsOf(v.Expr))
	}
	s.Barrier()
	for i, sum := range sums {
		totals[i] = s.Let("total", sum.value())
	}
	return totals
}

func (s *rowSampler) segmentSums() wideArray { return s.wideArray("segment_sums", s.segments()) }

// sumSegments adds up the tokens of each segment. A barrier must lie between two
// calls beside the one in here.
func (s *rowSampler) sumSegments(m measure) {
	sums := s.segmentSums()
	var part kernel.Variable
	s.eachSegment(func() { part = s.Var("part", kernel.U(0)) }, func(c candidate) {
		s.If(m.in(c), func() { part.Set(part.Add(m.of(c))) }, nil)
	}, func(segment *kernel.Expr) {
		sum := s.acrossLanes(partsOf(part.To(kernel.I64)))
		s.If(kernel.Lane().Eq(i32(0)), func() { sums.set(segment, sum) }, nil)
	})
	s.Barrier()
}

// total is the sum of all tokens (i64). It leaves the segments' sums to locate.
func (s *rowSampler) total(m measure) *kernel.Expr {
	s.sumSegments(m)
	total, sums := s.Var("sum_of_all", i64(0)), s.segmentSums()
	s.For("n", i32(0), i32(s.segments()), i32(1), func(n *kernel.Expr) { total.Set(total.Add(sums.at(n).value())) })
	return total.Expr
}

// locate is the first id at which the sum of the tokens, by ascending id,
// exceeds target; -1 if it never does. The segments' sums must be those of m. It
// ends with a barrier.
func (s *rowSampler) locate(m measure, target *kernel.Expr) *kernel.Expr {
	sums, found := s.segmentSums(), s.SharedArray("found_id", kernel.I32, 1)
	home, before, sum := s.Var("home", i32(-1)), s.Var("before", i64(0)), s.Var("running", i64(0))
	s.For("n", i32(0), i32(s.segments()), i32(1), func(n *kernel.Expr) {
		next := s.Let("next", sum.Add(sums.at(n).value()))
		s.If(home.Lt(i32(0)).And(next.Gt(target)), func() {
			home.Set(n)
			before.Set(sum.Expr)
		}, nil)
		sum.Set(next)
	})
	s.If(kernel.Simd().Eq(i32(0)), func() {
		id := s.Var("id", i32(-1))
		s.If(home.Ge(i32(0)), func() { s.locateIn(home.Expr, s.Let("missing", target.Sub(before.Expr)), m, id) }, nil)
		s.If(kernel.Lane().Eq(i32(0)), func() { found.Set(i32(0), id.Expr) }, nil)
	}, nil)
	s.Barrier()
	return s.Let("located", found.At(i32(0)))
}

// locateIn does that for one segment, whose sum exceeds target.
func (s *rowSampler) locateIn(segment, target *kernel.Expr, m measure, id kernel.Variable) {
	none := i32(1 << 30)
	first, end := s.segment(segment)
	sum := s.Var("sum", i64(0))
	s.For("from", first, end, i32(s.Schedule().SimdWidth), func(from *kernel.Expr) {
		s.If(id.Lt(i32(0)), func() {
			i := s.Let("i", from.Add(kernel.Lane()))
			v := s.Var("v", kernel.U(0))
			s.If(i.Lt(end), func() {
				c := s.candidate(i)
				s.If(m.in(c), func() { v.Set(m.of(c)) }, nil)
			}, nil)
			through := s.Let("through", sum.Add(v.SimdPrefix().Add(v.Expr).To(kernel.I64)))
			nearest := s.Let("nearest", through.Gt(target).Select(i, none).SimdMin())
			s.If(nearest.Lt(none), func() { id.Set(nearest) }, nil)
			sum.Set(sum.Add(v.SimdSum().To(kernel.I64)))
		}, nil)
	})
}
