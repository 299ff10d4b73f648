package bench

import (
	"testing"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
)

// graphed is a fake whose decode steps are graphs of ten nodes, three of which each
// step updates, and which tells what its compiler made.
type graphed struct {
	*fake
	steps int
}

func (g *graphed) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	g.steps++
	return g.fake.Decode(rows, wanted)
}

func (g *graphed) Graphs() device.Graphs {
	return device.Graphs{Steps: g.steps, Made: min(g.steps, 1), Nodes: 10 * g.steps, Updated: 3 * g.steps, Elapsed: time.Duration(g.steps) * time.Microsecond}
}

func (g *graphed) LaunchFloor() (time.Duration, error) { return 500 * time.Microsecond, nil }

func (g *graphed) Code(kernel string) (device.Code, bool) {
	return device.Code{Registers: 64, Spilled: 8}, true
}

// TestGraphs: what a device tells of graphs, launches and code is reported per step, of
// the measured steps alone, and nothing of a device that tells nothing.
func TestGraphs(t *testing.T) {
	f := newFake(t, bundle.Options{Context: 64, Chunk: 16, Slots: 2, Wanted: 2})
	g := &graphed{fake: f}
	tokens := []int32{1, 2, 3}
	r, err := Run(t.Context(), g, RunOptions{Frontiers: []int{8, 16}, Generate: 4, Rows: []int{1, 2}, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range r.Frontiers {
		for _, d := range at.Decode {
			// The only graph was made by the step that warms up.
			if want := (Graphs{Nodes: 10, Updated: 3, Seconds: 1e-6}); d.Graphs == nil || *d.Graphs != want {
				t.Errorf("%d rows at %d: %+v, expected %+v", d.Rows, at.Context, d.Graphs, want)
			}
		}
	}
	k, err := Kernels(t.Context(), g, KernelOptions{Steps: []Shape{{program.Decode, 2, 20}, {program.Prefill, 4, 20}}, Repeat: 1, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	if k.Steps[0].Floor != 500e-6 || k.Steps[1].Floor != 0 {
		t.Errorf("launch floors %v and %v", k.Steps[0].Floor, k.Steps[1].Floor)
	}
	for _, s := range k.Steps {
		for _, x := range s.Kernels {
			if x.Registers != 64 || x.Spilled != 8 || x.Threads == 0 || x.Threadgroups == 0 || x.OfCopy != x.BytesPerSecond/s.Machine.Copy {
				t.Errorf("%s: %+v", s.Kind, x)
			}
		}
		if s.All.Threads != 0 || s.All.Grid() != "" || s.All.OfCopy <= 0 {
			t.Errorf("together: %+v", s.All)
		}
	}
	plain, err := Kernels(t.Context(), f, KernelOptions{Steps: []Shape{{program.Decode, 1, 20}}, Repeat: 1, Tokens: tokens})
	if err != nil || plain.Steps[0].Floor != 0 || plain.Steps[0].Kernels[0].Registers != 0 {
		t.Errorf("of a device that tells nothing: %+v, %v", plain.Steps[0], err)
	}
}
