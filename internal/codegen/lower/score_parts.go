package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// lowerParts makes the launch that looks at the parts of the rows.
func (m *scoreMemory) lowerParts() (program.Launch, error) {
	s := m.begin("parts", "a few tokens each of a part, which stays in threadgroup memory",
		"Of a part of a row its largest logit, the sum of all exponentials relative to that,",
		"and its best tokens, as many as are asked for, by ascending id.")
	logits := s.bindLogits(m.vocab)
	s.bindParts(kernel.Write)
	s.of(kernel.Group(1))
	part := s.Let("part", kernel.Group(0))
	first := s.Let("first_id", part.Mul(i32(m.each)))
	n := s.Let("tokens", i32(m.vocab).Sub(first).Min(i32(m.each)))
	base := s.Let("base", s.row.Mul(i32(m.vocab)).Add(first))
	s.Comment("The keys of the part's logits, and the largest.")
	keys, most := s.SharedArray("part_keys", kernel.U32, m.each), s.Var("most", kernel.U(0))
	s.For("i", kernel.Thread(), n, i32(s.Schedule().Threads), func(i *kernel.Expr) {
		key := s.Let("key", s.orderKey(s.Let("logit", logits.At(base.Add(i)))))
		keys.Set(i, key)
		most.Set(most.Max(key))
	})
	largest := s.maxOverThreads(most.Expr)
	s.Comment("The sum of their exponentials. A logit that is NaN makes it NaN, and so does a largest")
	s.Comment("one that is +Inf: its distance from itself is. Where all are -Inf it is 0.")
	s.Barrier()
	least := kernel.U(keyOfLeast)
	relative := s.Let("relative_to", largest.Eq(least).Select(f32(0), s.logitOf(largest)))
	total := s.sum(n, func(i *kernel.Expr) *kernel.Expr {
		return s.Let("below", s.logitOf(keys.At(i)).Sub(relative)).Exp()
	})
	s.If(kernel.Thread().Eq(i32(0)), func() {
		at := s.Let("at", s.ask.Mul(i32(m.parts)).Add(part))
		s.largest.Set(at, largest)
		s.sums.Set(at, total)
	}, nil)
	s.If(s.top.Gt(i32(0)), func() { s.topOfPart(part, first, n, keys) }, nil)
	return s.launch("parts", ir.Const(int64(m.parts)), ir.Sym(program.ScoredTokens))
}

// keyOfLeast is the key of -Inf; only NaN has a lower one.
const keyOfLeast = 0x007fffff

// topOfPart writes the part's best tokens, and that there are no more where it has fewer.
func (s *tokenScorer) topOfPart(part, first, n *kernel.Expr, keys kernel.Array) {
	at := s.Let("tops", s.tops(part))
	best := &selection{u: s.emitter, n: n, k: s.Let("k", s.top.Min(n)), key: keys.At,
		emit: func(position, i, key *kernel.Expr) {
			place := s.Let("place", at.Add(position))
			s.topKeys.Set(place, key)
			s.topIDs.Set(place, first.Add(i))
		}}
	best.run()
	s.For("none", best.k.Add(kernel.Thread()), s.top, i32(s.Schedule().Threads), func(none *kernel.Expr) {
		place := s.Let("place", at.Add(none))
		s.topKeys.Set(place, kernel.U(0))
		s.topIDs.Set(place, i32(-1))
	})
}
