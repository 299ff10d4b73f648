package stepblock

import (
	"errors"
	"fmt"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/runtime/sampling"
)

// Follow says of the rows of the block that was filled last which of them take a token
// that an earlier step picked, and from where: rows whose source is negative have the
// token that they were filled with, as all have that are not followed.
func (f *Filler) Follow(block []byte, sources []int32) error {
	if f.step.Vocab == 0 {
		return errors.New("the bundle's module returns no logits to pick tokens from")
	}
	if len(sources) > f.step.Sampled {
		return fmt.Errorf("%d rows that follow on picked tokens; a step has %d at most", len(sources), f.step.Sampled)
	}
	for i, s := range sources {
		if s >= program.TokenSets*program.MaxSampled {
			return fmt.Errorf("row %d follows on token %d; there is room for %d", i, s, program.TokenSets*program.MaxSampled)
		}
		f.putInt(block, program.Source, i, max(s, -1))
	}
	return nil
}

// Choose writes how the tokens of the block that was filled last are picked, and into
// which set of the step's Tokens, which Fill does for the first. Kernels other than
// those that pick do not read what it writes, so they may run meanwhile. Used then are
// these parts alone.
func (f *Filler) Choose(block []byte, set int, choices []sampling.Choice) error {
	f.used = f.used[:0]
	if err := f.choose(block, f.wanted, choices); err != nil {
		return err
	}
	if f.step.Vocab > 0 {
		f.putInt(block, program.SampleInto, 0, int32(set*program.MaxSampled))
		f.used[0].From = f.offsets[program.SampleInto]
	}
	return nil
}
