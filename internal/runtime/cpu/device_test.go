package cpu

import (
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
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
	for _, dir := range devicetest.Fixtures(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			prompts := []string{"p0", "p1", "p2"}
			if !strings.HasPrefix(dir, devicetest.Fixture("")) {
				prompts = prompts[:2]
			}
			devicetest.Goldens(t, dir, prompts, open)
		})
	}
}

// TestFormats does the same with quantised caches.
func TestFormats(t *testing.T) {
	skipIfShort(t)
	for _, f := range []passes.Formats{devicetest.Trained, devicetest.BFloat16} {
		t.Run(f.Rows, func(t *testing.T) {
			devicetest.Mixed(t, devicetest.Fixture("b-official-fp8fp4"), f, open)
		})
	}
}

// TestEdges goes through the lengths at which blocks and lists end.
func TestEdges(t *testing.T) {
	skipIfShort(t)
	for _, f := range []passes.Formats{devicetest.Float32, devicetest.Trained} {
		t.Run(f.Rows, func(t *testing.T) {
			devicetest.Edges(t, devicetest.Fixture("a-bf16"), f, devicetest.LengthEdges, open)
		})
	}
}

// TestCompanions: a row's logits are the same bits alone and beside others.
func TestCompanions(t *testing.T) {
	skipIfShort(t)
	devicetest.Companions(t, devicetest.Fixture("c-mlx-4bit-stacked"), []int32{2, 3, 5, 9, 16}, 32, open)
}

// TestRings: prompts that are cut, take turns, go on after decoding and are left.
func TestRings(t *testing.T) {
	skipIfShort(t)
	devicetest.Rings(t, devicetest.Fixture("a-bf16"), 330, 200, open)
}

// TestChanged: of pages that are gone, package fault has the tests.
func TestChanged(t *testing.T) { devicetest.Changed(t, open) }
