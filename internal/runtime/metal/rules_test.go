package metal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/metal/fake"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/internal/runtime/stepblock"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/runtime/sampling"
)

// compile compiles the checkpoint in a folder.
func compile(dir string, o bundle.Options) (*models.Model, *bundle.Bundle, error) {
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		return nil, nil, err
	}
	b, _, err := bundle.Compile(bundle.Source{Name: filepath.Base(dir), Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, o)
	return m, b, err
}

// compiledFixture is the one that most tests use. It is compiled once and stays
// open: tests do not change it.
var compiledFixture = sync.OnceValues(func() (*bundle.Bundle, *checkpoint.Checkpoint) {
	m, b, err := compile(devicetest.Fixture("b-official-fp8fp4"), bundle.Options{Lean: true, Context: 256, Chunk: 32, Slots: 2})
	if err != nil {
		panic(err) // of a fixture that other tests find in order
	}
	return b, m.Checkpoint
})

// openFake opens the fixture on a fake machine.
func openFake(t testing.TB, o fake.Options, opts Options) (*gpu, *Device) {
	t.Helper()
	g := newGPU(t, o)
	b, ck := compiledFixture()
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
		g, d := openFake(t, fake.Options{Residency: residency}, Options{})
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

// TestBytes: what the device makes is what was admitted, to the byte.
func TestBytes(t *testing.T) {
	for _, threads := range []int{0, 64} { // the second is planned again
		o := fake.Options{}
		if threads > 0 {
			if testing.Short() {
				continue
			}
			o.MaxThreads = map[string]int{"attn_hyper_read_decode": threads}
		}
		_, d := openFake(t, o, Options{})
		m := d.Bundle().Memory()
		if want := m.Caches + m.Arena + d.machine.extra.total(); d.machine.memory.made != want {
			t.Errorf("buffers of %d bytes were made; admitted were %d", d.machine.memory.made, want)
		}
	}
}

// TestResidency: with macOS 15 one set holds every buffer, asked for before the
// first step; before, each command buffer names them.
func TestResidency(t *testing.T) {
	g, d := openFake(t, fake.Options{Residency: true}, Options{})
	c := g.fake.Calls()
	if all := len(d.machine.memory.all()); c["newResidencySetWithDescriptor:error:"] != 1 || c["addAllocation:"] != all || c["requestResidency"] != 1 || c["addResidencySet:"] != 1 {
		t.Errorf("after opening with %d buffers: %v", all, c)
	}
	g.fake.ResetCounts() // halves were looked at before there was a set
	if err := steps(d, 1); err != nil {
		t.Fatal(err)
	}
	if n := g.fake.Calls()["useResources:count:usage:"]; n != 0 {
		t.Errorf("%d encoders name buffers that are resident", n)
	}
	g, d = openFake(t, fake.Options{}, Options{})
	if err := steps(d, 1); err != nil {
		t.Fatal(err)
	}
	if c := g.fake.Calls(); c["useResources:count:usage:"] == 0 || c["useResources:count:usage:"] != 2*c["commit"] {
		t.Errorf("before macOS 15: %v", c)
	}
}

// TestUsage: before macOS 15 each encoder declares that kernels only read the mapped
// files, and read and write all other memory; with a residency set it declares nothing.
func TestUsage(t *testing.T) {
	for name, residency := range map[string]bool{"macOS 14": false, "macOS 15": true} {
		var g *gpu
		seen := map[uintptr]int{}
		g, d := openFake(t, fake.Options{Residency: residency, Execute: func(x *fake.Dispatch) error {
			for _, b := range g.fake.Buffers() {
				want := uintptr(objc.UsageRead | objc.UsageWrite)
				switch {
				case residency:
					want = 0
				case b.NoCopy:
					want = objc.UsageRead
				}
				got := g.fake.Usage(x, b.Address)
				if seen[got]++; got != want {
					t.Errorf("%s: %s finds %s declared for %d, expected %d", name, x.Kernel, b.Label, got, want)
				}
			}
			return nil
		}}, Options{})
		if err := steps(d, 1); err != nil {
			t.Fatal(err)
		}
		if !residency && (seen[objc.UsageRead] == 0 || seen[objc.UsageRead|objc.UsageWrite] == 0) || residency && seen[0] == 0 {
			t.Errorf("%s: buffers by what is declared: %v", name, seen)
		}
	}
}

// TestStartedAhead: steps can be started before those before them were waited for, as many as
// the ring has parameters of; beyond that the ring waits for one. Waiting leaves alone
// what it need not wait for.
func TestStartedAhead(t *testing.T) {
	g, d := openFake(t, fake.Options{Residency: true}, Options{})
	p := d.Bundle().Plan.Step(program.Decode)
	s, filler, grids := d.machine.steps[program.Decode], stepblock.New(p.Params), make([][3]int64, len(p.Dispatches))
	const ahead = 2*ringBlocks + 1
	want := 0
	for i := range ahead {
		if err := filler.Fill(s.Params(), []ir.Row{{Token: 5, Position: int32(i)}}, []int{0}, nil); err != nil {
			t.Fatal(err)
		}
		for n, x := range p.Dispatches {
			groups := int64(1)
			for axis, e := range x.Grid {
				grids[n][axis], _ = e.Eval(filler.Symbol) // the plan is checked
				groups *= grids[n][axis]
			}
			if groups > 0 {
				want++
			}
		}
		if err := s.Start(grids, 0, len(grids)); err != nil {
			t.Fatal(err)
		}
	}
	q := d.machine.queue
	if err := d.machine.Wait(t.Context(), 1); err != nil || q.ended != q.value-1 {
		t.Fatalf("all but one of %d were waited for, so far %d: %v", q.value, q.ended, err)
	}
	if err := d.machine.Wait(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if n := g.fake.Dispatches(); n != want {
		t.Errorf("%d dispatches ran of %d", n, want)
	}
	if n := g.fake.Calls()["waitUntilSignaledValue:timeoutMS:"]; n != ahead-ringBlocks+2 {
		t.Errorf("%d steps were waited for %d times", ahead, n)
	}
	if err := d.machine.Wait(t.Context(), 0); err != nil || q.ended != q.value {
		t.Errorf("with nothing to wait for: %v", err)
	}
}

// TestGroups: for Xcode's capture every dispatch is in a group, and command
// buffers and encoders have labels.
func TestGroups(t *testing.T) {
	g, d := openFake(t, fake.Options{Residency: true}, Options{Groups: true})
	g.fake.ResetCounts()
	if err := steps(d, 1); err != nil {
		t.Fatal(err)
	}
	calls, buffers := g.fake.Calls(), 0
	for _, s := range d.Bundle().Plan.Steps {
		buffers += s.CommandBuffers()
	}
	if n := g.fake.Dispatches(); n == 0 || calls["pushDebugGroup:"] != n || calls["popDebugGroup"] != n || calls["setLabel:"] != 2*buffers {
		t.Errorf("%d dispatches in %d command buffers: %v", n, buffers, calls)
	}
}

// TestCalls: a dispatch takes at most four calls, and all else is bound once a
// command buffer.
func TestCalls(t *testing.T) {
	g, d := openFake(t, fake.Options{Residency: true}, Options{})
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

// TestFewerThreads: where a pipeline allows fewer threads than its schedule wants,
// the model is planned again.
func TestFewerThreads(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: makes the pipelines anew, in one goroutine")
	}
	_, d := openFake(t, fake.Options{MaxThreads: map[string]int{"attn_hyper_read_decode": 64}}, Options{})
	if d.Bundle().Plan.Target.MaxThreads != 64 {
		t.Errorf("the plan has threadgroups of %d threads at most; expected 64", d.Bundle().Plan.Target.MaxThreads)
	}
	for _, k := range d.Bundle().Plan.Kernels {
		if k.Schedule.Threads > 64 {
			t.Errorf("kernel %s has %d threads", k.Name, k.Schedule.Threads)
		}
	}
	if err := steps(d, 2); err != nil {
		t.Error(err)
	}
}

// TestHalves: where the GPU makes zeros of subnormal halves, the model is planned again
// with kernels that need none, also with smaller threadgroups, and the notes say so.
func TestHalves(t *testing.T) {
	for _, c := range []struct {
		options fake.Options
		target  string
		note    string
	}{
		{fake.Options{}, "metal", "all halves become the right float32"},
		{fake.Options{FlushHalves: true}, "metal, without halves", "planned again, small floats are unpacked without halves: 2046 of 65536"},
		{fake.Options{FlushHalves: true, Residency: true, MaxThreads: map[string]int{"attn_hyper_read_decode": 64}}, "metal, threadgroups of at most 64, without halves", "2046 of 65536"},
	} {
		_, d := openFake(t, c.options, Options{})
		if got := d.Bundle().Plan.Target.String(); got != c.target {
			t.Errorf("planned for %s, expected %s", got, c.target)
		}
		if notes := strings.Join(d.Notes(), "; "); !strings.Contains(notes, c.note) {
			t.Errorf("the notes lack %q: %s", c.note, notes)
		}
		for _, k := range d.Bundle().Plan.Kernels {
			text, err := d.Bundle().Text(k.Name)
			if err != nil || c.options.FlushHalves && strings.Contains(text, "half2") {
				t.Errorf("kernel %s has halves: %v", k.Name, err)
			}
		}
		if err := steps(d, 1); err != nil {
			t.Error(err)
		}
	}
}

// TestArchive: pipelines are kept, found again, and made anew where the file is
// broken.
func TestArchive(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: makes the pipelines anew, in one goroutine")
	}
	dir := filepath.Join(t.TempDir(), "metal")
	opened := func() *Device {
		_, d := openFake(t, fake.Options{}, Options{Archives: dir})
		return d
	}
	if b := opened().Build(); b.Kept > 0 || b.Note != "" || b.Compiled == 0 {
		t.Errorf("first time: %+v", b)
	}
	if b := opened().Build(); b.Kept == 0 || b.Note != "" {
		t.Errorf("second time: %+v", b)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("half a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b := opened().Build(); b.Kept > 0 || b.Note != "" {
		t.Errorf("with a broken file: %+v", b)
	}
	if b := opened().Build(); b.Kept == 0 || b.Note != "" {
		t.Errorf("after a broken file: %+v", b)
	}
	// A device has no end: it is not opened, but replaced.
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", files[0]); err != nil {
		t.Fatal(err)
	}
	if b := opened().Build(); b.Kept > 0 || b.Note != "" {
		t.Errorf("with a device in place of the file: %+v", b)
	}
	if b := opened().Build(); b.Kept == 0 || b.Note != "" {
		t.Errorf("after a device: %+v", b)
	}
	// What others can write may be theirs.
	if err := os.Chmod(files[0], 0o666); err != nil {
		t.Fatal(err)
	}
	if b := opened().Build(); b.Kept > 0 || b.Note != "" {
		t.Errorf("with a file that others can write: %+v", b)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if b := opened().Build(); b.Kept > 0 || !strings.Contains(b.Note, "can be written by others") {
		t.Errorf("in a folder that others can write: %+v", b)
	}
}

// TestProfile: each dispatch has a time, and the machine's limits are measured.
func TestProfile(t *testing.T) {
	_, d := openFake(t, fake.Options{Residency: true}, Options{})
	for _, m := range []profile.Mode{profile.Warm, profile.Cold} {
		if err := d.Profile(m); err != nil {
			t.Fatal(err)
		}
		d.Reset(0)
		if err := steps(d, 1); err != nil {
			t.Fatal(err)
		}
		times := d.Timings(program.Decode)
		if len(times) != len(d.Bundle().Plan.Step(program.Decode).Dispatches) || slices.Max(times) == 0 {
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
