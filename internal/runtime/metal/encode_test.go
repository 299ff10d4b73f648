//go:build !race

package metal

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/metal/fake"
	"smelt.example/smelt/ir"
)

// flash is a device for the full-size model, whose weights are holes in files.
func flash(t testing.TB) (*gpu, *Device) {
	t.Helper()
	shared := os.Getenv("SMELT_SHARED")
	python, err := exec.LookPath("python3")
	if shared == "" || err != nil {
		t.Skip("needs SMELT_SHARED and python3")
	}
	dir := t.TempDir()
	if out, err := exec.Command(python, filepath.Join(shared, "tools/fullsize.py"), "flash", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m, b, err := compile(dir, bundle.Options{Lean: true, Context: 4096})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	g := newGPU(t, fake.Options{Residency: true, WorkingSet: 1 << 40, MaxBuffer: 1 << 40})
	d, err := g.open(b, m.Checkpoint, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return g, d
}

// BenchmarkEncode is the processor's time for a decode step of Flash, nothing of it
// executed: parameters, grids, the calls (as cheap as the fake's are) and the wait.
func BenchmarkEncode(b *testing.B) {
	g, d := flash(b)
	one, first, tokens := []ir.Row{{Token: 5}}, []int{0}, make([]int32, 1)
	step := func() {
		if d.Length(0) == 4096 {
			d.Reset(0)
		}
		one[0].Position = int32(d.Length(0))
		if err := d.SampleDecode(one, first, greedy, tokens); err != nil {
			b.Fatal(err)
		}
	}
	for range 200 {
		step()
	}
	g.fake.ResetCounts()
	step()
	calls, dispatches := g.fake.TotalCalls(), g.fake.Dispatches()
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(calls), "calls/op")
	b.ReportMetric(float64(dispatches), "dispatches/op")
	b.ReportMetric(float64(d.Bundle().Plan.Step(program.Decode).CommandBuffers()), "commandbuffers/op")
}

// TestNoAllocation: steps allocate nothing, prefill or decode, and neither does
// the fake; also where waits for the end time out. (AllocsPerRun leaves fractions
// away: the fake's list of objects grows now and then.)
func TestNoAllocation(t *testing.T) {
	b, ck := compiledFixture()
	for name, o := range map[string]fake.Options{"macOS 15": {Residency: true}, "macOS 14": {}, "a slow GPU": {Residency: true, Timeouts: 3}} {
		d, err := newGPU(t, o).open(b, ck, Options{})
		if err != nil {
			t.Fatal(err)
		}
		rows, one, first, second, tokens, position := make([]ir.Row, 2), make([]ir.Row, 1), []int{0}, []int{1}, make([]int32, 1), int32(0)
		step := func() {
			for i := range rows {
				rows[i] = ir.Row{Token: 5, Position: position}
				position++
			}
			if err := d.SamplePrefill(rows, second, greedy, tokens); err != nil {
				t.Fatal(err)
			}
			one[0] = ir.Row{Token: 5, Position: position}
			position++
			if err := d.SampleDecode(one, first, greedy, tokens); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 { // until lists are as long as they get
			step()
		}
		if n := testing.AllocsPerRun(70, step); n > 0 {
			t.Errorf("%s: %v allocations in a prefill and a decode step", name, n)
		}
	}
}
