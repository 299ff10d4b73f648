package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// lowerPick makes the launch that picks the tokens, a threadgroup for each row.
func (m *sampleMemory) lowerPick() (program.Launch, error) {
	s := &picker{partSampler: m.begin("", pickThreads, "a row: they look at the sums of its parts, one bucket of its ranking and one part",
		"The token of each wanted row, of those its mask allows: the best of all parts, or one",
		"drawn by temperature, top-k, top-p and min-p. Rows with a negative inverse temperature",
		"are left alone.")}
	s.bindBest(kernel.Read)
	s.keys = s.memory("keys", m.keys, kernel.U32, kernel.Read, min(m.each, m.vocab))
	s.bindRanked(kernel.Read, min(m.each, m.vocab))
	out := s.memory("tokens", m.tokens, kernel.I32, kernel.Write, 1)
	s.of(kernel.Group(0))
	s.If(s.inv.Ge(f32(0)), func() {
		key, best := s.bestOfParts()
		token := s.Var("picked", best)
		s.If(s.inv.Gt(f32(0)).And(key.Gt(kernel.U(0))), func() {
			s.setBest(key)
			token.Set(s.draw())
		}, nil)
		s.If(kernel.Thread().Eq(i32(0)), func() { out.Set(s.place(), token.Expr) }, nil)
	}, nil)
	return s.launch("pick", ir.Sym(program.SampledRows))
}

// picker writes that kernel. The ranking is cut off in a bucket: of better ones all tokens
// are kept, of that one the members with keys above bound, and of those with that very key
// the ids up to last.
type picker struct {
	*partSampler
	keys kernel.Buffer
	minP *kernel.Expr

	cut   kernel.Variable // the bucket; restBucket: all are kept
	bound kernel.Variable // u32
	last  kernel.Variable // i32
}

// kept tells whether a member of the bucket is.
func (s *picker) kept(key, id *kernel.Expr) *kernel.Expr {
	return key.Gt(s.bound.Expr).Or(key.Eq(s.bound.Expr).And(id.Le(s.last.Expr)))
}

// upTo is a part's sum through the buckets before one (i64).
func (s *picker) upTo(plane, part, bucket *kernel.Expr) *kernel.Expr {
	at := s.throughAt(plane, part, bucket.Sub(i32(1)).Max(i32(0)))
	return bucket.Gt(i32(0)).Select(s.through.At(at), i64(0))
}

// draw is the id at which the sum of the weights that are kept, by ascending id, exceeds
// the random share of them all.
func (s *picker) draw() *kernel.Expr {
	s.minP = s.choiceBits(program.SampleMinP)
	s.cut, s.bound, s.last = s.Var("cut", i32(restBucket)), s.Var("bound", kernel.U(0)), s.Var("last", i32(-1))
	s.filter()
	s.Comment("The draw: first the part, then the token.")
	sums := s.partSums()
	target := s.Let("target", s.portion(s.sumOfParts(sums), s.choiceBits(program.SampleRandom)))
	home := s.locate(i32(s.m.parts), func(i *kernel.Expr) *kernel.Expr { return sums.at(i).value() }, target)
	first, end := s.part(home.index)
	within := s.locate(end.Sub(first), func(i *kernel.Expr) *kernel.Expr {
		id := s.Let("id", first.Add(i))
		key := s.Let("key", s.keys.At(s.base.Add(id)))
		w := s.weighed(key)
		better := s.bucketOf(w).As(kernel.I32).Lt(s.cut.Expr)
		in := better.Or(s.kept(key, id))
		return s.Let("kept_weight", in.Select(drawn(s.weightOf(w), s.minP), kernel.U(0)).To(kernel.I64))
	}, s.Let("missing", target.Sub(home.before)))
	return s.Let("token", first.Add(within.index))
}

// partSums is the sum of the weights that are drawn of each part.
func (s *picker) partSums() wideArray {
	sums, threads := s.wideArray("part_sums", s.m.parts), s.Schedule().Threads
	s.For("part", kernel.Thread(), i32(s.m.parts), i32(threads), func(part *kernel.Expr) {
		sums.set(part, partsOf(s.Let("better", s.upTo(i32(planeDrawn), part, s.cut.Expr))))
	})
	s.Barrier()
	s.If(s.cut.Lt(i32(restBucket)), func() {
		m := s.membership()
		s.For("part", kernel.Simd(), i32(s.m.parts), i32(s.groups()), func(part *kernel.Expr) {
			start := s.Let("part_start", m.start.At(part))
			count := s.Let("part_count", m.start.At(part.Add(i32(1))).Sub(start))
			s.If(count.Gt(i32(0)), func() {
				at := s.Let("part_at", s.rankedAt(part, m.from.At(part)))
				sum := s.Var("sum", i64(0))
				s.For("i", kernel.Lane(), count, i32(rankBuckets), func(i *kernel.Expr) {
					i = s.Let("member", at.Add(i))
					in := s.kept(s.Let("key", s.ranked.keys.At(i)), s.ranked.ids.At(i))
					w := drawn(s.Let("weight", s.ranked.weights.At(i)), s.minP)
					sum.Set(sum.Add(in.Select(w, kernel.U(0)).To(kernel.I64)))
				})
				members := s.sumOverLanes(sum.Expr)
				s.If(kernel.Lane().Eq(i32(0)), func() { sums.set(part, partsOf(s.Let("all", members.Add(sums.at(part).value())))) }, nil)
			}, nil)
		})
	}, nil)
	s.Barrier()
	return sums
}

// rankedAt is the index of a part's n-th token in the memory of ranked ones.
func (s *picker) rankedAt(part, n *kernel.Expr) *kernel.Expr {
	return s.base.Add(part.Mul(i32(s.m.each))).Add(n)
}

// sumOfParts adds up the parts' sums; each SIMD group does it for itself.
func (s *picker) sumOfParts(sums wideArray) *kernel.Expr {
	sum := s.Var("sum_of_parts", i64(0))
	s.For("part", kernel.Lane(), i32(s.m.parts), i32(rankBuckets), func(part *kernel.Expr) {
		sum.Set(sum.Add(sums.at(part).value()))
	})
	return s.sumOverLanes(sum.Expr)
}
