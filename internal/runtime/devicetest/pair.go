// Package devicetest proves devices in their tests: a model runs on the device
// and in the evaluator, step by step alike, and what they compute is compared.
// Every device that runs bundles goes through the same proofs.
package devicetest

import (
	"path/filepath"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/passes"
)

// Limit bounds the difference of logits where both sides made the same choices.
const Limit = lockstep.Logits

// Open opens a device that poisons its arena before each step and shows observe
// the arena's named values after the dispatch that writes them. It skips the
// test where the machine lacks what the device needs.
type Open func(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(name string, data []byte)) device.Planned

// Pair is a model on a device and in the evaluator. The evaluator is given the
// device's choices (experts, entries, rounded codes), and how many differed is
// counted.
type Pair struct {
	Model  *models.Model
	Device device.Planned

	t     testing.TB
	b     *bundle.Bundle
	both  *lockstep.Pair
	worst float64
}

// New compiles the checkpoint in dir and opens both sides.
func New(t testing.TB, dir string, f passes.Formats, o bundle.Options, open Open) *Pair {
	t.Helper()
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	o.Formats = f
	b, _, err := bundle.Compile(bundle.Source{Name: filepath.Base(dir), Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, o)
	if err != nil {
		t.Fatal(err)
	}
	p := &Pair{t: t, Model: m, both: lockstep.New(lockstep.Choices)}
	p.Device = open(t, b, m.Checkpoint, p.both.See)
	t.Cleanup(func() {
		if err := p.Device.Close(); err != nil {
			t.Error(err)
		}
	})
	p.b = p.Device.Bundle()
	if err := p.both.Attach(p.Device, m.Weights); err != nil {
		t.Fatal(err)
	}
	return p
}

// Step runs rows on both and compares the wanted rows' logits.
func (p *Pair) Step(decode bool, rows []ir.Row, wanted []int) []float32 {
	p.t.Helper()
	phase := program.Prefill
	if decode {
		phase = program.Decode
	}
	r, err := p.both.Step(phase, rows, wanted, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.worst = lockstep.Worse(p.worst, r.Difference())
	if p.worst < 0 || p.worst > Limit {
		p.t.Fatalf("rows at %d: logits differ by %g from the evaluator's with the same choices, at most %g are allowed (-1: one is no finite number)", rows[0].Position, p.worst, Limit)
	}
	for _, k := range p.both.Kernels() {
		if why := k.Trouble(); why != "" {
			p.t.Fatalf("kernel %s: %s", k.Name, why)
		}
	}
	return r.Device
}

// turned counts choices, and those that came out another way on the device.
func (p *Pair) turned() (ids, idsTurned, codes, codesTurned int) {
	for _, k := range p.both.Kernels() {
		ids, idsTurned = ids+k.Ids, idsTurned+k.IdsTurned
		codes, codesTurned = codes+k.Codes, codesTurned+k.CodesTurned
	}
	return ids, idsTurned, codes, codesTurned
}

// Report prints what was compared.
func (p *Pair) Report() {
	p.t.Helper()
	ids, idsTurned, codes, codesTurned := p.turned()
	p.t.Logf("largest difference of logits %.2g; %d of %d ids and %d of %d rounded numbers turned", p.worst, idsTurned, ids, codesTurned, codes)
}

// Clean reports whether both sides made the same choices throughout.
func (p *Pair) Clean() bool {
	_, ids, _, codes := p.turned()
	return ids+codes == 0
}

// Feed runs tokens of a slot from position `from` on: prefill in chunks, or
// one by one. Every row's logits are compared.
func (p *Pair) Feed(decode bool, slot int32, from int, tokens []int32) (logits []float32) {
	p.t.Helper()
	chunk := p.b.Plan.Chunk
	if decode {
		chunk = 1
	}
	for len(tokens) > 0 {
		n := min(chunk, len(tokens))
		var rows []ir.Row
		var wanted []int
		for i, tok := range tokens[:n] {
			rows = append(rows, ir.Row{Token: tok, Position: int32(from + i), Slot: slot})
			if i >= n-p.b.Plan.Wanted {
				wanted = append(wanted, i)
			}
		}
		logits = append(logits, p.Step(decode, rows, wanted)...)
		from += n
		tokens = tokens[n:]
	}
	return logits
}
