package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/runtime/devmem"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
)

// hostMemory is a devmem.CacheMemory.
type hostMemory []byte

func (m hostMemory) Read(to []byte, at int64) error     { copy(to, m[at:]); return nil }
func (m hostMemory) Write(at int64, bytes []byte) error { copy(m[at:], bytes); return nil }
func (m hostMemory) Copy(to, from, n int64) error       { copy(m[to:to+n], m[from:]); return nil }

// fake is a device that takes steps as a real one does, computes nothing, and
// keeps a log.
type fake struct {
	b      *bundle.Bundle
	slots  *devmem.Slots
	caches *devmem.Caches
	mode   profile.Mode
	log    []string
	fail   error
	rates  []roofline.Rates // that are measured, one after the other; the last again and again
}

func newFake(t *testing.T, o bundle.Options) *fake {
	t.Helper()
	m, err := models.Open("../internal/models/deepseekv4/testdata/fixtures/a-bf16", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	o.Lean = true
	b, _, err := bundle.Compile(bundle.Source{Name: "tiny", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, o)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{b: b, slots: devmem.NewSlots(b.Plan, 256), rates: []roofline.Rates{{Read: 100e12, Copy: 50e12, Flops: 1e15}}}
	f.caches = devmem.NewCaches(b.Plan, hostMemory(make([]byte, b.Plan.CacheBytes)), f.slots)
	return f
}

func (f *fake) Name() string           { return "fake" }
func (f *fake) Close() error           { return nil }
func (f *fake) Vocab() int             { return 4 }
func (f *fake) Bundle() *bundle.Bundle { return f.b }
func (f *fake) Caches() *devmem.Caches { return f.caches }
func (f *fake) Reset(slot int32)       { f.slots.Reset(slot) }

func (f *fake) CacheRow(*plan.Cache, int32, int) ([]byte, error) {
	return nil, errors.New("a fake has no rows")
}

func (f *fake) Roofline() (roofline.Rates, error) {
	f.log = append(f.log, "roofline")
	rates := f.rates[0]
	if len(f.rates) > 1 {
		f.rates = f.rates[1:]
	}
	return rates, nil
}

func (f *fake) Profile(m profile.Mode) error {
	f.mode = m
	return nil
}

func (f *fake) Prefill(rows []ir.Row, wanted []int) ([]float32, error) {
	return f.step(program.Prefill, rows, wanted)
}

func (f *fake) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	return f.step(program.Decode, rows, wanted)
}

func (f *fake) step(phase program.Phase, rows []ir.Row, wanted []int) ([]float32, error) {
	if f.fail != nil {
		return nil, f.fail
	}
	if err := f.slots.Check(f.b.Plan.Step(phase), rows, wanted); err != nil {
		return nil, err
	}
	f.slots.Take()
	f.log = append(f.log, fmt.Sprintf("%s %d rows from %d, mode %d", phase, len(rows), rows[0].Position, f.mode))
	time.Sleep(10 * time.Microsecond) // so that no rate is infinite
	out := make([]float32, len(wanted)*f.Vocab())
	for i := range wanted {
		out[i*f.Vocab()+2] = 1
	}
	return out, nil
}

// Timings: dispatch i takes i+1 microseconds.
func (f *fake) Timings(phase program.Phase) []time.Duration {
	out := make([]time.Duration, len(f.b.Plan.Step(phase).Dispatches))
	for i := range out {
		out[i] = time.Duration(i+1) * time.Microsecond
	}
	return out
}

// TestRunProtocol: each frontier is reached by prefill alone, generating there
// begins at it, as often as asked, and leaves no trace.
func TestRunProtocol(t *testing.T) {
	f := newFake(t, bundle.Options{Context: 64, Chunk: 16, Slots: 2})
	r, err := Run(context.Background(), f, RunOptions{Frontiers: []int{10, 40}, Generate: 3, Rows: []int{1, 2}, Tokens: []int32{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	want := `prefill 16 rows from 0, mode 0
decode 1 rows from 16, mode 0
prefill 10 rows from 0, mode 0
decode 1 rows from 10, mode 0
decode 1 rows from 11, mode 0
decode 1 rows from 12, mode 0
decode 2 rows from 10, mode 0
decode 2 rows from 11, mode 0
decode 2 rows from 12, mode 0
prefill 16 rows from 10, mode 0
prefill 14 rows from 26, mode 0
decode 1 rows from 40, mode 0
decode 1 rows from 41, mode 0
decode 1 rows from 42, mode 0
decode 2 rows from 40, mode 0
decode 2 rows from 41, mode 0
decode 2 rows from 42, mode 0`
	if got := strings.Join(f.log, "\n"); got != want {
		t.Errorf("steps:\n%s\nwant:\n%s", got, want)
	}
	if len(r.Frontiers) != 2 || r.Frontiers[1].PrefillTokens != 30 || r.Frontiers[0].CacheBytes <= 0 || r.Frontiers[1].CacheBytes <= r.Frontiers[0].CacheBytes {
		t.Errorf("frontiers: %+v", r.Frontiers)
	}
	for _, fr := range r.Frontiers {
		if want := float64(fr.PrefillTokens) / fr.PrefillSeconds; math.Abs(fr.TokensPerSecond-want) > 1e-9*want {
			t.Errorf("prefill of %d tokens: %v a second, want %v", fr.PrefillTokens, fr.TokensPerSecond, want)
		}
		for _, d := range fr.Decode {
			if d.Tokens != 3 || d.TokensPerSecond <= 0 || d.Steady <= 0 || d.Step.P10 > d.Step.Median || d.Step.Median > d.Step.P90 {
				t.Errorf("decode: %+v", d)
			}
		}
	}
	for slot := range int32(2) {
		if n := f.slots.Length(slot); n != 0 {
			t.Errorf("slot %d is left with %d tokens", slot, n)
		}
	}
}

// TestKernelsProtocol: a step is run at its length in every way, and its
// kernels add up.
func TestKernelsProtocol(t *testing.T) {
	f := newFake(t, bundle.Options{Context: 64, Chunk: 16, Slots: 3})
	shapes := []Shape{{program.Decode, 3, 50}, {program.Prefill, 8, 20}, {program.Prefill, 4, 4}}
	r, err := Kernels(context.Background(), f, KernelOptions{Steps: shapes, Repeat: 2, Tokens: []int32{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	times := func(n int, s string) {
		for range n {
			want = append(want, s)
		}
	}
	for i, s := range []string{"decode 3 rows from 49", "prefill 8 rows from 12", "prefill 4 rows from 0"} {
		if i < 2 {
			times(1, []string{"prefill 16 rows from 0, mode 0", "prefill 12 rows from 0, mode 0"}[i])
		}
		times(1, "roofline")
		for mode := range 3 {
			times(3, fmt.Sprintf("%s, mode %d", s, mode))
		}
		times(1, "roofline")
	}
	if !slices.Equal(f.log, want) {
		t.Errorf("steps:\n%s\nwant:\n%s", strings.Join(f.log, "\n"), strings.Join(want, "\n"))
	}
	for i, s := range r.Steps {
		checkStep(t, f, shapes[i], &s)
	}
}

func checkStep(t *testing.T, f *fake, shape Shape, s *Step) {
	t.Helper()
	plan := f.b.Plan.Step(shape.Phase)
	costs, err := Costs(plan, shape, false)
	if err != nil {
		t.Fatal(err)
	}
	var bytes, flops int64
	took, dispatches := 0.0, 0
	for i, c := range costs {
		if c.Grid[0]*c.Grid[1]*c.Grid[2] == 0 {
			continue
		}
		bytes, flops, dispatches = bytes+c.Bytes(), flops+c.Flops, dispatches+1
		took += 1e-6 * float64(i+1)
	}
	total := s.All
	if total.Bytes != bytes || total.Flops != flops || total.Dispatches != dispatches {
		t.Errorf("%s: %d bytes, %d operations of %d dispatches; the plan has %d, %d of %d", shape, total.Bytes, total.Flops, total.Dispatches, bytes, flops, dispatches)
	}
	// A kernel that some dispatches of run with an empty grid has their time too.
	if shape.Phase == program.Decode && total.Seconds.Median < took*(1-1e-9) {
		t.Errorf("%s: %v s in kernels, want at least %v", shape, total.Seconds.Median, took)
	}
	share := 0.0
	for i, k := range s.Kernels {
		share += k.Share
		if i > 0 && k.Seconds.Median > s.Kernels[i-1].Seconds.Median {
			t.Errorf("%s: %s is not in its place", shape, k.Name)
		}
		if want := float64(k.Bytes) / k.Seconds.Median / s.Machine.Read; math.Abs(k.OfRead-want) > 1e-9*want {
			t.Errorf("%s: %s reads at %v of the machine's rate, want %v", shape, k.Name, k.OfRead, want)
		}
	}
	if math.Abs(share-1) > 1e-9 || !s.Cold || s.Repeat != 2 {
		t.Errorf("%s: shares add up to %v, cold is %v", shape, share, s.Cold)
	}
}

// TestRunBroken: an error leaves the frontiers before it.
func TestRunBroken(t *testing.T) {
	f := newFake(t, bundle.Options{Context: 64, Chunk: 16, Slots: 2})
	for n := range 4 {
		f.fail = nil
		begun := 0
		r, err := Run(context.Background(), f, RunOptions{Frontiers: []int{5, 10, 20, 40}, Generate: 1, Rows: []int{1}, Tokens: []int32{1}, Progress: func(string) {
			if begun++; begun > n {
				f.fail = errors.New("broken")
			}
		}})
		if !errors.Is(err, f.fail) || r == nil || len(r.Frontiers) != n || r.Frontiers == nil || n > 0 && r.Frontiers[n-1].PrefillTokens == 0 {
			t.Errorf("broken at frontier %d: %+v, %v", n, r, err)
		}
	}
}

// TestKernelsBroken: an error leaves the steps before it.
func TestKernelsBroken(t *testing.T) {
	f := newFake(t, bundle.Options{Context: 64, Chunk: 16, Slots: 2})
	shapes := []Shape{{program.Decode, 1, 20}, {program.Decode, 2, 20}, {program.Prefill, 16, 40}}
	for n := range shapes {
		f.fail = nil
		begun := 0
		r, err := Kernels(context.Background(), f, KernelOptions{Steps: shapes, Repeat: 1, Tokens: []int32{1}, Progress: func(string) {
			if begun++; begun > n {
				f.fail = errors.New("broken")
			}
		}})
		if !errors.Is(err, f.fail) || r == nil || r.Steps == nil || len(r.Steps) != n || !strings.HasPrefix(err.Error(), shapes[n].String()+": ") {
			t.Errorf("broken at step %d: %+v, %v", n, r, err)
		}
	}
}

// TestRefuses: what the plan has no room for is said before any step.
func TestRefuses(t *testing.T) {
	f := newFake(t, bundle.Options{Context: 64, Chunk: 16, Slots: 2})
	ctx, tokens := context.Background(), []int32{1}
	run := func(o RunOptions) error { _, err := Run(ctx, f, o); return err }
	kernels := func(s Shape) error {
		_, err := Kernels(ctx, f, KernelOptions{Steps: []Shape{s}, Repeat: 1, Tokens: tokens})
		return err
	}
	for _, repeat := range []int{0, -1, MaxRepeat + 1, math.MaxInt, math.MinInt} {
		if _, err := Kernels(ctx, f, KernelOptions{Steps: []Shape{{program.Decode, 1, 8}}, Repeat: repeat, Tokens: tokens}); err == nil || !strings.Contains(err.Error(), "expected 1 to 10000") {
			t.Errorf("each step %d times: %v", repeat, err)
		}
	}
	for want, err := range map[string]error{
		"ascend from 1 on, found 5 after 8": run(RunOptions{Frontiers: []int{8, 5}, Generate: 1, Rows: []int{1}, Tokens: tokens}),
		"exceed the context of 64":          run(RunOptions{Frontiers: []int{60}, Generate: 5, Rows: []int{1}, Tokens: tokens}),
		"compile it with Slots 3":           run(RunOptions{Frontiers: []int{8}, Generate: 1, Rows: []int{3}, Tokens: tokens}),
		"nothing to measure":                run(RunOptions{Frontiers: []int{8}, Rows: []int{1}, Tokens: tokens}),
		"no tokens to make a text of":       run(RunOptions{Frontiers: []int{8}, Generate: 1, Rows: []int{1}}),
		"expected 1 to 16 rows":             kernels(Shape{program.Prefill, 17, 60}),
		"contexts of 64; compile it with":   kernels(Shape{program.Decode, 1, 65}),
		"the context is too short":          kernels(Shape{program.Decode, 1, 1}),
		"Slots 4 Wanted 16":                 kernels(Shape{program.Decode, 4, 60}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found %v, want an error with %q", err, want)
		}
	}
	if len(f.log) > 0 {
		t.Errorf("steps were run: %q", f.log)
	}
	f.fail = errors.New("broken")
	if err := kernels(Shape{program.Decode, 1, 20}); !errors.Is(err, f.fail) {
		t.Errorf("the device's error is lost: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	f.fail = nil
	if _, err := Run(ended, f, RunOptions{Frontiers: []int{8}, Generate: 1, Rows: []int{1}, Tokens: tokens}); !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancellation: %v", err)
	}
}

func TestSpread(t *testing.T) {
	var times []time.Duration
	for i := range 11 {
		times = append(times, time.Duration(10-i)*time.Second)
	}
	if got := spread(times); got != (Spread{5, 1, 9}) {
		t.Errorf("found %+v", got)
	}
	if got := spread(times[:1]); got.Median != got.P10 || got.Median != got.P90 {
		t.Errorf("of one: %+v", got)
	}
}
