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

const goldenFile = "testdata/golden.txt"

// goldenFunctions are the functions by their names in the golden file.
func goldenFunctions() map[string]func(float64) float64 {
	m := map[string]func(float64) float64{}
	for _, f := range functions {
		m[strings.ReplaceAll(f.name, " ", "-")] = f.f
	}
	for _, base := range []float64{1e4, 16e4, 1e6, 1e7} {
		m[fmt.Sprint("Pow-", base)] = func(y float64) float64 { return Pow(base, y) }
	}
	return m
}

// writeGolden writes a line per function and argument: name, argument's bits, result's bits.
func writeGolden() error {
	rng := rand.New(rand.NewPCG(8, 9))
	var b bytes.Buffer
	line := func(name string, x float64) {
		fmt.Fprintf(&b, "%s %016x %016x\n", name, math.Float64bits(x), math.Float64bits(goldenFunctions()[name](x)))
	}
	for _, f := range functions {
		for _, x := range append(arguments(rng, f, 40, f.domain), edges(f)[:30]...) {
			line(strings.ReplaceAll(f.name, " ", "-"), x)
		}
	}
	for _, base := range []float64{1e4, 16e4, 1e6, 1e7} {
		for i := range 32 {
			line(fmt.Sprint("Pow-", base), -float64(i)/32)
		}
	}
	return os.WriteFile(goldenFile, b.Bytes(), 0o644)
}

// TestGolden compares results bit for bit with a file written on amd64, so that a run elsewhere shows
// that the machine does not matter.
func TestGolden(t *testing.T) {
	if *update {
		if err := writeGolden(); err != nil {
			t.Fatal(err)
		}
		return
	}
	raw, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	fs, seen := goldenFunctions(), map[string]bool{}
	for n, l := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		var name string
		var x, want uint64
		if _, err := fmt.Sscanf(l, "%s %x %x", &name, &x, &want); err != nil || fs[name] == nil {
			t.Fatalf("%s:%d: %q: %v", goldenFile, n+1, l, err)
		}
		seen[name] = true
		if got := math.Float64bits(fs[name](math.Float64frombits(x))); got != want {
			t.Errorf("%s(%016x) = %016x, want %016x", name, x, got, want)
		}
	}
	if len(seen) != len(fs) {
		t.Errorf("%d functions in %s, want %d", len(seen), goldenFile, len(fs))
	}
}
