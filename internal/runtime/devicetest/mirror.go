package devicetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
	"smelt.example/smelt/runtime/sampling"
)

// Mirror is the evaluator as a device with its kernels' values and caches, for
// tests of what compares devices: faults can be put in. Caches must be of float32.
type Mirror struct {
	// Observe is as other devices have it.
	Observe func(name string, data []byte)
	// Fault, if not nil, may change what a step, counted from 1, writes: a value
	// ("%name" or "%number"), also one that only a cache gets, or a token ("tokens") or a score ("scores").
	// What is computed from numbers follows, with 0 where they are not finite; what is
	// computed from ids does not, for there may be none of them.
	Fault func(step int, name string, data []byte)
	// Fail is a step that fails, from 1.
	Fail int

	b       *bundle.Bundle
	machine *eval.Machine[float32]
	written map[string][]byte
	rows    map[cell][]byte
	steps   int
	vocab   int
	logits  []float32
	picked  []int32
}

// cell is a row of a state.
type cell struct {
	state string
	slot  int32
	index int
}

// NewMirror prepares a device that runs a bundle.
func NewMirror(b *bundle.Bundle, weights eval.Weights) (*Mirror, error) {
	machine, err := eval.New[float32](b.Module, weights)
	if err != nil {
		return nil, err
	}
	vocab, _ := b.Module.Results[0].Type.Shape[1].Value()
	m := &Mirror{b: b, machine: machine, rows: map[cell][]byte{}, vocab: int(vocab)}
	machine.Exchange = m.exchange
	return m, nil
}

// exchange keeps what kernels would write, with the fault in it.
func (m *Mirror) exchange(n *ir.Node, args []tensor.Value[float32], v tensor.Value[float32]) tensor.Value[float32] {
	if n.Op == ops.Append {
		m.append(n, args)
	}
	if v.Log != nil || v.Rows != nil || tensor.Len(v.Shape) == 0 {
		return v
	}
	data := bytesOf(v)
	if m.Fault != nil {
		m.Fault(m.steps, n.Result.Ref(), data)
	}
	m.written[n.Result.Ref()] = data
	out := slices.Clone(v.F)
	for i, own := range v.F {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		if out[i]-out[i] != 0 && own-own == 0 {
			out[i] = 0
		}
	}
	v.F = out
	return v
}

func bytesOf(v tensor.Value[float32]) []byte {
	var data []byte
	for _, x := range v.F {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	for _, x := range v.I {
		data = binary.LittleEndian.AppendUint32(data, uint32(x))
	}
	return data
}

// append keeps the rows that a node appends to a state.
func (m *Mirror) append(n *ir.Node, args []tensor.Value[float32]) {
	if len(args[3].F) == 0 {
		return
	}
	state, written := lockstep.StateOf(n), m.written[n.Args[3].Ref()]
	width := len(written) / len(args[1].I)
	for i, slot := range args[1].I {
		m.rows[cell{state, slot, int(args[2].I[i])}] = written[i*width : (i+1)*width]
	}
}

// step runs rows.
func (m *Mirror) step(phase program.Phase, rows []ir.Row, wanted []int) ([]float32, error) {
	m.steps++
	if m.steps == m.Fail {
		return nil, errors.New("the device is on fire")
	}
	m.written = map[string][]byte{}
	if _, err := m.machine.Step(rows, wanted); err != nil {
		return nil, err
	}
	for _, x := range m.b.Plan.Step(phase).Dispatches {
		for b := range x.Values() {
			if m.Observe == nil {
				continue
			}
			if b.Area != nil {
				m.Observe(b.Name, m.area(b.Area, rows[0].Slot))
			} else {
				m.Observe(b.Name, m.written[b.Name])
			}
		}
	}
	logits := m.written[m.b.Module.Results[0].Ref()]
	m.logits = make([]float32, len(logits)/4)
	for i := range m.logits {
		m.logits[i] = math.Float32frombits(binary.LittleEndian.Uint32(logits[4*i:]))
	}
	return slices.Clone(m.logits), nil
}

// area is a ring's area after a prefill step of a slot.
func (m *Mirror) area(c *program.Cache, slot int32) []byte {
	var data []byte
	for index := range c.Capacity {
		row := m.newest(c, slot, index)
		if row == nil {
			row = make([]byte, c.Row.Bytes)
		}
		data = append(data, row...)
	}
	return data
}

// newest is what a slot's log has at an index of its ring, or nil.
func (m *Mirror) newest(c *program.Cache, slot int32, index int) (row []byte) {
	for at := index; ; at += c.Capacity {
		next := m.rows[cell{c.State.Name, slot, at}]
		if next == nil {
			return row
		}
		row = next
	}
}

// Prefill is a device.Device's.
func (m *Mirror) Prefill(rows []ir.Row, wanted []int) ([]float32, error) {
	return m.step(program.Prefill, rows, wanted)
}

// Decode is a device.Device's.
func (m *Mirror) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	return m.step(program.Decode, rows, wanted)
}

