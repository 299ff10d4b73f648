package planned

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// lastStep is the step whose results lie in the arena.
type lastStep struct {
	step   *step
	wanted int
	picked int // tokens: of the first so many wanted rows
}

// SamplePrefill is Prefill that picks the wanted rows' tokens by the choices; -1
// where no logit is a number. Without choices it picks none. No logits are copied.
func (d *Device) SamplePrefill(rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error {
	return d.sample(program.Prefill, rows, wanted, choices, tokens)
}

// SampleDecode is the same with the decode kernels.
func (d *Device) SampleDecode(rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error {
	return d.sample(program.Decode, rows, wanted, choices, tokens)
}

func (d *Device) sample(p program.Phase, rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error {
	if none := choices == nil && tokens == nil; !none && (len(choices) != len(wanted) || len(tokens) != len(wanted)) {
		return fmt.Errorf("%d choices and room for %d tokens, for %d wanted rows", len(choices), len(tokens), len(wanted))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.steps[p]
	if err := d.take(s, asked{rows: rows, wanted: wanted, choices: choices}); err != nil {
		return err
	}
	if len(tokens) == 0 {
		return nil
	}
	return d.tokens(0, tokens)
}

// LastLogits are those of the i-th wanted row of the last step.
func (d *Device) LastLogits(i int) ([]float32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if i < 0 || i >= d.last.wanted {
		return nil, fmt.Errorf("logits of row %d: the last step had %d wanted rows", i, d.last.wanted)
	}
	if d.failed == nil {
		if err := d.wait(d.ahead.starts); err != nil {
			return nil, err
		}
	}
	return d.logits(d.last.step, i, 1)
}
