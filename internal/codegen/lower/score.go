package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// LowerScore makes the launch that says, for each wanted row, how probable the row's
// target is by the module's logits, and the memory it writes that to: an f32 a row, the
// natural logarithm of the probability. Rows whose target is negative are left alone.
// The input's region is not used. It fails for a module without Logits.
//
// As sampling.LogProb has it, the result is NaN where a logit is NaN or +Inf, or all are
// -Inf; and -Inf is the logarithm of a target that has -Inf beside numbers. Others are
// off by at most 8e-6 + 2^-23 of their size, on any target and for any vocabulary it
// takes: exponents are rounded once (1e-6), exponentials to 4 units in the last place
// (5e-7), a thread adds its own up with compensation (1e-7), at most 40 additions over
// threads follow (2.4e-6) and a logarithm to 4 units (3.9e-6), and the two differences
// that are left are rounded by at most half a unit of the result each.
func LowerScore(in *Input) (program.Launch, *program.Scratch, error) {
	logits, vocab, err := in.logits("scores take")
	if err != nil {
		return program.Launch{}, nil, err
	}
	own := *in
	own.Region = &ir.Region{Kind: program.ScoreRegion, Name: program.ScoreRegion}
	u := own.begin(own.kernelName(""), own.vocabularySchedule(vocab),
		"The logarithm of the probability of each wanted row's target, by the row's logits.",
		"Rows with a negative target are left alone.")
	scores := &program.Scratch{Name: "log-probabilities", Bytes: logits.Type.Shape[0].Mul(ir.Const(4))}
	s := &tokenScorer{emitter: u, vocab: vocab}
	s.logits = u.activation("logits", logits, kernel.Read)
	u.accesses(logits.Type.Shape[0].Mul(ir.Const(4 * int64(vocab))))
	out := u.scratch("scores", scores, kernel.F32, kernel.Write)
	row := u.Let("row", kernel.Group(0))
	target := u.Let("target", u.StepAt(program.ScoreTarget, row))
	u.If(target.Ge(i32(0)), func() {
		s.base = u.Let("base", row.Mul(i32(vocab)))
		score := s.score(target)
		u.If(kernel.Thread().Eq(i32(0)), func() { out.Set(row, score) }, nil)
	}, nil)
	l, err := u.launch("", logits.Type.Shape[0])
	return l, scores, err
}

// tokenScorer writes the kernel that scores a row's target.
type tokenScorer struct {
	*emitter
	vocab  int
	logits kernel.Buffer
	base   *kernel.Expr // index of the row's first logit
}

// each runs f for the thread's logits.
func (s *tokenScorer) each(f func(logit *kernel.Expr)) {
	s.For("i", kernel.Thread(), i32(s.vocab), i32(s.Schedule().Threads), func(i *kernel.Expr) {
		f(s.Let("logit", s.logits.At(s.base.Add(i))))
	})
}

// score is a target's. A logit that is NaN makes the sum NaN, and so does the largest if
// it is infinite: its distance from itself is.
func (s *tokenScorer) score(target *kernel.Expr) *kernel.Expr {
	most := s.largestKey()
	sign := kernel.U(0x80000000)
	largest := s.Let("largest", most.Ge(sign).Select(most.Xor(sign), most.Not()).As(kernel.F32))
	s.Comment("The sum of all exponentials; what an addition loses goes into the next.")
	sum, lost := s.Var("sum", f32(0)), s.Var("lost", f32(0))
	s.each(func(logit *kernel.Expr) {
		term := s.Let("term", s.Let("below", logit.Sub(largest)).Exp().Sub(lost.Expr))
		with := s.Let("with", sum.Add(term))
		lost.Set(s.Let("added", with.Sub(sum.Expr)).Sub(term))
		sum.Set(with)
	})
	total := s.threadgroupSum(sum.Expr)
	at := s.Let("logit", s.logits.At(s.base.Add(target)))
	return s.Let("score", at.Sub(largest).Sub(total.Log()))
}

// largestKey is the orderKey of the row's largest logit.
func (s *tokenScorer) largestKey() *kernel.Expr {
	s.Comment("The largest logit, as a number in the order of logits.")
	most := s.Var("most", kernel.U(0))
	s.each(func(logit *kernel.Expr) {
		most.Set(most.Max(s.Let("key", s.orderKey(logit))))
	})
	groups := s.Schedule().Threads / s.Schedule().SimdWidth
	of := s.Let("most_of_lanes", most.SimdMax())
	if groups == 1 {
		return of
	}
	keys := s.SharedArray("group_keys", kernel.U32, groups)
	s.If(kernel.Lane().Eq(i32(0)), func() { keys.Set(kernel.Simd(), of) }, nil)
	s.Barrier()
	// There are at most as many groups as lanes.
	return s.Let("most_of_all", keys.At(kernel.Lane().Min(i32(groups-1))).SimdMax())
}
