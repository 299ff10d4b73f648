package bench

import (
	"bytes"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smelt.example/smelt/internal/codegen/roofline"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", name, d)
	}
}

var (
	testMachine = Machine{System: "linux/amd64", Processor: "Example <CPU> & more", Device: "cpu, 2 threads"}
	testModel   = Model{Name: "tiny", Layout: "official names", Weights: 1_500_000_000, Cache: "fp8, keys fp4"}
)

func kernelReport() *KernelReport {
	step := Step{Kind: "decode", Rows: 1, Context: 2048, Repeat: 3, Outside: 0.01, Whole: Spread{0.02, 0.01, 0.03}, OneByOne: Spread{0.025, 0.02, 0.03}}
	step.Machine = roofline.Rates{Read: 20e9, Copy: 15e9, Flops: 100e9}
	for i := range 18 {
		k := Kernel{Name: "kernel_" + string(rune('a'+i)), Dispatches: i + 1, Bytes: 1 << 20, Flops: int64(i) << 22, Share: 1.0 / 18}
		k.Seconds = Spread{1e-3, 9e-4, 2e-3}
		k.Bytes += k.Bytes * int64(i) * 5 / 4 // the last ones are faster than the machine, of which one by its caches
		if i == 17 {
			k.cached = k.Bytes
		}
		k.rates(step.Machine)
		step.Kernels = append(step.Kernels, k)
	}
	return &KernelReport{Machine: testMachine, Model: testModel, Steps: []Step{step}}
}

func runReport() *RunReport {
	r := &RunReport{Machine: testMachine, Model: testModel, Chunk: 512}
	for i, n := range []int{512, 1024, 4096} {
		f := Frontier{Context: n, PrefillTokens: n / 2, PrefillSeconds: 2, TokensPerSecond: float64(n) / 4, CacheBytes: int64(1000 * n)}
		for _, rows := range []int{1, 4} {
			f.Decode = append(f.Decode, Decode{Rows: rows, Tokens: 8, First: 0.2, Step: Spread{0.1, 0.09, 0.2}, TokensPerSecond: float64(10*rows - i), Steady: float64(11*rows - i)})
		}
		r.Frontiers = append(r.Frontiers, f)
	}
	return r
}

func TestCSV(t *testing.T) {
	for name, r := range map[string]interface{ WriteCSV(io.Writer) error }{"kernels.csv": kernelReport(), "run.csv": runReport()} {
		var b bytes.Buffer
		if err := r.WriteCSV(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

// TestSVG: charts are well-formed, say what was measured, and draw inside.
func TestSVG(t *testing.T) {
	for name, c := range map[string]struct {
		report interface{ WriteSVG(io.Writer) error }
		count  map[string]int // of elements
	}{
		"kernels.svg": {kernelReport(), map[string]int{"svg": 1, "rect": 1 + 3 + 2*mostKernels}},
		"run.svg":     {runReport(), map[string]int{"svg": 1, "polyline": 3, "g": 2}},
	} {
		var b bytes.Buffer
		if err := c.report.WriteSVG(&b); err != nil {
			t.Fatal(err)
		}
		count, text := parseSVG(t, name, b.Bytes())
		for element, n := range c.count {
			if count[element] != n {
				t.Errorf("%s: %d elements %s, want %d", name, count[element], element, n)
			}
		}
		for _, want := range []string{"tiny, official names, 1.50 GB", "Example <CPU> & more"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q:\n%s", name, want, text)
			}
		}
		golden(t, name, b.Bytes())
	}
}

// parseSVG counts elements and collects their text.
func parseSVG(t *testing.T, name string, data []byte) (map[string]int, string) {
	t.Helper()
	count, text := map[string]int{}, strings.Builder{}
	for d := xml.NewDecoder(bytes.NewReader(data)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return count, text.String()
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			count[x.Name.Local]++
		case xml.CharData:
			text.Write(x)
		}
	}
}

func TestRoundUp(t *testing.T) {
	for x, want := range map[float64]float64{0: 1, 0.03: 0.04, 1: 1, 3: 4, 41: 50, 79: 80, 81: 100, 1454: 2000} {
		if got := roundUp(x); got < want*(1-1e-12) || got > want*(1+1e-12) {
			t.Errorf("%v: found %v, want %v", x, got, want)
		}
	}
}

func TestSpreadLabels(t *testing.T) {
	lines := []line{{LabelY: 100}, {LabelY: 98}, {LabelY: 200}, {LabelY: 101}}
	spreadLabels(lines)
	for i, want := range []float64{112, 98, 200, 126} {
		if lines[i].LabelY != want {
			t.Errorf("label %d lies at %v, want %v", i, lines[i].LabelY, want)
		}
	}
}
