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

// vocabularySchedule gives a row to the largest threadgroup there is; processors
// have SIMD groups of as many lanes as a register, since the sampler keeps sums of
// every digit at once.
func (in *Input) vocabularySchedule(vocab int) kernel.Schedule {
	s := kernel.Schedule{Threads: in.Target.Threads(1024), SimdWidth: in.Target.SimdWidth}
	if in.Target.Vector > 0 {
		s.Threads, s.SimdWidth = in.Target.Vector, in.Target.Vector
	}
	s.Settings = []kernel.Setting{{Name: "threads", Value: fmt.Sprint(s.Threads), Why: fmt.Sprintf("a threadgroup a row of %d logits", vocab)}}
	return s
}
