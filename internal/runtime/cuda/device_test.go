package cuda

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/passes"
)

// open opens the device for a proof, or skips where there is no card: everything here
// is run by scripts/cuda on a machine that has one.
func open(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(string, []byte)) device.Planned {
	t.Helper()
	d, err := Open(b, ck, Options{Cache: codecache.User(CacheName), Poison: true, Observe: observe})
	if errors.Is(err, ErrNotHere) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// blind opens it without showing values, so that decode steps are graphs.
func blind(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, _ func(string, []byte)) device.Planned {
	return open(t, b, ck, nil)
}

// TestGoldens runs the three prompts of every fixture.
func TestGoldens(t *testing.T) {
	for _, dir := range devicetest.Fixtures(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) { devicetest.Goldens(t, dir, []string{"p0", "p1", "p2"}, open) })
	}
}

// TestFormats does the same with quantised caches.
func TestFormats(t *testing.T) {
	for _, f := range []passes.Formats{devicetest.Trained, devicetest.BFloat16} {
		for _, name := range []string{"a-bf16", "b-official-fp8fp4", "c-mlx-4bit-stacked"} {
			t.Run(f.Rows+"/"+name, func(t *testing.T) { devicetest.Mixed(t, devicetest.Fixture(name), f, open) })
		}
	}
}

// TestEdges goes through the lengths at which blocks and lists end.
func TestEdges(t *testing.T) {
	for _, f := range []passes.Formats{devicetest.Float32, devicetest.Trained} {
		t.Run(f.Rows, func(t *testing.T) {
			devicetest.Edges(t, devicetest.Fixture("a-bf16"), f, devicetest.LengthEdges, open)
		})
	}
}

// TestCompanions: a row's logits are the same bits alone and beside others, in graphs.
func TestCompanions(t *testing.T) {
	for _, name := range []string{"a-bf16", "b-official-fp8fp4", "c-mlx-4bit-stacked"} {
		t.Run(name, func(t *testing.T) {
			devicetest.Companions(t, devicetest.Fixture(name), []int32{2, 3, 5, 9, 16}, blind)
		})
	}
}

// TestSoak: 2,000 steps of texts that come and go.
func TestSoak(t *testing.T) {
	devicetest.Soak(t, devicetest.Fixture("b-official-fp8fp4"), 2000, blind)
}

// TestSanitized is short enough for compute-sanitizer: prompts in prefill and decode
// steps, and rows beside others.
func TestSanitized(t *testing.T) {
	for _, f := range []passes.Formats{devicetest.Float32, devicetest.Trained} {
		for _, name := range []string{"a-bf16", "b-official-fp8fp4", "c-mlx-4bit-stacked"} {
			t.Run(f.Rows+"/"+name, func(t *testing.T) { devicetest.Mixed(t, devicetest.Fixture(name), f, open) })
		}
	}
}

func TestChanged(t *testing.T) { devicetest.Changed(t, open) }

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
