package num

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// goldenTable evaluates every function at fixed random and special arguments, one line each:
// function, argument's bits, result's bits.
func goldenTable() []byte {
	rng := rand.New(rand.NewPCG(8, 9))
	var b bytes.Buffer
	for _, f := range functions {
		for _, x := range append(arguments(rng, f, 40, f.domain), edges(f)[:30]...) {
			fmt.Fprintf(&b, "%s %016x %016x\n", strings.ReplaceAll(f.name, " ", "-"), math.Float64bits(x), math.Float64bits(f.f(x)))
		}
	}
	for _, base := range []float64{1e4, 16e4, 1e6, 1e7} {
		for i := range 32 {
			y := -float64(2*i) / 64
			fmt.Fprintf(&b, "Pow-%v %016x %016x\n", base, math.Float64bits(y), math.Float64bits(Pow(base, y)))
		}
	}
	return b.Bytes()
}

// TestGolden compares results bit for bit with a file written on amd64, so that a run elsewhere shows
// that the machine does not matter.
func TestGolden(t *testing.T) {
	const path = "testdata/golden.txt"
	got := goldenTable()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w, g := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	if len(w) != len(g) {
		t.Fatalf("%d lines, want %d", len(g), len(w))
	}
	for i := range w {
		if w[i] != g[i] {
			t.Errorf("line %d: %s, want %s", i+1, g[i], w[i])
		}
	}
}
