package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// lowerSampleRow makes the one launch of processors: a threadgroup, which is one SIMD
// group, picks a row's token. It settles a bound's digits by sums that each lane keeps in
// registers.
func (in *Input) lowerSampleRow(logits *ir.Value, vocab int) ([]program.Launch, *program.Scratch, error) {
	s := &rowSampler{sampler: in.sampler("", in.sampleRowSchedule(vocab), vocab,
		"The token of each wanted row, of those its mask allows: the largest logit, or one",
		"drawn by temperature, top-k, top-p and min-p. Logits of tokens that the text has may",
		"be changed before. Rows with a negative inverse temperature are left alone.")}
	keys := &program.Scratch{Name: "token keys", Bytes: ir.Const(4 * int64(in.Step.Sampled) * int64(vocab))}
	s.logits = s.activation("logits", logits, kernel.Read)
	s.keys = s.scratch("keys", keys, kernel.U32, kernel.ReadWrite)
	s.accesses(logits.Type.Shape[0].Mul(ir.Const(4 * int64(vocab))))
	out := s.scratch("tokens", in.Step.Tokens, kernel.I32, kernel.Write)
	s.accesses(logits.Type.Shape[0].Mul(ir.Const(4)))
	s.of(kernel.Group(0))
	s.If(s.inv.Ge(f32(0)), func() {
		token := s.pick()
		s.If(kernel.Thread().Eq(i32(0)), func() { out.Set(s.place(), token) }, nil)
	}, nil)
	l, err := s.launch("", ir.Sym(program.SampledRows))
	return []program.Launch{l}, in.Step.Tokens, err
}

// sampleRowSchedule gives a row to a SIMD group of as many lanes as a register, since the
// sampler keeps sums of every digit at once.
func (in *Input) sampleRowSchedule(vocab int) kernel.Schedule {
	s := kernel.Schedule{Threads: in.Target.Vector, SimdWidth: in.Target.Vector}
	s.Settings = append(s.Settings, kernel.Setting{Name: "threads", Value: fmt.Sprint(s.Threads), Why: fmt.Sprintf("a threadgroup a row of %d logits", vocab)}, kernel.Setting{Name: "digit", Value: fmt.Sprint(filterBits), Why: fmt.Sprintf("bits of a filter's bound that a pass over the logits settles: %d sums at once, %d passes", filterDigits-1, filterPasses)})
	return s
}

// rowSampler writes that kernel. Tokens rank by orderKey, then by lower id; every filter
// keeps a prefix of the ranking, so the tokens kept are those with keys above bound, and
// of those with that very key the ids up to last. What may not be picked has the key of
// what is no number.
type rowSampler struct {
	*sampler
	logits kernel.Buffer
	keys   kernel.Buffer // of all tokens, a row's for each row

	bound kernel.Variable // u32
	last  kernel.Variable // i32
}

// candidate is a token that a thread looks at.
type candidate struct{ id, logit, key *kernel.Expr }

func (s *rowSampler) candidate(id *kernel.Expr) candidate {
	key := s.Let("key", s.keys.At(s.base.Add(id)))
	return candidate{id, s.logitOf(key), key}
}

// kept tells whether a token is. Keys of what is no number are never above bound.
func (s *rowSampler) kept(c candidate) *kernel.Expr {
	return c.key.Gt(s.bound.Expr).Or(c.key.Eq(s.bound.Expr).And(c.id.Le(s.last.Expr)))
}

// one counts tokens.
func one(candidate) *kernel.Expr { return kernel.U(1) }

func (s *rowSampler) weightOf(c candidate) *kernel.Expr {
	return s.weight(c.key, s.octaves(c.logit))
}

// pick is the row's token.
func (s *rowSampler) pick() *kernel.Expr {
	best := s.rank()
	token := s.Var("picked", best)
	s.If(s.inv.Gt(f32(0)), func() {
		s.setBest(s.bestKey)
		s.bound, s.last = s.Var("bound", kernel.U(0)), s.Var("last", i32(-1))
		topK := s.Let("top_k", s.StepAt(program.SampleTopK, s.row))
		s.If(topK.Gt(i32(0)).And(topK.Lt(i32(s.vocab))), func() {
			s.Comment("top-k: the best until there are k.")
			s.keepBest(measure{s.kept, one}, topK.To(kernel.I64))
		}, nil)
		topP := s.choiceBits(program.SampleTopP)
		s.If(topP.Gt(kernel.U(0)), func() {
			s.Comment("top-p: the best until their weights reach that share of all.")
			weights := measure{s.kept, s.weightOf}
			target := s.Let("share", s.portion(s.total(weights), topP).Max(i64(1)))
			s.keepBest(weights, target)
		}, nil)
		s.Comment("min-p, and the draw: the first id whose sum of weights exceeds the share.")
		minP := s.choiceBits(program.SampleMinP)
		drawn := measure{s.kept, func(c candidate) *kernel.Expr { return drawn(s.weightOf(c), minP) }}
		token.Set(s.locate(drawn, s.Let("target", s.portion(s.total(drawn), s.choiceBits(program.SampleRandom)))))
	}, nil)
	return token.Expr
}
