package lower

import (
	"errors"
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// maxVocabulary keeps sums of weights within what the sampler's portion can multiply.
const maxVocabulary = 1 << 22

// logits is the module's result that tokens are picked and scored by, and the size of
// its vocabulary, of which more than who takes it can take is refused.
func (in *Input) logits(takes string) (logits *ir.Value, vocab int, err error) {
	if logits = program.Logits(in.Module); logits == nil {
		return nil, 0, errors.New("the module's first result is no vector of logits for each wanted row")
	}
	if vocab = dim(logits, 1); vocab < 1 || vocab > maxVocabulary {
		return nil, 0, fmt.Errorf("a vocabulary of %d; %s 1 to %d", vocab, takes, maxVocabulary)
	}
	return logits, vocab, nil
}

// logitOf is the logit that has an orderKey; of the zeros +0, and NaN where it is 0.
func (u *emitter) logitOf(key *kernel.Expr) *kernel.Expr {
	sign := kernel.U(0x80000000)
	return u.Let("logit", key.Ge(sign).Select(key.Xor(sign), key.Not()).As(kernel.F32))
}

// A part of a row has partTokens tokens, or as many times more as keep the number of parts
// at mostParts, whose sums fit threadgroup memory.
const (
	partTokens = 512
	mostParts  = 1024
)

// rowParts is how a row is cut into parts.
type rowParts struct {
	each  int // tokens of a part; the last may have fewer
	parts int
}

func partsOfRow(vocab int) (p rowParts) {
	p.each = (vocab + partTokens*mostParts - 1) / (partTokens * mostParts) * partTokens
	p.parts = (vocab + p.each - 1) / p.each
	return p
}
