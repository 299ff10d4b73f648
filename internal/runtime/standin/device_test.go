package standin

import (
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
)

var _ device.Keeper = (*Device)(nil)

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

// scenarios are those that package cpu runs with the same families of kernels, by way of the
// emitted Metal text.
var scenarios = []struct {
	name string
	run  func(t *testing.T)
}{
	{"formats", func(t *testing.T) { // a longer prompt with quantised caches, with sanitizers
		devicetest.Mixed(t, devicetest.Fixture("b-official-fp8fp4"), devicetest.Trained, open(Options{Sanitize: true, Quick: true}))
	}},
	{"edges", func(t *testing.T) { // the shorter lengths
		devicetest.Edges(t, devicetest.Fixture("a-bf16"), devicetest.Trained, devicetest.LengthEdges[:2], open(Options{Quick: true}))
	}},
	{"companions", func(t *testing.T) { // a row's logits are the same bits alone and beside others
		devicetest.Companions(t, devicetest.Fixture("c-mlx-4bit-stacked"), []int32{2, 5}, 32, open(Options{SameOrder: true, Quick: true}))
	}},
	{"rings", func(t *testing.T) { // prompts that are cut, take turns, go on after decoding and are left
		devicetest.Rings(t, devicetest.Fixture("a-bf16"), 36, 8, open(Options{SameOrder: true, Quick: true}))
	}},
	{"ahead", func(t *testing.T) { // tokens that were picked before; what is taken back leaves no trace
		room := func(*bundle.Bundle, ...admission.Part) (int64, error) { return devicetest.KeptRoom, nil }
		devicetest.Ahead(t, devicetest.Fixture("b-official-fp8fp4"), 3, 6, open(Options{SameOrder: true, Quick: true, Admit: room}))
	}},
	{"changed", func(t *testing.T) { // the process that runs kernels dies of what is gone from a file, and the error names the file
		devicetest.Changed(t, open(Options{Quick: true}), 8, 0)
	}},
	{"sampled", func(t *testing.T) { // tokens that the kernel's text picks are those the host picks
		devicetest.Sampled(t, devicetest.Fixture("a-bf16"), open(Options{SameOrder: true}))
	}},
}

// TestScenarios runs drawn ones: clang takes longest of all that tests do.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: package cpu runs the same families of kernels")
	}
	for _, s := range sample.Of(t, scenarios, 4) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t)
		})
	}
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