// SamplePrefill is a device.Sampler's.
func (m *Mirror) SamplePrefill(rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error {
	return m.sample(program.Prefill, rows, wanted, choices, tokens)
}

// SampleDecode is a device.Sampler's.
func (m *Mirror) SampleDecode(rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error {
	return m.sample(program.Decode, rows, wanted, choices, tokens)
}

func (m *Mirror) sample(phase program.Phase, rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error {
	if _, err := m.step(phase, rows, wanted); err != nil {
		return err
	}
	for i, c := range choices {
		token, err := c.Pick(m.logits[i*m.vocab:(i+1)*m.vocab], nil)
		if err != nil {
			token = -1
		}
		data := binary.LittleEndian.AppendUint32(nil, uint32(token))
		if m.Fault != nil {
			m.Fault(m.steps, "tokens", data)
		}
		tokens[i] = int32(binary.LittleEndian.Uint32(data))
	}
	m.picked = slices.Clone(tokens)
	return nil
}

// Score is a device.Scorer's.
func (m *Mirror) Score(asks []program.Ask, scores []device.Score) error {
	for i, a := range asks {
		row, token := m.logits[int(a.Row)*m.vocab:][:m.vocab], a.Token
		if token < 0 {
			token = m.picked[a.Row]
		}
		data := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(sampling.LogProb(row, token))))
		if m.Fault != nil {
			m.Fault(m.steps, "scores", data)
		}
		scores[i] = device.Score{Token: token, LogProb: float64(math.Float32frombits(binary.LittleEndian.Uint32(data))), Top: sampling.Top(row, int(a.Top))}
	}
	return nil
}

// LastLogits is a device.Sampler's.
func (m *Mirror) LastLogits(i int) ([]float32, error) {
	return slices.Clone(m.logits[i*m.vocab : (i+1)*m.vocab]), nil
}

// CacheRow is the row of a slot that index has in a cache.
func (m *Mirror) CacheRow(c *plan.Cache, slot int32, index int) ([]byte, error) {
	row := m.newest(&c.Cache, slot, index)
	if row == nil {
		return nil, fmt.Errorf("@%s has no row %d of slot %d", c.State.Name, index, slot)
	}
	return row, nil
}

// Name is its name in reports.
func (m *Mirror) Name() string { return "mirror" }

// Vocab is the number of logits per row.
func (m *Mirror) Vocab() int { return m.vocab }

// Reset forgets a slot.
func (m *Mirror) Reset(slot int32) {
	m.machine.Reset(slot)
	for at := range m.rows {
		if at.slot == slot {
			delete(m.rows, at)
		}
	}
}

// Bundle is the bundle that the mirror runs.
func (m *Mirror) Bundle() *bundle.Bundle { return m.b }

// Close does nothing.
func (m *Mirror) Close() error { return nil }
