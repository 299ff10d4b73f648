package planned_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/runtime/sampling"
)

// What a device over any machine is.
var (
	_ device.Planned       = (*planned.Device)(nil)
	_ device.ScoringRunner = (*planned.Device)(nil)
	_ device.Runner        = (*planned.Device)(nil)
	_ device.Profiled      = (*planned.Profiled)(nil)
	_ device.Keeper        = (*planned.Device)(nil)
)

// fixture is a model with layers of all kinds, compiled for short texts.
func fixture(t *testing.T) (*bundle.Bundle, *checkpoint.Checkpoint) {
	t.Helper()
	m, err := models.Open(devicetest.Fixture("b-official-fp8fp4"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	b, _, err := bundle.Compile(bundle.Source{Name: "tiny", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Lean: true, Context: 256, Chunk: 16, Slots: 2, Wanted: 2})
	if err != nil {
		t.Fatal(err)
	}
	return b, m.Checkpoint
}

func open(t *testing.T, m *trial, o planned.Options) *planned.Device {
	t.Helper()
	b, ck := fixture(t)
	m.ck, o.Name = ck, "trial"
	d, err := planned.Open(b, ck, o, m.made)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(d.Close(), d.Close(), m.broken); err != nil || !m.closed {
			t.Error(err, m.closed)
		}
	})
	return d
}

// rows are the next n of a slot.
func rows(d *planned.Device, slot int32, n int) (rows []ir.Row) {
	for i := range n {
		rows = append(rows, ir.Row{Token: int32(7*i+3) % int32(d.Vocab()), Position: int32(d.Length(slot) + i), Slot: slot})
	}
	return rows
}

// TestCounts: a machine is asked for no more than it must be. Each plane is uploaded
// once; a step that picks tokens moves 4 bytes a token; logits that nobody wants stay. What
// scores tokens runs for who asks, and never in a step.
func TestCounts(t *testing.T) {
	m := &trial{}
	d := open(t, m, planned.Options{})
	if want := planes(t, d.Bundle()); m.Uploaded != want || m.counts.Read != 0 {
		t.Errorf("opening uploads %d bytes of weights and reads %d; kernels read %d", m.Uploaded, m.counts.Read, want)
	}
	dispatches := func(p program.Phase) int { return d.Bundle().Plan.Step(p).Scoring() }
	scoring := func(p program.Phase) int {
		n := len(d.Bundle().Plan.Step(p).Dispatches) - dispatches(p)
		if n < 1 {
			t.Errorf("no dispatch of a %s step scores", p)
		}
		return n
	}
	const words = 4 * program.ScoreWords
	for _, c := range []struct {
		name string
		step func() error
		want counts
	}{
		{"prefill, no logits", func() error { _, err := d.Prefill(rows(d, 0, 16), nil); return err },
			counts{Starts: 1, Waits: 1, Dispatches: dispatches(program.Prefill)}},
		{"prefill", func() error { _, err := d.Prefill(rows(d, 0, 9), []int{8, 2}); return err },
			counts{Starts: 1, Waits: 1, Dispatches: dispatches(program.Prefill), Read: 2 * 4 * int64(d.Vocab())}},
		{"its scores", func() error {
			return d.Score([]program.Ask{{Row: 1, Token: 7}, {Row: 0, Token: 3, Top: 20}}, make([]device.Score, 2))
		}, counts{Starts: 1, Waits: 1, Dispatches: scoring(program.Prefill), Read: 2 * words}},
		{"no scores", func() error { return d.Score(nil, nil) }, counts{}},
		{"more than run at once", func() error { return d.Score(make([]program.Ask, 37), make([]device.Score, 37)) },
			counts{Starts: 3, Waits: 3, Dispatches: 3 * scoring(program.Prefill), Read: 37 * words}},
		{"sampled decode", func() error {
			return d.SampleDecode(append(rows(d, 0, 1), rows(d, 1, 1)...), []int{0, 1}, make([]sampling.Choice, 2), make([]int32, 2))
		}, counts{Starts: 1, Waits: 1, Dispatches: dispatches(program.Decode), Read: 8}},
		{"scores of what was picked", func() error {
			return d.Score([]program.Ask{{Row: 1, Token: -1}}, make([]device.Score, 1))
		}, counts{Starts: 1, Waits: 1, Dispatches: scoring(program.Decode), Read: words}},
		{"its logits", func() error { _, err := d.LastLogits(1); return err }, counts{Read: 4 * int64(d.Vocab())}},
	} {
		m.counts = counts{}
		if err := c.step(); err != nil || m.counts != c.want {
			t.Errorf("%s: %+v, %v; expected %+v", c.name, m.counts, err, c.want)
		}
	}
	if _, err := d.LastLogits(2); err == nil || !strings.Contains(err.Error(), "had 2 wanted rows") {
		t.Errorf("logits of a third row: %v", err)
	}
}

// TestPace: while a step runs it says how many of its dispatches have begun, and
// between steps nothing.
func TestPace(t *testing.T) {
	var d *planned.Device
	var seen []int
	total := 0
	d = open(t, &trial{}, planned.Options{Observe: func(string, []byte) {
		done, of := d.Pace()
		seen, total = append(seen, done), of
	}})
	if done, of := d.Pace(); done != 0 || of != 0 {
		t.Errorf("before the first step: %d of %d", done, of)
	}
	if _, err := d.Decode(rows(d, 0, 1), []int{0}); err != nil {
		t.Fatal(err)
	}
	if n := d.Bundle().Plan.Step(program.Decode).Scoring(); total != n || !slices.IsSorted(seen) || len(seen) == 0 || seen[len(seen)-1] < n/2 {
		t.Errorf("within a step of %d dispatches: %v of %d", n, seen, total)
	}
	if done, of := d.Pace(); done != 0 || of != 0 {
		t.Errorf("after a step: %d of %d", done, of)
	}
}

