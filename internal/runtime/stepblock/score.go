package stepblock

import (
	"errors"
	"fmt"

	"smelt.example/smelt/internal/codegen/program"
)

// Score writes which tokens' probabilities are asked for, one for each wanted row, and
// none where it is negative, to the block that was filled last. No step that is filled
// anew has any.
func (f *Filler) Score(block []byte, targets []int32) error {
	if f.step.Vocab == 0 {
		return errors.New("the bundle's module returns no logits to score tokens by")
	}
	if len(targets) > f.step.MaxRows {
		return fmt.Errorf("scores of %d rows; a step has %d at most", len(targets), f.step.MaxRows)
	}
	for i, t := range targets {
		if int(t) >= f.step.Vocab {
			return fmt.Errorf("the score of token %d; the vocabulary has %d tokens", t, f.step.Vocab)
		}
		f.putInt(block, program.ScoreTarget, i, max(t, -1))
	}
	return nil
}
