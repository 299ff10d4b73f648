package models_test

import (
	"path/filepath"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/runtime/cpu"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
)

const fixture = "../internal/models/deepseekv4/testdata/fixtures/b-official-fp8fp4"

// prompt is some rows of one sequence, and all of their numbers.
func prompt(vocab int) (rows []ir.Row, all []int) {
	for i := range 9 {
		rows, all = append(rows, ir.Row{Token: int32((i*101 + 7) % vocab), Position: int32(i)}), append(all, i)
	}
	return rows, all
}

// onCPU is every logit of the prompt, computed by the model's kernels.
func onCPU(t *testing.T, m *models.Model) []float32 {
	t.Helper()
	l, err := jit.Open("")
	if err != nil {
		t.Skip(err)
	}
	b, _, err := bundle.Compile(bundle.Source{Name: m.Graph.Name, Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, bundle.Options{Context: 64, Chunk: 16})
	if err != nil {
		t.Fatal(err)
	}
	d, err := cpu.Open(b, m.Checkpoint, cpu.Options{LLVM: l, Cache: jit.UserCache()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	rows, all := prompt(m.VocabSize)
	logits, err := d.Prefill(rows, all)
	if err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), logits...)
}

// inEvaluator is the same, computed by the evaluator.
func inEvaluator(t *testing.T, m *models.Model) []float32 {
	t.Helper()
	d, err := reference.New(m.Graph, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	rows, all := prompt(m.VocabSize)
	logits, err := d.Prefill(rows, all)
	if err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), logits...)
}

// TestContainer runs a checkpoint whose files are of another container: one file
// (trial_test.go) and one row. Kernels and evaluator compute the same bits as from
// the checkpoint that it was made of.
func TestContainer(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs a model")
	}
	opened := func(dir string, o models.Options) *models.Model {
		m, err := models.Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	original := opened(fixture, models.Options{})
	copied := opened(inTrial(t, fixture, 2), models.Options{Containers: []container.Format{format()}})
	if filepath.Ext(copied.Checkpoint.Files[0].Path()) != ".trial" {
		t.Fatalf("opened %s", copied.Checkpoint.Files[0].Path())
	}
	for name, compute := range map[string]func(*testing.T, *models.Model) []float32{"evaluator": inEvaluator, "cpu": onCPU} {
		t.Run(name, func(t *testing.T) {
			want, got := compute(t, original), compute(t, copied)
			if len(want) == 0 || len(got) != len(want) {
				t.Fatalf("%d logits, want %d", len(got), len(want))
			}
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("logit %d of %d: %g, want %g", i, len(want), got[i], want[i])
				}
			}
		})
	}
}