// planes is how many bytes of weights kernels read, each plane counted once.
func planes(t *testing.T, b *bundle.Bundle) (total int64) {
	t.Helper()
	seen := map[storage.Extent]bool{}
	for _, s := range b.Plan.Steps {
		for _, x := range s.Dispatches {
			for _, a := range x.Args {
				if a.Weight == nil {
					continue
				}
				p, err := b.Params.Get(a.Weight.Param)
				if err != nil {
					t.Fatal(err)
				}
				for _, piece := range p.Pieces {
					if e := piece.Plane(a.Weight.Role); !seen[e] {
						seen[e], total = true, total+e.Bytes
					}
				}
			}
		}
	}
	return total
}

// TestCaches: what is done to slots needs no memory of the host's but for marks, and for
// a slot's rings while it is stretched.
func TestCaches(t *testing.T) {
	m := &trial{}
	d := open(t, m, planned.Options{})
	if _, err := d.Prefill(rows(d, 0, 16), nil); err != nil {
		t.Fatal(err)
	}
	m.counts = counts{}
	rings := int64(0)
	for _, c := range d.Bundle().Plan.Caches {
		if c.Ring {
			rings += int64(c.Capacity) * int64(c.Row.Bytes)
		}
	}
	if err := d.Caches().Copy(1, 0); err != nil || d.Length(1) != 16 || m.Copied == 0 || m.counts.Read+m.Written > 0 {
		t.Errorf("a copy of %d tokens: %+v, %v", d.Length(1), m.counts, err)
	}
	if err := d.Caches().Stretch(1, 200); err != nil || d.Length(1) != 200 || m.counts.Read != rings {
		t.Errorf("stretched to %d tokens: %+v, %v", d.Length(1), m.counts, err)
	}
	m.counts = counts{}
	mark, err := d.Caches().Mark(1)
	if err != nil || m.counts.Read == 0 {
		t.Fatal(err, m.counts)
	}
	if _, err := d.Prefill(rows(d, 1, 5), nil); err != nil {
		t.Fatal(err)
	}
	read := m.counts.Read
	if err := d.Caches().Rewind(mark); err != nil || d.Length(1) != 200 || m.Written != read {
		t.Errorf("went back to %d tokens: %+v, %v", d.Length(1), m.counts, err)
	}
}

// TestRefused: what is refused before the machine is asked changes nothing; after
// the machine's own failure no step runs, and after Close nothing.
func TestRefused(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &trial{}
	d := open(t, m, planned.Options{Context: ctx})
	if _, err := d.Decode(rows(d, 0, 1), nil); err != nil {
		t.Fatal(err)
	}
	m.counts = counts{}
	if err := d.SampleDecode(rows(d, 0, 1), []int{0}, nil, make([]int32, 1)); err == nil {
		t.Error("a place for a token of one wanted row without a choice")
	}
	if _, err := d.Decode([]ir.Row{{Position: 7}}, nil); err == nil || m.counts != (counts{}) || d.Length(0) != 1 {
		t.Errorf("a row that does not go on: %v, %+v", err, m.counts)
	}
	if _, err := d.Prefill(append(rows(d, 0, 1), rows(d, 1, 1)...), nil); err == nil || !strings.Contains(err.Error(), "takes rows of one slot") ||
		m.counts != (counts{}) || d.Length(0) != 1 {
		t.Errorf("prompts of two slots in a step: %v, %+v", err, m.counts)
	}
	cancel()
	if _, err := d.Decode(rows(d, 0, 1), []int{0}); !errors.Is(err, context.Canceled) || d.Length(0) != 1 {
		t.Errorf("a step that is left: %v, %d tokens", err, d.Length(0))
	}
	if _, err := d.Prefill(rows(d, 0, 1), nil); err == nil || !strings.Contains(err.Error(), "failed before") {
		t.Errorf("a step after that: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	m.counts = counts{}
	_, decode := d.Decode(rows(d, 0, 1), nil)
	_, mark := d.Caches().Mark(0)
	_, last := d.LastLogits(0)
	for what, err := range map[string]error{"decode": decode, "mark": mark, "logits": last} {
		if err == nil || !strings.Contains(err.Error(), "closed") || m.counts != (counts{}) {
			t.Errorf("%s after Close: %v, %+v", what, err, m.counts)
		}
	}
}

// TestOpaque: a model on a machine whose memory nobody sees gives the evaluator's
// logits, also with observed values, which are read and written back.
func TestOpaque(t *testing.T) {
	if testing.Short() {
		t.Skip("the interpreter takes its time")
	}
	p := devicetest.New(t, devicetest.Fixture("a-bf16"), devicetest.Float32, bundle.Options{Context: 32, Chunk: 8, Wanted: 2, Slots: 2},
		func(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(string, []byte)) device.Planned {
			d, err := planned.Open(b, ck, planned.Options{Name: "trial", Poison: true, Observe: observe}, (&trial{ck: ck, runs: true}).made)
			if err != nil {
				t.Fatal(err)
			}
			return d
		})
	tokens := devicetest.Random(1, 8, p.Device.Vocab())
	p.Feed(false, 1, 0, tokens[:5])
	p.Feed(true, 1, 5, tokens[5:])
	p.Report()
}
