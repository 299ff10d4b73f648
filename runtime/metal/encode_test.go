//go:build !race

package metal

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"smelt/codegen/bundle"
	"smelt/codegen/lower"
	"smelt/ir"
	"smelt/runtime/metal/fake"
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
	b, ck := model(t, dir, bundle.Options{Lean: true, Context: 4096})
	g := newGPU(t, fake.Options{Residency: true, WorkingSet: 1 << 40, MaxBuffer: 1 << 40})
	d, err := g.open(b, ck, Options{})
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
		if d.slots.Length(0) == 4096 {
			d.Reset(0)
		}
		one[0].Position = int32(d.slots.Length(0))
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
	b.ReportMetric(float64(d.b.Plan.Step(lower.Decode).CommandBuffers()), "commandbuffers/op")
}

// TestNoAllocation: a step allocates nothing. The two allocations allowed are the
// fake's, of the command buffer and its encoder.
func TestNoAllocation(t *testing.T) {
	_, d := device(t, fake.Options{Residency: true}, Options{})
	if err := steps(d, 1); err != nil {
		t.Fatal(err)
	}
	one, first, tokens, position := []ir.Row{{Token: 5}}, []int{0}, make([]int32, 1), int32(d.slots.Length(0))
	allocs := testing.AllocsPerRun(100, func() {
		one[0].Position = position
		position++
		if err := d.SampleDecode(one, first, greedy, tokens); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 2 {
		t.Errorf("%v allocations a step", allocs)
	}
}
