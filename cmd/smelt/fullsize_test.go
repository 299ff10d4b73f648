package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"smelt.example/smelt/codegen/bundle"
)

// compileFlash compiles V4-Flash of full size, as sparse files, for a million tokens.
func compileFlash(t *testing.T, layout ...string) string {
	t.Helper()
	shared := os.Getenv("SMELT_SHARED")
	python, err := exec.LookPath("python3")
	if shared == "" || err != nil {
		t.Skip("SMELT_SHARED is unset, or there is no python3: full-size checkpoints did not run")
	}
	dir := t.TempDir()
	args := append([]string{filepath.Join(shared, "tools/fullsize.py"), "flash", filepath.Join(dir, "flash")}, layout...)
	if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	bundle := filepath.Join(dir, "bundle")
	printed(t, "compile", filepath.Join(dir, "flash"), "-o", bundle, "--context", "1048576")
	return bundle
}

// printed is what a command that ends well prints; it may say on standard error how far
// it is.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	r := smelt(t, "", args...)
	if r.status != 0 {
		t.Fatalf("smelt %q: status %d, %s", args, r.status, r.errors)
	}
	return r.out
}

// TestFiguresOfFlash compares what README.md and docs/compiler.md say of V4-Flash in both
// layouts with what smelt itself computes, and looks at the size of their kernels' text.
func TestFiguresOfFlash(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles two full-size checkpoints")
	}
	official, mlx := figuresOf(t, compileFlash(t)), figuresOf(t, compileFlash(t, "--mlx"))
	if !maps.Equal(official.dispatches, mlx.dispatches) || official.caches != mlx.caches {
		t.Errorf("the layouts differ in more than README.md says: %+v, %+v", official, mlx)
	}
	for page, says := range map[string][]string{
		"../../README.md": {
			fmt.Sprintf("A decode token of V4-Flash is %d dispatches, %.1f a layer", official.dispatches[4096], float64(official.dispatches[4096]-8)/43),
			fmt.Sprintf("and %d above 16 k of context", official.dispatches[1048576]),
			fmt.Sprintf("it reads and writes %.2f times the bytes it cannot do without at 4 k of context and %.2f times at a million (mlx-community's 4 bits: %.2f and %.2f)",
				official.ratio[4096], official.ratio[1048576], mlx.ratio[4096], mlx.ratio[1048576]),
			fmt.Sprintf("A million tokens of context take %.1f GB of cache", float64(official.caches)/1e9),
		},
		"../../docs/compiler.md": {
			fmt.Sprintf("| caches at 1 M, any chunk | %.2f GB | %.2f GB |", float64(official.caches)/1e9, float64(mlx.caches)/1e9),
			fmt.Sprintf("| dispatches a token to 16 k, above | %d, %d | %d, %d |", official.dispatches[4096], official.dispatches[65536], mlx.dispatches[4096], mlx.dispatches[65536]),
			fmt.Sprintf("| barriers, command buffers | %d, %d | %d, %d |", official.barriers, official.buffers, mlx.barriers, mlx.buffers),
			fmt.Sprintf("| GB read and written at 1 k, 4 k | %.2f, %.2f | %.2f, %.2f |", official.moved[1024], official.moved[4096], mlx.moved[1024], mlx.moved[4096]),
			fmt.Sprintf("| at 64 k, 1 M | %.2f, %.2f | %.2f, %.2f |", official.moved[65536], official.moved[1048576], mlx.moved[65536], mlx.moved[1048576]),
			fmt.Sprintf("| against the minimum at 1 k, 4 k | %.3f, %.3f | %.3f, %.3f |", official.ratio[1024], official.ratio[4096], mlx.ratio[1024], mlx.ratio[4096]),
			fmt.Sprintf("| at 64 k, 1 M | %.3f, %.3f | %.3f, %.3f |", official.ratio[65536], official.ratio[1048576], mlx.ratio[65536], mlx.ratio[1048576]),
		},
	} {
		text, err := os.ReadFile(page)
		must(t, err)
		joined := strings.Join(strings.Fields(string(text)), " ")
		for _, want := range says {
			if !strings.Contains(joined, want) {
				t.Errorf("%s should say: %s", filepath.Base(page), want)
			}
		}
	}
}

// flashFigures are what the pages say of a decode step.
type flashFigures struct {
	dispatches        map[int]int // by context, of those that have threadgroups
	barriers, buffers int
	caches            int64
	moved, ratio      map[int]float64 // by context; GB, and times the minimum
}

func figuresOf(t *testing.T, dir string) flashFigures {
	t.Helper()
	b, err := bundle.Read(dir)
	must(t, err)
	f := flashFigures{dispatches: map[int]int{}, moved: map[int]float64{}, ratio: map[int]float64{}, caches: b.Memory().Caches}
	for _, context := range []int{1024, 4096, 65536, 1048576} {
		r, err := costOf(b, inspectOptions{step: "decode", context: context})
		must(t, err)
		for _, d := range r.Dispatches {
			if d.Grid[0]*d.Grid[1]*d.Grid[2] > 0 {
				f.dispatches[context]++
			}
		}
		f.barriers, f.buffers = r.Barriers, r.CommandBuffers
		f.moved[context], f.ratio[context] = float64(r.Total.Bytes)/1e9, r.Ratio
	}
	checkWidth(t, b)
	checkTextSize(t, b)
	checkLaunches(t, b)
	return f
}

// checkWidth: no table of a model of 43 layers is wider than lineWidth.
func checkWidth(t *testing.T, b *bundle.Bundle) {
	t.Helper()
	for name, o := range map[string]inspectOptions{
		"--plan": {plan: true}, "--cost": {cost: true}, "--cost --step prefill": {cost: true, step: "prefill"}, "--explain": {explain: true},
	} {
		var out, notes bytes.Buffer
		must(t, inspectBundleTo(stdio{out: &out, err: &notes}, &out, b, o, style{}))
		if strings.Count(out.String(), "\n") < 500 {
			t.Errorf("%s has few lines: %.400s", name, out.String())
		}
		for n, line := range strings.Split(out.String(), "\n") {
			if width := utf8.RuneCountInString(line); width > lineWidth {
				t.Errorf("%s, line %d has %d columns: %s", name, n+1, width, line)
				break
			}
		}
	}
}
