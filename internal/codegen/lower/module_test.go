package lower

import (
	"encoding/binary"
	"math"
	"os"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// modelTest is a fixture with memory for the kernels of both kinds of steps.
type modelTest struct {
	m       *models.Model
	module  *ir.Module
	inputs  [2]*Input // by kind
	files   []byte    // the checkpoint's, each from an aligned byte on
	bases   []int64
	mem     *memory
	machine *eval.Machine[float32]
}

func newModelTest(t *testing.T, name string, machine target.Target) *modelTest {
	t.Helper()
	m, err := models.Open("../../models/deepseekv4/testdata/fixtures/"+name, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	r, err := passes.Run(m.Graph, passes.Options{Formats: passes.Formats{Rows: "f32", Keys: "f32"}})
	if err != nil {
		t.Fatal(err)
	}
	x := &modelTest{m: m, module: r.Module}
	params, err := storage.Bound(m.Checkpoint, m.Binding, m.Graph)
	if err != nil {
		t.Fatal(err)
	}
	for phase, rows := range map[program.Phase]int{program.Decode: program.MaxDecodeRows, program.Prefill: 64} {
		x.inputs[phase] = &Input{Module: r.Module, Phase: phase, Params: params, Caches: caches(t, r.Module), Step: program.NewStep(r.Module, rows), Target: machine}
	}
	for _, f := range m.Checkpoint.Files {
		for len(x.files)%256 != 0 {
			x.files = append(x.files, 0)
		}
		x.bases = append(x.bases, int64(len(x.files)))
		data, err := os.ReadFile(f.Path())
		if err != nil {
			t.Fatal(err)
		}
		x.files = append(x.files, data...)
	}
	x.files = append(x.files, make([]byte, 16)...) // the rest of the last word
	x.mem = newMemory(x.inputs[program.Decode], nil)
	if x.machine, err = eval.New[float32](r.Module, m.Weights); err != nil {
		t.Fatal(err)
	}
	return x
}

// bind makes a launch's weights visible, from their address on.
func (x *modelTest) bind(l program.Launch) {
	for _, a := range l.Args {
		if a.Weight == nil {
			continue
		}
		at := weightPlane{a.Weight.Param, a.Weight.Role}
		var first int64 = math.MaxInt64
		var starts []int64
		for _, p := range x.mem.in.Params[a.Weight.Param].Pieces {
			e := p.Plane(a.Weight.Role)
			starts = append(starts, x.bases[e.File]+e.Offset)
			first = min(first, starts[len(starts)-1])
		}
		first -= first % int64(a.Weight.Align)
		if !a.Weight.Table {
			x.mem.weights[at] = x.files[first:]
			continue
		}
		x.mem.tables[at] = nil
		for _, s := range starts {
			x.mem.tables[at] = binary.LittleEndian.AppendUint64(x.mem.tables[at], uint64(s-first))
		}
	}
}

// step runs rows, all of whose logits are wanted, and compares them with the
// evaluator's. Sums are float32 on both sides, in another order.
func (x *modelTest) step(t *testing.T, phase program.Phase, rows []ir.Row) {
	t.Helper()
	x.mem.in, x.mem.rows, x.mem.wanted = x.inputs[phase], rows, nil
	wanted := make([]int, len(rows))
	for i := range rows {
		wanted[i] = i
		x.mem.wanted = append(x.mem.wanted, int32(i))
	}
	clear(x.mem.values)
	for _, region := range x.module.Regions {
		in := *x.inputs[phase]
		in.Region = region
		launches, err := Lower(&in)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range launches {
			x.bind(l)
			x.mem.run(t, []program.Launch{l})
		}
	}
	want, err := x.machine.Step(rows, wanted)
	if err != nil {
		t.Fatal(err)
	}
	got := floats(x.mem.values[x.module.Results[0]])
	for i, w := range want[0].Dense() {
		if !(math.Abs(float64(got[i]-w)) <= 5e-4) {
			t.Fatalf("%s, %s, rows %v: logit %d is %v, want %v", x.inputs[phase].Target.Name, phase, rows, i, got[i], w)
		}
	}
}

// TestModelOnCPU runs whole fixtures as the CPU would: every family in turn,
// decode and prefill, rows of two sequences together. (The stand-in for Metal
// does so with the text of its kernels.)
func TestModelOnCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: all kernels of two models in the interpreter")
	}
	t.Parallel()
	for name, prefill := range map[string]int{"a-bf16": 18, "b-official-fp8fp4": 3} {
		t.Run(name, func(t *testing.T) {
			x := newModelTest(t, name, target.CPU8)
			row := func(slot, position int) ir.Row {
				return ir.Row{Token: int32((slot*101 + position*37 + 11) % x.m.VocabSize), Position: int32(position), Slot: int32(slot)}
			}
			var prompt []ir.Row
			for p := range prefill {
				prompt = append(prompt, row(0, p))
			}
			x.step(t, program.Prefill, prompt)
			x.step(t, program.Decode, []ir.Row{row(0, prefill), row(1, 0)})
			// The first row's token was picked by a step before, the second's is given.
			follow := []ir.Row{row(0, prefill+1), row(1, 1)}
			picked := make([]int32, program.TokenSets*program.MaxSampled)
			for i := range picked {
				picked[i] = -1
			}
			picked[program.MaxSampled+3] = follow[0].Token
			x.mem.sources = []int32{program.MaxSampled + 3, -1}
			x.mem.scratch[x.inputs[program.Decode].Step.Tokens] = intBytes(picked)
			x.step(t, program.Decode, follow)
		})
	}
}
