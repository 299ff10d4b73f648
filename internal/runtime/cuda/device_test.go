package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/passes"
)

// proved are the targets whose text is proved: cards' and Apple's, or the one that
// SMELT_CUDA_TARGET names.
func proved(t testing.TB) []target.Target {
	t.Helper()
	name := os.Getenv("SMELT_CUDA_TARGET")
	if name == "" {
		return []target.Target{target.GPU, target.CUDA}
	}
	to, err := target.Named(name)
	if err != nil || to.Language != target.Metal {
		t.Fatalf("SMELT_CUDA_TARGET=%s: no target of Metal's text: %v", name, err)
	}
	return []target.Target{to}
}

// open opens the device for a proof, or skips where there is no card: everything here
// is run by scripts/cuda on a machine that has one, once for each target. Where none is
// named it is the cards' own, the last.
func open(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(string, []byte)) device.Planned {
	t.Helper()
	return opened(t, b, ck, Options{Poison: true, Observe: observe})
}

func opened(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) *Device {
	t.Helper()
	targets := proved(t)
	b, err := b.For(targets[len(targets)-1])
	if err != nil {
		t.Fatal(err)
	}
	o.Cache = codecache.User(CacheName)
	d, err := Open(b, ck, o)
	if errors.Is(err, ErrNotHere) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// needCard skips before a model is compiled for nothing.
func needCard(t *testing.T) {
	t.Helper()
	if err := Here(); err != nil {
		t.Skip(err)
	}
}

// blind opens it without showing values, so that decode steps are graphs.
func blind(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, _ func(string, []byte)) device.Planned {
	return open(t, b, ck, nil)
}

// TestGoldens runs the three prompts of every fixture.
func TestGoldens(t *testing.T) {
	needCard(t)
	for _, dir := range devicetest.Fixtures(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) { devicetest.Goldens(t, dir, []string{"p0", "p1", "p2"}, open) })
	}
}

// TestFormats does the same with quantised caches.
func TestFormats(t *testing.T) {
	needCard(t)
	for _, f := range []passes.Formats{devicetest.Trained, devicetest.BFloat16} {
		for _, name := range []string{"a-bf16", "b-official-fp8fp4", "c-mlx-4bit-stacked"} {
			t.Run(f.Rows+"/"+name, func(t *testing.T) { devicetest.Mixed(t, devicetest.Fixture(name), f, open) })
		}
	}
}

// TestEdges goes through the lengths at which blocks and lists end.
func TestEdges(t *testing.T) {
	needCard(t)
	for _, f := range []passes.Formats{devicetest.Float32, devicetest.Trained} {
		t.Run(f.Rows, func(t *testing.T) {
			devicetest.Edges(t, devicetest.Fixture("a-bf16"), f, devicetest.LengthEdges, open)
		})
	}
}

// TestCompanions: a row's logits are the same bits alone and beside others, in graphs.
func TestCompanions(t *testing.T) {
	needCard(t)
	for _, name := range []string{"a-bf16", "b-official-fp8fp4", "c-mlx-4bit-stacked"} {
		t.Run(name, func(t *testing.T) {
			devicetest.Companions(t, devicetest.Fixture(name), []int32{2, 3, 5, 9, 16}, 4, blind)
		})
	}
}

// TestRings: prompts that are cut, take turns, go on after decoding and are left.
func TestRings(t *testing.T) {
	needCard(t)
	devicetest.Rings(t, devicetest.Fixture("a-bf16"), 330, 400, blind)
}

// TestSoak: 2,000 steps of texts that come and go.
func TestSoak(t *testing.T) {
	needCard(t)
	devicetest.Soak(t, devicetest.Fixture("b-official-fp8fp4"), 2000, blind)
}

// TestSanitized is short enough for compute-sanitizer: prompts in prefill and decode
// steps, and rows beside others.
func TestSanitized(t *testing.T) {
	needCard(t)
	for _, f := range []passes.Formats{devicetest.Float32, devicetest.Trained} {
		for _, name := range []string{"a-bf16", "b-official-fp8fp4", "c-mlx-4bit-stacked"} {
			t.Run(f.Rows+"/"+name, func(t *testing.T) { devicetest.Mixed(t, devicetest.Fixture(name), f, open) })
		}
	}
}

// TestSampled: tokens that the card picks and scores are those that the host picks, and
// scores as it has them.
func TestSampled(t *testing.T) {
	needCard(t)
	for _, name := range []string{"a-bf16", "b-official-fp8fp4", "c-mlx-4bit-stacked"} {
		t.Run(name, func(t *testing.T) { devicetest.Sampled(t, devicetest.Fixture(name), blind) })
	}
}

// TestWide: layers of V4-Flash of each kind at full width, against the evaluator.
func TestWide(t *testing.T) {
	needCard(t)
	for name, layer := range devicetest.WideLayers {
		t.Run(name, func(t *testing.T) { devicetest.Wide(t, layer, 7, true, open) })
	}
}

