package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// LowerSample makes the launch that picks a token for each wanted row from the
// module's logits, and the memory it writes them to: an i32 a row, -1 where no
// logit is a number. Package pick is the definition, to the bit. The input's
// region is not used. It fails for a module without Logits.
func LowerSample(in *Input) (program.Launch, *program.Scratch, error) {
	logits, vocab, err := in.logits("sampling takes")
	if err != nil {
		return program.Launch{}, nil, err
	}
	own := *in
	own.Region = &ir.Region{Kind: program.SampleRegion, Name: program.SampleRegion}
	u := own.begin(own.kernelName(""), own.sampleSchedule(vocab),
		"The token of each wanted row, of those its mask allows: the largest logit, or one",
		"drawn by temperature, top-k, top-p and min-p. Logits of tokens that the text has may",
		"be changed before. Rows with a negative inverse temperature are left alone.")
	tokens := &program.Scratch{Name: "tokens", Bytes: logits.Type.Shape[0].Mul(ir.Const(4))}
	keys := &program.Scratch{Name: "token keys", Bytes: ir.Const(4 * int64(in.Step.Sampled) * int64(vocab))}
	s := &sampler{emitter: u, vocab: vocab}
	s.logits = u.activation("logits", logits, kernel.Read)
	s.keys = u.scratch("keys", keys, kernel.U32, kernel.ReadWrite)
	u.accesses(logits.Type.Shape[0].Mul(ir.Const(4 * int64(vocab))))
	out := u.scratch("tokens", tokens, kernel.I32, kernel.Write)
	row := u.Let("row", kernel.Group(0))
	s.base = u.Let("base", row.Mul(i32(vocab)))
	s.inv = u.Let("inv", u.StepAt(program.SampleInv, row))
	u.If(s.inv.Ge(f32(0)), func() {
		token := s.pick(row)
		u.If(kernel.Thread().Eq(i32(0)), func() { out.Set(row, token) }, nil)
	}, nil)
	l, err := u.launch("", logits.Type.Shape[0])
	return l, tokens, err
}

// sampleSchedule is vocabularySchedule with what the sampler settles at once.
func (in *Input) sampleSchedule(vocab int) kernel.Schedule {
	s := in.vocabularySchedule(vocab)
	s.Settings = append(s.Settings, kernel.Setting{Name: "digit", Value: fmt.Sprint(filterBits), Why: fmt.Sprintf("bits of a filter's bound that a pass over the logits settles: %d sums at once, %d passes", filterDigits-1, filterPasses)})
	return s
}

// sampler writes the kernel that picks a row's token. Tokens rank by orderKey,
// then by lower id; every filter keeps a prefix of the ranking, so the tokens
// kept are those with keys above bound, and of those with that very key the ids
// up to last. What may not be picked has the key of what is no number.
type sampler struct {
	*emitter
	vocab  int
	logits kernel.Buffer
	keys   kernel.Buffer // of all tokens, a row's for each row
	base   *kernel.Expr  // index of the row's first logit and key
	inv    *kernel.Expr  // of the temperature

	bestKey *kernel.Expr    // the largest key; 0 if no token may be picked
	largest *kernel.Expr    // its logit
	bound   kernel.Variable // u32
	last    kernel.Variable // i32
}

// candidate is a token that a thread looks at.
type candidate struct{ id, logit, key *kernel.Expr }

func (s *sampler) candidate(id *kernel.Expr) candidate {
	key := s.Let("key", s.keys.At(s.base.Add(id)))
	return candidate{id, s.logitOf(key), key}
}

// logitOf is the logit that has a key; of the zeros, +0.
func (s *sampler) logitOf(key *kernel.Expr) *kernel.Expr {
	sign := kernel.U(0x80000000)
	return s.Let("logit", key.Ge(sign).Select(key.Xor(sign), key.Not()).As(kernel.F32))
}

// kept tells whether a token is. Keys of what is no number are never above bound.
func (s *sampler) kept(c candidate) *kernel.Expr {
	return c.key.Gt(s.bound.Expr).Or(c.key.Eq(s.bound.Expr).And(c.id.Le(s.last.Expr)))
}

// choiceBits is a u32 of the row's Choice.
func (s *sampler) choiceBits(field string, row *kernel.Expr) *kernel.Expr {
	return s.Let(field, s.StepAt(field, row).As(kernel.U32))
}

// pick is the row's token.
func (s *sampler) pick(row *kernel.Expr) *kernel.Expr {
	best := s.rank(row)
	token := s.Var("picked", best)
	s.If(s.inv.Gt(f32(0)), func() {
		s.largest = s.Let("largest", s.normal(s.logitOf(s.bestKey)))
		s.bound, s.last = s.Var("bound", kernel.U(0)), s.Var("last", i32(-1))
		topK := s.Let("top_k", s.StepAt(program.SampleTopK, row))
		s.If(topK.Gt(i32(0)).And(topK.Lt(i32(s.vocab))), func() {
			s.Comment("top-k: the best until there are k.")
			s.keepBest(measure{s.kept, one}, topK.To(kernel.I64))
		}, nil)
		topP := s.choiceBits(program.SampleTopP, row)
		s.If(topP.Gt(kernel.U(0)), func() {
			s.Comment("top-p: the best until their weights reach that share of all.")
			weights := measure{s.kept, s.weight}
			target := s.Let("share", s.portion(s.total(weights), topP).Max(i64(1)))
			s.keepBest(weights, target)
		}, nil)
		s.Comment("min-p, and the draw: the first id whose sum of weights exceeds the share.")
		minP := s.choiceBits(program.SampleMinP, row)
		drawn := measure{s.kept, func(c candidate) *kernel.Expr {
			w := s.weight(c)
			return w.Ge(minP).Select(w, kernel.U(0))
		}}
		token.Set(s.locate(drawn, s.Let("target", s.portion(s.total(drawn), s.choiceBits(program.SampleRandom, row)))))
	}, nil)
	return token.Expr
}
