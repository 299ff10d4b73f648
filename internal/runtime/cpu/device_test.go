package cpu

import (
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/agreement"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/passes"
)

// open opens the device for a proof. Kernels are kept between runs of the
// tests, where the user's cache folder can be written.
func open(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(string, []byte)) device.Planned {
	t.Helper()
	d, err := Open(b, ck, Options{LLVM: openLLVM(t), Cache: jit.UserCache(), Poison: true, Observe: observe})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// skipIfShort: beside the evaluator, whose instrumented code takes minutes, there
// is nothing here that the soak does not do with more threads.
func skipIfShort(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a proof against the evaluator")
	}
}

// TestGoldens runs the three prompts of every fixture; of other layouts of the
// same weights, in SMELT_SHARED, the short ones.
func TestGoldens(t *testing.T) {
	skipIfShort(t)
	for _, dir := range agreement.Fixtures(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			prompts := []string{"p0", "p1", "p2"}
			if !strings.HasPrefix(dir, agreement.Fixture("")) {
				prompts = prompts[:2]
			}
			agreement.Goldens(t, dir, prompts, open)
		})
	}
}

// TestFormats does the same with quantised caches.
func TestFormats(t *testing.T) {
	skipIfShort(t)
	for _, f := range []passes.Formats{agreement.Trained, agreement.BFloat16} {
		t.Run(f.Rows, func(t *testing.T) {
			agreement.Mixed(t, agreement.Fixture("b-official-fp8fp4"), f, open)
		})
	}
}

// TestEdges goes through the lengths at which blocks and lists end.
func TestEdges(t *testing.T) {
	skipIfShort(t)
	for _, f := range []passes.Formats{agreement.Float32, agreement.Trained} {
		t.Run(f.Rows, func(t *testing.T) {
			agreement.Edges(t, agreement.Fixture("a-bf16"), f, agreement.LengthEdges, open)
		})
	}
}

// TestCompanions: a row's logits are the same bits alone and beside others.
func TestCompanions(t *testing.T) {
	skipIfShort(t)
	agreement.Companions(t, agreement.Fixture("c-mlx-4bit-stacked"), []int32{2, 3, 5, 9, 16}, open)
}

// TestChanged: of pages that are gone, package fault has the tests.
func TestChanged(t *testing.T) { agreement.Changed(t, open) }
