package reference

import (
	"errors"
	"fmt"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// ahead is the device as a device.Runner. Each call does all its work.
type ahead struct {
	open    bool      // the step begun last may have tokens picked
	logits  []float32 // of its wanted rows
	picked  []int32   // last
	waiting [][]int32 // picked, and not waited for
	scratch sampling.Scratch
}

// Ahead tells that nothing runs beside the host.
func (d *Device) Ahead() bool { return false }

// BeginDecode runs the step.
func (d *Device) BeginDecode(rows []ir.Row, sources []int32, wanted []int) error {
	if sources != nil && len(sources) != len(rows) {
		return fmt.Errorf("sources of %d tokens, of %d rows", len(sources), len(rows))
	}
	own := append([]ir.Row(nil), rows...)
	for i, from := range sources {
		switch {
		case from < 0:
		case int(from) >= len(d.ahead.picked):
			return fmt.Errorf("row %d follows on token %d, of %d that were picked", i, from, len(d.ahead.picked))
		default:
			own[i].Token = max(d.ahead.picked[from], 0)
		}
	}
	logits, err := d.Step(own, wanted)
	if err != nil {
		return err
	}
	d.ahead.logits, d.ahead.open = logits, true
	return nil
}

// BeginPick picks the tokens.
func (d *Device) BeginPick(choices []sampling.Choice) error {
	a := &d.ahead
	if !a.open || len(choices)*d.vocab != len(a.logits) {
		return fmt.Errorf("%d choices: no step was begun that picks as many tokens", len(choices))
	}
	tokens := make([]int32, len(choices))
	for i, c := range choices {
		token, err := c.Pick(a.logits[i*d.vocab:(i+1)*d.vocab], &a.scratch)
		if err != nil && !errors.Is(err, sampling.ErrNoLogits) {
			return err
		}
		if err != nil {
			token = -1
		}
		tokens[i] = token
	}
	a.open, a.picked, a.waiting = false, tokens, append(a.waiting, tokens)
	return nil
}

// Await gives the tokens that were picked first.
func (d *Device) Await(tokens []int32) error {
	a := &d.ahead
	if len(a.waiting) == 0 || len(a.waiting[0]) != len(tokens) {
		return fmt.Errorf("room for %d tokens: no step picks as many", len(tokens))
	}
	copy(tokens, a.waiting[0])
	a.waiting = a.waiting[1:]
	return nil
}

// LastLogits are those of the i-th wanted row of the step that was begun last.
func (d *Device) LastLogits(i int) ([]float32, error) {
	if i < 0 || (i+1)*d.vocab > len(d.ahead.logits) {
		return nil, fmt.Errorf("logits of row %d: the last step had %d wanted rows", i, len(d.ahead.logits)/d.vocab)
	}
	return d.ahead.logits[i*d.vocab : (i+1)*d.vocab : (i+1)*d.vocab], nil
}

// TakeBack makes a slot's sequence shorter.
func (d *Device) TakeBack(slot int32, length int) error { return d.machine.TakeBack(slot, length) }
