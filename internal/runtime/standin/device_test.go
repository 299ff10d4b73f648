package standin

import (
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
)

// open opens the stand-in for a proof.
func open(o Options) devicetest.Open {
	return func(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(string, []byte)) device.Planned {
		t.Helper()
		if _, err := standin.Find(); err != nil {
			t.Skip(err)
		}
		o.Poison, o.Observe = true, observe
		d, err := Open(b, ck, o)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

// inRepository tells the repository's fixtures from others of the same weights.
func inRepository(dir string) bool { return strings.HasPrefix(dir, devicetest.Fixture("")) }

// TestGoldens runs the two shorter prompts of drawn fixtures through the emitted
// Metal kernels; package cpu runs the long ones with the same families.
func TestGoldens(t *testing.T) {
	for _, dir := range sample.Of(t, devicetest.Fixtures(t), drawn(2)) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			devicetest.Goldens(t, dir, []string{"p0", "p1"}, open(Options{Quick: true}))
		})
	}
}

// drawn is so many, but with -short one.
func drawn(n int) int {
	if testing.Short() {
		return 1
	}
	return n
}

// TestFormats runs a longer prompt with quantised caches, with sanitizers.
func TestFormats(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: package cpu runs the same families of kernels")
	}
	t.Parallel()
	devicetest.Mixed(t, devicetest.Fixture("b-official-fp8fp4"), devicetest.Trained, open(Options{Sanitize: true, Quick: true}))
}

// TestEdges: the shorter lengths; package cpu goes through all with the same
// families of kernels.
func TestEdges(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: package cpu runs the same families of kernels")
	}
	t.Parallel()
	devicetest.Edges(t, devicetest.Fixture("a-bf16"), devicetest.Trained, devicetest.LengthEdges[:2], open(Options{Quick: true}))
}

// TestCompanions: a row's logits are the same bits alone and beside others.
func TestCompanions(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: package cpu runs the same families of kernels")
	}
	t.Parallel()
	devicetest.Companions(t, devicetest.Fixture("c-mlx-4bit-stacked"), []int32{2, 5}, 32, open(Options{SameOrder: true, Quick: true}))
}

// TestRings: prompts that are cut, take turns, go on after decoding and are left.
func TestRings(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: package cpu runs the same families of kernels")
	}
	t.Parallel()
	devicetest.Rings(t, devicetest.Fixture("a-bf16"), 36, 8, open(Options{SameOrder: true, Quick: true}))
}

// TestAddressSpaces lets clang look at every kernel of drawn fixtures of the repository
// with real address spaces, without running it.
func TestAddressSpaces(t *testing.T) {
	c, err := standin.Find()
	if err != nil {
		t.Skip(err)
	}
	var dirs []string // others have the same shapes and encodings under other names
	for _, dir := range devicetest.Fixtures(t) {
		if inRepository(dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range sample.Of(t, dirs, 1) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			m, err := models.Open(dir, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			b, _, err := bundle.Compile(bundle.Source{Name: "m", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, bundle.Options{Context: 512})
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range b.Plan.Kernels {
				source, err := b.Text(k.Name)
				if err == nil {
					err = c.Check(k.Name+".metal", source)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestChanged: the process that runs kernels dies of what is gone from a file, and
// the error names the file all the same.
func TestChanged(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: kernels are built for it")
	}
	t.Parallel()
	devicetest.Changed(t, open(Options{Quick: true}), 8, 0)
}
