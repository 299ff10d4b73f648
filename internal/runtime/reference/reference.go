// Package reference is the device everyone has: a module's steps run on the
// IR's reference functions in plain Go, in float32. It is exact and slow, and
// what every other device is compared with.
package reference

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Device runs one model. It is not safe for concurrent use.
type Device struct {
	machine *eval.Machine[float32]
	vocab   int
	ahead   ahead
	kept    kept
}

// New prepares a device for a module whose first result is logits [wanted,
// vocabulary]. weights gives the parameters' values.
func New(m *ir.Module, weights eval.Weights) (*Device, error) {
	machine, err := eval.New[float32](m, weights)
	if err != nil {
		return nil, err
	}
	vocab, err := vocabOf(m)
	if err != nil {
		return nil, err
	}
	return &Device{machine: machine, vocab: vocab}, nil
}

// vocabOf requires a first result of W x vocabulary x f32, W being the number
// of wanted rows.
func vocabOf(m *ir.Module) (int, error) {
	t := m.Results[0].Type
	if t.Rank() == 2 && t.Elem == ir.F32 {
		rows, _ := t.Shape[0].Symbol()
		vocab, ok := t.Shape[1].Value()
		if ok && slices.ContainsFunc(m.Symbols, func(s ir.Symbol) bool { return s.Name == rows && s.Def == ir.Wanted }) {
			return int(vocab), nil
		}
	}
	return 0, fmt.Errorf("module @%s returns %s; a model returns logits [wanted, vocabulary]", m.Name, t)
}

// Name is the device's name in package devices.
func (d *Device) Name() string { return "reference" }

// Vocab is the number of logits per row.
func (d *Device) Vocab() int { return d.vocab }

// Step runs rows and returns the wanted rows' logits, Vocab numbers each, in
// the order of wanted. Rows of a slot must follow on what it has seen. On an
// error no slot changes.
func (d *Device) Step(rows []ir.Row, wanted []int) ([]float32, error) {
	out, err := d.machine.Step(rows, wanted)
	if err != nil {
		return nil, err
	}
	return out[0].F, nil
}

// Prefill is Step: the evaluator has one way to run rows.
func (d *Device) Prefill(rows []ir.Row, wanted []int) ([]float32, error) { return d.Step(rows, wanted) }

// Decode is Step.
func (d *Device) Decode(rows []ir.Row, wanted []int) ([]float32, error) { return d.Step(rows, wanted) }

// Pace is how far the step that runs is, in nodes of the module.
func (d *Device) Pace() (done, total int) { return d.machine.Pace() }

// Reset forgets a slot.
func (d *Device) Reset(slot int32) { d.machine.Reset(slot) }

// Close does nothing: the device holds nothing that must be given back.
func (d *Device) Close() error { return nil }

// Observe lets f see every named intermediate of the steps to come.
func (d *Device) Observe(f func(name string, v tensor.Value[float32])) { d.machine.Observe = f }
