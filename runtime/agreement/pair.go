// Package agreement proves devices in their tests: a model runs on the device
// and in the evaluator, step by step alike, and what they compute is compared.
// Every device that runs bundles goes through the same proofs.
package agreement

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt/codegen/bundle"
	"smelt/codegen/plan"
	"smelt/ir"
	"smelt/ir/encoding"
	"smelt/ir/eval"
	"smelt/ir/tensor"
	"smelt/models/checkpoint"
	"smelt/models/deepseekv4"
	"smelt/passes"
	"smelt/runtime/session"
)

// Limit is what logits may differ by where both sides made the same choices:
// activations and sums are float32 on both, in another order.
const Limit = 5e-4

// Device is a device that lets its insides be seen.
type Device interface {
	session.Device
	Close() error
	// Bundle is what it runs: the one it was opened with, planned for its target.
	Bundle() *bundle.Bundle
	// CacheRow is the row of a slot that index has in a cache.
	CacheRow(c *plan.Cache, slot int32, index int) ([]byte, error)
}

// Open opens a device that poisons its arena before each step and shows observe
// the arena's named values after the dispatch that writes them. It skips the
// test where the machine lacks what the device needs.
type Open func(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(name string, data []byte)) Device

// Pair is a model on a device and in the evaluator. The evaluator is given the
// device's choices (experts, entries, rounded codes), and how many differed is
// counted.
type Pair struct {
	Model   *deepseekv4.Model
	Device  Device
	Machine *eval.Machine[float32]

	t     testing.TB
	b     *bundle.Bundle
	seen  map[string][]byte // the device's named values of this step
	rows  []ir.Row          // of this step
	flips map[string]int    // differing choices, by kind
	count map[string]int    // choices compared
	worst float64
}

// New compiles the checkpoint in dir and opens both sides.
func New(t testing.TB, dir string, f passes.Formats, o bundle.Options, open Open) *Pair {
	t.Helper()
	m, err := deepseekv4.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	o.Formats = f
	b, _, err := bundle.Compile(bundle.Source{Name: filepath.Base(dir), Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, o)
	if err != nil {
		t.Fatal(err)
	}
	p := &Pair{t: t, Model: m, flips: map[string]int{}, count: map[string]int{}}
	p.Device = open(t, b, m.Checkpoint, func(name string, data []byte) {
		p.seen[strings.TrimPrefix(name, "%")] = slices.Clone(data)
	})
	t.Cleanup(func() {
		if err := p.Device.Close(); err != nil {
			t.Error(err)
		}
	})
	p.b = p.Device.Bundle()
	if p.Machine, err = eval.New[float32](p.b.Module, m.Weights); err != nil {
		t.Fatal(err)
	}
	p.Machine.Replace = p.replace
	return p
}

// Step runs rows on both and compares the wanted rows' logits.
func (p *Pair) Step(decode bool, rows []ir.Row, wanted []int) []float32 {
	p.t.Helper()
	p.seen, p.rows = map[string][]byte{}, rows
	run := p.Device.Prefill
	if decode {
		run = p.Device.Decode
	}
	got, err := run(rows, wanted)
	if err != nil {
		p.t.Fatal(err)
	}
	want, err := p.Machine.Step(rows, wanted)
	if err != nil {
		p.t.Fatal(err)
	}
	for i, w := range want[0].F {
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= p.worst) {
			p.worst = d
		}
	}
	if !(p.worst <= Limit) {
		p.t.Fatalf("rows at %d: logits differ by %g from the evaluator's with the same choices, at most %g are allowed; flips so far %v", rows[0].Position, p.worst, Limit, p.flips)
	}
	return got
}

// replace puts the device's choices in the place of the evaluator's.
func (p *Pair) replace(name string, v tensor.Value[float32]) tensor.Value[float32] {
	switch {
	case v.I != nil && p.seen[name] != nil:
		out := slices.Clone(v.I)
		for i := range out {
			out[i] = int32(binary.LittleEndian.Uint32(p.seen[name][4*i:]))
		}
		kind := name[strings.LastIndexByte(name, '.')+1:]
		p.tally(kind, differing(v.I, out), len(out))
		v.I = out
	case strings.HasSuffix(name, ".query"):
		data := p.seen[name]
		out := make([]float32, len(v.F))
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		p.tally("query codes", differing(v.F, out), len(out))
		v.F = out
	case strings.HasSuffix(name, ".row"):
		out := p.cacheRows(strings.TrimSuffix(name, ".row"), len(v.F))
		p.tally("row codes", differing(v.F, out), len(out))
		v.F = out
	}
	return v
}

func (p *Pair) tally(kind string, differ, of int) {
	p.flips[kind] += differ
	p.count[kind] += of
}

func differing[T comparable](a, b []T) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// cacheRows reads what the device appended to a state in this step, decoded:
// a row for each of the step's rows, or for each that closes a block.
func (p *Pair) cacheRows(state string, elements int) (out []float32) {
	for _, c := range p.b.Plan.Caches {
		if c.State.Name != state {
			continue
		}
		ratio := 1
		if !c.Ring {
			ratio = p.b.Plan.Context / c.Capacity
		}
		for _, r := range p.rows {
			if (int(r.Position)+1)%ratio != 0 {
				continue
			}
			index := int(r.Position) / ratio % c.Capacity
			data, err := p.Device.CacheRow(c, r.Slot, index)
			if err != nil {
				p.t.Fatal(err)
			}
			row := make([]float32, c.Row.Width)
			encoding.DecodeRow(c.Row, row, data)
			out = append(out, row...)
		}
	}
	if len(out) != elements {
		p.t.Fatalf("state @%s: %d elements appended, the evaluator appends %d", state, len(out), elements)
	}
	return out
}

// Report prints what was compared.
func (p *Pair) Report() {
	p.t.Helper()
	line := fmt.Sprintf("largest difference of logits %.2g", p.worst)
	for _, kind := range []string{"experts", "index_topk", "query codes", "row codes"} {
		if p.count[kind] > 0 {
			line += fmt.Sprintf("; %s: %d of %d flipped", kind, p.flips[kind], p.count[kind])
		}
	}
	p.t.Log(line)
}

// Clean reports whether both sides made the same choices throughout.
func (p *Pair) Clean() bool {
	for _, n := range p.flips {
		if n > 0 {
			return false
		}
	}
	return true
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
