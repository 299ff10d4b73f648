package stepblock

import (
	"errors"
	"fmt"

	"smelt.example/smelt/internal/codegen/program"
)

// Score writes which tokens are scored by the logits of the block that was filled last, and
// into which set of the step's Scores; tokens that were picked are of the same set of its
// Tokens. Other kernels do not read what it writes, so they may run meanwhile. Used then are
// these parts alone.
func (f *Filler) Score(block []byte, set int, asks []program.Ask) error {
	if f.step.Vocab == 0 {
		return errors.New("the bundle's module returns no logits to score tokens by")
	}
	if len(asks) > f.step.Sampled {
		return fmt.Errorf("%d tokens to score at once; expected at most %d", len(asks), f.step.Sampled)
	}
	for i, a := range asks {
		switch {
		case a.Row < 0 || int(a.Row) >= f.wanted:
			return fmt.Errorf("the score of a token of row %d; the step has %d wanted rows", a.Row, f.wanted)
		case int(a.Token) >= f.step.Vocab:
			return fmt.Errorf("the score of token %d; the vocabulary has %d tokens", a.Token, f.step.Vocab)
		case a.Top < 0 || a.Top > program.MaxTop:
			return fmt.Errorf("the %d most probable tokens of a row; expected 0 to %d", a.Top, program.MaxTop)
		}
		f.putInt(block, program.ScoreRow, i, a.Row)
		f.putInt(block, program.ScoreToken, i, max(a.Token, -1))
		f.putInt(block, program.ScoreTop, i, a.Top)
	}
	f.putInt(block, program.ScoreInto, 0, int32(set*program.MaxSampled))
	f.symbols[program.ScoredTokens] = int64(len(asks))
	f.used = append(f.used[:0], Span{f.offsets[program.ScoreRow], f.offsets[program.ScoreInto] + 4})
	return nil
}