// TestWideGraphs: the same in graphs, without the evaluator, which lets blocks of 128 close.
func TestWideGraphs(t *testing.T) {
	needCard(t)
	for name, layer := range devicetest.WideLayers {
		t.Run(name, func(t *testing.T) { devicetest.Wide(t, layer, 127, false, blind) })
	}
}

// TestWideSanitized is that for compute-sanitizer, kernel by kernel.
func TestWideSanitized(t *testing.T) {
	needCard(t)
	for name, layer := range devicetest.WideLayers {
		t.Run(name, func(t *testing.T) { devicetest.Wide(t, layer, 127, false, withoutGraphs) })
	}
}

// TestWidePrompt is a prompt for racecheck, which takes a thousand times as long over prefill
// kernels of that width.
func TestWidePrompt(t *testing.T) {
	needCard(t)
	for name, layer := range devicetest.WideLayers {
		t.Run(name, func(t *testing.T) { devicetest.WidePrompt(t, layer, withoutGraphs) })
	}
}

// withoutGraphs opens a device that starts its kernels one by one.
func withoutGraphs(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, _ func(string, []byte)) device.Planned {
	d := open(t, b, ck, nil)
	if err := d.(device.Profiled).Profile(profile.Warm); err != nil {
		t.Fatal(err)
	}
	return d
}

// BenchmarkMarked is a decode step of a model of three layers in which each kernel
// leaves its number for messages about faults, and one in which none does.
func BenchmarkMarked(b *testing.B) {
	if err := Here(); err != nil {
		b.Skip(err)
	}
	for _, marked := range []bool{true, false, true, false} {
		b.Run(fmt.Sprintf("marked=%v", marked), func(b *testing.B) { benchmarkStep(b, marked) })
	}
}

func benchmarkStep(b *testing.B, marked bool) {
	m, err := models.Open(story, models.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	to := proved(b)
	made, _, err := bundle.Compile(bundle.SourceOf(m), bundle.Options{Lean: true, Target: to[len(to)-1], Context: 512})
	if err != nil {
		b.Fatal(err)
	}
	d, err := Open(made, m.Checkpoint, Options{Cache: codecache.User(CacheName), unmarked: !marked})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	}()
	var total time.Duration
	for i := range b.N {
		if i%256 == 0 {
			d.Reset(0)
		}
		if _, err := d.Decode([]ir.Row{{Token: 5, Position: int32(d.Length(0))}}, nil); err != nil {
			b.Fatal(err)
		}
		took, err := d.StepTime()
		if err != nil {
			b.Fatal(err)
		}
		total += took
	}
	b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "card-ns/step")
	b.ReportMetric(float64(len(made.Plan.Step(program.Decode).Dispatches)), "dispatches")
}

func TestChanged(t *testing.T) {
	needCard(t)
	devicetest.Changed(t, open)
}

// TestFits: what a card has no room for is refused with the numbers and what to do.
func TestFits(t *testing.T) {
	m, err := models.Open(devicetest.Fixture("b-official-fp8fp4"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, _, err := bundle.Compile(bundle.SourceOf(m), bundle.Options{Lean: true})
	if err != nil {
		t.Fatal(err)
	}
	need := b.Memory().Weights + b.Memory().Caches + b.Memory().Arena + b.Memory().Steps + driverBytes
	if _, err := fits(b, 0, need, "Card", 80e9); err != nil {
		t.Errorf("with just enough: %v", err)
	}
	if kept, err := fits(b, admission.Auto, need+4<<20, "Card", 80e9); err != nil || kept != 1<<20 {
		t.Errorf("with 4 MiB to spare %d bytes may be kept, %v", kept, err)
	}
	for _, test := range []struct {
		free int64
		want []string
	}{
		{need - 1, []string{"Card, of 80.0 GB, has free at most", "weights", "the driver", "Context"}},
		{driverBytes, []string{"fewer bits, or a card with more memory"}},
	} {
		_, err := fits(b, 0, test.free, "Card", 80e9)
		var full *admission.Error
		if !errors.As(err, &full) || full.Need != need || full.Have != test.free {
			t.Fatalf("%+v, want one of %d and %d bytes", err, need, test.free)
		}
		for _, w := range test.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v: lacks %q", err, w)
			}
		}
	}
}

func TestJoined(t *testing.T) {
	spans := []span{{30, 40}, {0, 10}, {8, 12}, {13, 14}, {40, 41}}
	if got, want := joined(slices.Clone(spans), 0), []span{{0, 12}, {13, 14}, {30, 41}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := joined(slices.Clone(spans), 1), []span{{0, 14}, {30, 41}}; !slices.Equal(got, want) {
		t.Errorf("with gaps of 1: %v, want %v", got, want)
	}
}

// TestNotHere: without a driver the error says so, and what was tried.
func TestNotHere(t *testing.T) {
	err := Here()
	if err == nil {
		t.Skip("a card is here")
	}
	if !errors.Is(err, ErrNotHere) || !strings.Contains(err.Error(), "libcuda.so.1") {
		t.Errorf("%v", err)
	}
}
