package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// lowerMerge makes the launch that puts the parts of a row together, a threadgroup for each
// ask.
func (m *scoreMemory) lowerMerge() (program.Launch, error) {
	s := &tokenMerger{tokenScorer: m.begin("", "a row: they look at the sums of its parts, and at the best tokens of each",
		"How probable tokens are: one of each ask's row, and the most probable ones. A pair of",
		"words for each: the token, -1 if there is none, and the logarithm of its probability.")}
	logits := s.bindLogits(1)
	s.bindParts(kernel.Read)
	tokens := s.scratch("tokens", m.in.Step.Tokens, kernel.I32, kernel.Read)
	s.accesses(ir.Sym(program.ScoredTokens).Mul(ir.Const(4)))
	s.out = s.memory("scores", m.in.Step.Scores, kernel.U32, kernel.Write, program.ScoreWords)
	s.of(kernel.Group(0))
	s.total()
	into := s.Let("into", s.StepValue(program.ScoreInto))
	s.to = s.Let("to", into.Add(s.ask).Mul(i32(program.ScoreWords)))
	s.If(kernel.Thread().Eq(i32(0)), func() {
		token := s.Var("token", s.StepAt(program.ScoreToken, s.ask))
		s.If(token.Lt(i32(0)), func() { token.Set(tokens.At(into.Add(s.row))) }, nil)
		known := s.Let("known", token.Ge(i32(0)))
		logit := s.Let("logit", logits.At(s.row.Mul(i32(m.vocab)).Add(token.Max(i32(0)))))
		s.pair(i32(0), token.Expr, known.Select(logit, s.logitOf(kernel.U(0))))
	}, nil)
	s.If(s.top.Gt(i32(0)), func() { s.topOfAll() }, nil)
	return s.launch("", ir.Sym(program.ScoredTokens))
}

// tokenMerger writes that kernel.
type tokenMerger struct {
	*tokenScorer
	out      kernel.Buffer
	to       *kernel.Expr // the ask's place in it
	most     *kernel.Expr // the row's largest logit
	logTotal *kernel.Expr // of all exponentials relative to it
}

// total finds the row's largest logit and adds up the sums of its parts.
func (s *tokenMerger) total() {
	parts, most := s.m.parts, s.Var("most", kernel.U(0))
	at := s.Let("parts", s.ask.Mul(i32(parts)))
	s.For("i", kernel.Thread(), i32(parts), i32(s.Schedule().Threads), func(i *kernel.Expr) {
		most.Set(most.Max(s.Let("key", s.largest.At(at.Add(i)))))
	})
	s.most = s.Let("largest", s.logitOf(s.maxOverThreads(most.Expr)))
	total := s.sum(i32(parts), func(i *kernel.Expr) *kernel.Expr {
		i = s.Let("part_at", at.Add(i))
		below := s.Let("below", s.logitOf(s.largest.At(i)).Sub(s.most))
		return s.sums.At(i).Mul(below.Exp())
	})
	s.logTotal = s.Let("log_total", total.Log())
}

// pair writes the n-th pair of the ask.
func (s *tokenMerger) pair(n, token, logit *kernel.Expr) {
	at := s.Let("pair", s.to.Add(n.Mul(i32(2))))
	s.out.Set(at, token.As(kernel.U32))
	s.out.Set(at.Add(i32(1)), s.Let("score", logit.Sub(s.most).Sub(s.logTotal)).As(kernel.U32))
}

// topOfAll writes the best tokens of all parts, best first. By ascending place in the memory
// of the parts' they have ascending ids, so that of equals the lower id is taken, and comes
// first.
func (s *tokenMerger) topOfAll() {
	keys, ids := s.SharedArray("best_keys", kernel.U32, program.MaxTop), s.SharedArray("best_ids", kernel.I32, program.MaxTop)
	at := s.Let("tops", s.tops(i32(0)))
	best := &selection{u: s.emitter, n: s.Let("n", s.top.Mul(i32(s.m.parts))), k: s.top,
		key: func(i *kernel.Expr) *kernel.Expr { return s.topKeys.At(at.Add(i)) },
		emit: func(position, i, key *kernel.Expr) {
			keys.Set(position, key)
			ids.Set(position, s.topIDs.At(at.Add(i)))
		}}
	best.run()
	s.Barrier()
	s.For("mine", kernel.Thread(), s.top, i32(s.Schedule().Threads), func(mine *kernel.Expr) {
		key, rank := s.Let("key", keys.At(mine)), s.Var("rank", i32(1)) // behind the token that was asked for
		s.For("other", i32(0), s.top, i32(1), func(other *kernel.Expr) {
			k := s.Let("k", keys.At(other))
			rank.Set(rank.Add(oneIf(k.Gt(key).Or(k.Eq(key).And(other.Lt(mine))))))
		})
		none := s.Let("none", key.Eq(kernel.U(0)))
		s.pair(rank.Expr, none.Select(i32(-1), ids.At(mine)), s.logitOf(key))
	})
}
