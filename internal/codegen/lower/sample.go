package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// LowerSample makes the launches that pick a token for each wanted row from the
// module's logits, and the memory they write them to, the step's Tokens: an i32 a row, -1
// where no logit is a number. Package pick is the definition, to the bit. The input's
// region is not used. It fails for a module without Logits.
//
// A GPU cuts rows into parts (sample_parts.go); a processor, whose cores are few and
// each as fast as its memory, goes through a row at a time (sample_row.go). All sums are
// of integers, so that it does not matter who adds what.
func LowerSample(in *Input) ([]program.Launch, *program.Scratch, error) {
	logits, vocab, err := in.logits("sampling takes")
	if err != nil {
		return nil, nil, err
	}
	for _, s := range in.Module.Symbols {
		if s.Name == program.SampledRows || s.Name == program.DrawnRows {
			return nil, nil, fmt.Errorf("the module's symbol %s has the name of sampling's own", s.Name)
		}
	}
	own := *in
	own.Region = &ir.Region{Kind: program.SampleRegion, Name: program.SampleRegion}
	if own.Target.Vector > 0 {
		return own.lowerSampleRow(logits, vocab)
	}
	return own.lowerSampleParts(logits, vocab)
}

// sampler writes a kernel that samples.
type sampler struct {
	*emitter
	vocab int

	row  *kernel.Expr
	base *kernel.Expr // index of the row's first logit, and key
	inv  *kernel.Expr // of the temperature; 0: the largest logit; negative: the row is not sampled

	bestKey *kernel.Expr // the largest key; 0 if no token may be picked
	largest *kernel.Expr // its logit
}

func (in *Input) sampler(role string, s kernel.Schedule, vocab int, doc ...string) *sampler {
	return &sampler{emitter: in.begin(in.kernelName(role), s, doc...), vocab: vocab}
}

// of begins with the row's numbers.
func (s *sampler) of(row *kernel.Expr) {
	s.row = s.Let("row", row)
	s.base = s.Let("base", s.row.Mul(i32(s.vocab)))
	s.inv = s.Let("inv", s.StepAt(program.SampleInv, s.row))
}

// place is the row's in the step's Tokens.
func (s *sampler) place() *kernel.Expr { return s.StepValue(program.SampleInto).Add(s.row) }

func (s *sampler) groups() int { return s.Schedule().Threads / s.Schedule().SimdWidth }

// choiceBits is a u32 of the row's Choice.
func (s *sampler) choiceBits(field string) *kernel.Expr {
	return s.Let(field, s.StepAt(field, s.row).As(kernel.U32))
}

// setBest notes the row's largest key.
func (s *sampler) setBest(key *kernel.Expr) {
	s.bestKey = key
	s.largest = s.Let("largest", s.normal(s.logitOf(key)))
}
