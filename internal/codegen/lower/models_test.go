package lower

import (
	"testing"

	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// TestModels lowers every region of the fixtures for both kinds of steps and
// prints the kernels.
func TestModels(t *testing.T) {
	t.Parallel()
	all := []string{"a-bf16", "a-mlx-4bit-stacked", "a-mlx-sanitized", "b-official-fp8fp4", "c-mlx-4bit-stacked"}
	for _, name := range sample.Of(t, all, unlessShort(2, 1)) {
		t.Run(name, func(t *testing.T) {
			m, err := models.Open("../../models/deepseekv4/testdata/fixtures/"+name, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			lowerAll(t, m, passes.Formats{Rows: "f32", Keys: "f32"}, target.GPU)
			for _, machine := range targets {
				lowerAll(t, m, passes.Formats{Rows: "fp8", Keys: "fp4"}, machine)
			}
		})
	}
}

func lowerAll(t *testing.T, m *models.Model, f passes.Formats, machine target.Target) {
	t.Helper()
	r, err := passes.Run(m.Graph, passes.Options{Formats: f})
	if err != nil {
		t.Fatal(err)
	}
	params, err := storage.Bound(m.Checkpoint, m.Binding, m.Graph)
	if err != nil {
		t.Fatal(err)
	}
	for phase, rows := range map[program.Phase]int{program.Decode: program.MaxDecodeRows, program.Prefill: 64} {
		step := program.NewStep(r.Module, rows)
		for _, region := range r.Module.Regions {
			in := &Input{Module: r.Module, Region: region, Phase: phase, Params: params, Caches: caches(t, r.Module), Step: step, Target: machine}
			launches, err := Lower(in)
			if err != nil {
				t.Error(err)
				continue
			}
			for _, l := range launches {
				if len(l.Args) != len(l.Kernel.Params) {
					t.Errorf("%s: %d arguments for %d parameters", l.Kernel.Name, len(l.Args), len(l.Kernel.Params))
				}
				if s := l.Kernel.Schedule; s.Threads > machine.MaxThreads {
					t.Errorf("%s: %d threads, the target has %d", l.Kernel.Name, s.Threads, machine.MaxThreads)
				}
				if machine == target.GPU {
					if _, err := msl.Print(l.Kernel); err != nil {
						t.Error(err)
					}
				}
			}
		}
	}
}

func caches(t *testing.T, m *ir.Module) map[string]*program.Cache {
	t.Helper()
	out := map[string]*program.Cache{}
	for _, s := range m.States {
		format, err := encoding.ParseRow(s.Stored)
		if err != nil {
			t.Fatal(err)
		}
		width, _ := s.Row.Shape[0].Value()
		row, err := format.Layout(int(width))
		if err != nil {
			t.Fatal(err)
		}
		_, ring := s.Keep.Value()
		out[s.Name] = &program.Cache{State: s, Row: row, Capacity: 512, Ring: ring, Slots: 2}
	}
	return out
}
