package metal

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt/codegen/bundle"
	"smelt/codegen/lower"
	"smelt/ir"
	"smelt/models/checkpoint"
	"smelt/models/deepseekv4"
	"smelt/runtime/agreement"
	"smelt/runtime/metal/fake"
	"smelt/runtime/metal/objc"
	"smelt/runtime/profile"
	"smelt/runtime/sampling"
)

// model is a compiled fixture.
func model(t testing.TB, dir string, o bundle.Options) (*bundle.Bundle, *checkpoint.Checkpoint) {
	t.Helper()
	m, err := deepseekv4.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	b, _, err := bundle.Compile(bundle.Source{Name: filepath.Base(dir), Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, o)
	if err != nil {
		t.Fatal(err)
	}
	return b, m.Checkpoint
}

func fixture(t testing.TB) (*bundle.Bundle, *checkpoint.Checkpoint) {
	return model(t, agreement.Fixture("b-official-fp8fp4"), bundle.Options{Lean: true, Context: 256, Chunk: 32, Slots: 2})
}

// device opens the fixture on a fake machine.
func device(t testing.TB, o fake.Options, opts Options) (*gpu, *Device) {
	t.Helper()
	g := newGPU(t, o)
	b, ck := fixture(t)
	d, err := g.open(b, ck, opts)
	if err != nil {
		t.Fatal(err)
	}
	return g, d
}

var greedy = []sampling.Choice{{}}

// steps runs a prompt of three tokens and n steps, starting over where the
// context ends.
func steps(d *Device, n int) error {
	tokens := make([]int32, 1)
	rows, wanted := []ir.Row{{Token: 1}, {Token: 2, Position: 1}, {Token: 3, Position: 2}}, []int{2}
	one, first := make([]ir.Row, 1), []int{0}
	for i := range n {
		at := int32(3 + i%200)
		if at == 3 {
			d.Reset(0)
			if err := d.SamplePrefill(rows, wanted, greedy, tokens); err != nil {
				return err
			}
		}
		one[0] = ir.Row{Token: 5, Position: at}
		if err := d.SampleDecode(one, first, greedy, tokens); err != nil {
			return err
		}
	}
	return nil
}

// TestManySteps: no object is left, released late or used too long, however many
// steps there are; gpu.check looks at the end.
func TestManySteps(t *testing.T) {
	n := 10000
	if testing.Short() {
		n = 300
	}
	for _, residency := range []bool{true, false} {
		g, d := device(t, fake.Options{Residency: residency}, Options{})
		before := g.fake.Live()
		if err := steps(d, n); err != nil {
			t.Fatal(err)
		}
		for class, count := range g.fake.Live() {
			if class != "MTLCommandBuffer" && count != before[class] { // the last step's are kept for their times
				t.Errorf("%d objects of class %s after %d steps; %d before", count, class, n, before[class])
			}
		}
	}
}

// TestCalls: a dispatch takes at most four calls, and all else is bound once a
// command buffer.
func TestCalls(t *testing.T) {
	g, d := device(t, fake.Options{Residency: true}, Options{})
	if err := steps(d, 2); err != nil {
		t.Fatal(err)
	}
	g.fake.ResetCounts()
	if err := d.SampleDecode([]ir.Row{{Token: 5, Position: 5}}, []int{0}, greedy, make([]int32, 1)); err != nil {
		t.Fatal(err)
	}
	const around = 20 // of a command buffer: made, bound, fenced, ended, committed, waited for
	dispatches, calls := g.fake.Dispatches(), g.fake.TotalCalls()
	if dispatches == 0 || calls > 4*dispatches+around {
		t.Errorf("%d calls for %d dispatches; expected at most 4 for each and %d", calls, dispatches, around)
	}
	t.Logf("%d dispatches, %d calls: %v", dispatches, calls, g.fake.Calls())
}

// TestFaults: after a fault the step's error names the kernels, the cause and what
// helps, the slots are as before, later steps are refused, and the model can be
// opened again.
func TestFaults(t *testing.T) {
	for code, want := range map[int]string{
		objc.FailedTimeout:       "smaller --chunk",
		objc.FailedPageFault:     "smelt doctor",
		objc.FailedOutOfMemory:   "memory ran out",
		objc.FailedDeviceRemoved: "start again",
	} {
		at := -1
		var g *gpu
		g, d := device(t, fake.Options{Residency: true, Fault: func(x *fake.Dispatch) int {
			if x.Index == at {
				return code
			}
			return 0
		}}, Options{})
		if err := steps(d, 1); err != nil {
			t.Fatal(err)
		}
		length := d.slots.Length(0)
		at = 7
		row, tokens := []ir.Row{{Token: 5, Position: int32(length)}}, make([]int32, 1)
		err := d.SampleDecode(row, []int{0}, greedy, tokens)
		var e *objc.Error
		if err == nil || !errors.As(err, &e) || e.Code != code || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "decode step, kernels ") {
			t.Fatalf("code %d: %v; expected one that says %q", code, err, want)
		}
		if d.slots.Length(0) != length {
			t.Errorf("code %d: the slot has %d tokens after the fault, %d before", code, d.slots.Length(0), length)
		}
		at = -1
		if err := d.SampleDecode(row, []int{0}, greedy, tokens); err == nil || !strings.Contains(err.Error(), "failed before") {
			t.Errorf("code %d: a step after the fault: %v", code, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		b, ck := fixture(t)
		again, err := g.open(b, ck, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := steps(again, 2); err != nil {
			t.Errorf("code %d: opened again: %v", code, err)
		}
	}
}

// TestOpenFails: what cannot work is refused in one error, and nothing stays.
func TestOpenFails(t *testing.T) {
	for name, c := range map[string]struct {
		o    fake.Options
		want []string
	}{
		"no device":     {fake.Options{NoDevice: true}, []string{"names no GPU"}},
		"too large":     {fake.Options{WorkingSet: 3 << 20}, []string{"sudo sysctl iogpu.wired_limit_mb=", "recommends at most 3145728", "weights 2717659"}},
		"no memory":     {fake.Options{NewBufferFails: func(n int64) bool { return n > 100000 && n < 2<<20 /* of the file it is */ }}, []string{"memory is full", "--context"}},
		"small buffers": {fake.Options{MaxBuffer: 64 << 10}, []string{"at most 65536"}},
		"does not compile": {fake.Options{Compile: func(s string) error {
			if strings.Contains(s, "void head_decode(") {
				return errors.New("program_source:3:1: error: expected expression")
			}
			return nil
		}}, []string{"kernel head_decode: Metal does not compile line 3: ", "expected expression"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGPU(t, c.o)
			b, ck := fixture(t)
			_, err := g.open(b, ck, Options{})
			g.device = nil
			if err == nil {
				t.Fatal("opened")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q; expected that it says %q", err, w)
				}
			}
		})
	}
}

// TestFewerThreads: where a pipeline allows fewer threads than its schedule wants,
// the model is planned again.
func TestFewerThreads(t *testing.T) {
	_, d := device(t, fake.Options{MaxThreads: map[string]int{"head_decode": 64}}, Options{})
	if d.b.Plan.Target.MaxThreads != 64 {
		t.Errorf("the plan has threadgroups of %d threads at most; expected 64", d.b.Plan.Target.MaxThreads)
	}
	for _, k := range d.b.Plan.Kernels {
		if k.Schedule.Threads > 64 {
			t.Errorf("kernel %s has %d threads", k.Name, k.Schedule.Threads)
		}
	}
	if err := steps(d, 2); err != nil {
		t.Error(err)
	}
}

// TestArchive: pipelines are kept, found again, and made anew where the file is
// broken.
func TestArchive(t *testing.T) {
	dir := t.TempDir()
	opened := func() *Device {
		_, d := device(t, fake.Options{}, Options{Archives: dir})
		return d
	}
	if b := opened().Build(); b.Kept || b.Note != "" || b.Kernels == 0 {
		t.Errorf("first time: %+v", b)
	}
	if b := opened().Build(); !b.Kept || b.Note != "" {
		t.Errorf("second time: %+v", b)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
}

// TestProfile: each dispatch has a time, and the machine's limits are measured.
func TestProfile(t *testing.T) {
	_, d := device(t, fake.Options{Residency: true}, Options{})
	for _, m := range []profile.Mode{profile.Warm, profile.Cold} {
		if err := d.Profile(m); err != nil {
			t.Fatal(err)
		}
		d.Reset(0)
		if err := steps(d, 1); err != nil {
			t.Fatal(err)
		}
		times := d.Timings(lower.Decode)
		if len(times) != len(d.b.Plan.Step(lower.Decode).Dispatches) || slices.Max(times) == 0 {
			t.Errorf("mode %v: times %v", m, times)
		}
	}
	rates, err := d.Roofline()
	if err != nil || rates.Read <= 0 || rates.Copy <= 0 || rates.Flops <= 0 {
		t.Errorf("rates %+v, %v", rates, err)
	}
}

// TestRanges: every byte is covered, nothing is larger than a buffer, and what
// begins in one span before the next begins lies whole in it.
func TestRanges(t *testing.T) {
	const page = 16 << 10
	for _, c := range []struct{ size, largest, most int64 }{
		{1, 1, 1 << 20}, {page, page, page}, {10<<20 + 3, 300001, 1 << 20}, {1 << 20, 5, 1 << 20}, {1<<20 + 1, 5, 1 << 20}, {100 << 20, 900 << 10, 1 << 20},
	} {
		got, err := ranges(c.size, c.largest, c.most, page)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		for i, r := range got {
			if r.start%page != 0 || r.length%page != 0 || r.length > c.most || r.length <= 0 {
				t.Errorf("%+v: span %+v", c, r)
			}
			if end := r.start + r.length; i+1 < len(got) && got[i+1].start-1+c.largest > end {
				t.Errorf("%+v: %d bytes before span %+v do not lie whole in %+v", c, c.largest, got[i+1], r)
			}
		}
		if last := got[len(got)-1]; got[0].start != 0 || last.start+last.length < c.size || last.start+last.length >= c.size+page {
			t.Errorf("%+v: spans %v", c, got)
		}
	}
	if _, err := ranges(10<<20, 2<<20, 1<<20, page); err == nil {
		t.Error("a tensor larger than a buffer is accepted")
	}
}
