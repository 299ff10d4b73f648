package passes_test

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/models/deepseekv4"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// settings are the options that models are compiled with here.
var settings = []struct {
	name    string
	formats passes.Formats
}{
	{"as computed", passes.Formats{}},
	{"bf16", passes.Formats{Rows: "bf16", Keys: "bf16"}},
	{"as trained", passes.Formats{Rows: "fp8", Keys: "fp4"}},
}

var trained = passes.Options{Formats: settings[2].formats}

func graphOf(t testing.TB, path string) (*deepseekv4.Config, *ir.Module) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := deepseekv4.ParseConfig(raw, path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := deepseekv4.Graph(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, m
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: nothing there (%v)", pattern, err)
	}
	return paths
}

// TestModels: of every configuration, up to the published sizes, each
// operation is in a region, each region reads as its kind's view, and a layer
// has the regions that its attention asks for.
func TestModels(t *testing.T) {
	paths := append(glob(t, "../internal/models/deepseekv4/testdata/configs/*.json"), "../examples/storyteller/checkpoint/config.json")
	for _, path := range paths {
		for _, s := range settings {
			c, m := graphOf(t, path)
			if full := len(c.Ratios) > 30; full && (testing.Short() || s != settings[len(settings)-1]) {
				continue
			}
			t.Run(strings.TrimSuffix(filepath.Base(path), ".json")+" "+s.name, func(t *testing.T) {
				r, err := passes.Run(m, passes.Options{Formats: s.formats})
				if err != nil {
					t.Fatal(err)
				}
				checkRegions(t, r.Module)
				checkCounts(t, c, r.Module)
			})
		}
	}
}

func checkRegions(t *testing.T, m *ir.Module) {
	t.Helper()
	inside := 0
	for _, r := range m.Regions {
		inside += r.To - r.From
		if _, err := fusion.View(m, r); err != nil {
			t.Error(err)
		}
	}
	if inside != len(m.Nodes) {
		t.Errorf("%d of %d operations are in a region", inside, len(m.Nodes))
	}
}

// checkCounts compares the numbers of regions of each layer, and of the rest,
// with what layers are made of (docs/model.md#residual-streams).
func checkCounts(t *testing.T, c *deepseekv4.Config, m *ir.Module) {
	t.Helper()
	got := map[string]int{}
	for _, r := range m.Regions {
		got[part(r.Name)+r.Kind]++
	}
	want := map[string]int{"hyper": 2, "linear": 1} // embedding and head
	for layer, ratio := range c.Ratios {
		of := fmt.Sprintf("layers.%d ", layer)
		maps.Copy(want, map[string]int{of + "linear": 4, of + "cache": 1, of + "attention": 1, of + "experts": 1, of + "hyper": 2})
		if ratio == 4 {
			want[of+"index_topk"] = 1
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("regions are %v\nwant %v", got, want)
	}
}

// part is "layers.3 " for a region of layer 3, else empty.
func part(name string) string {
	parts := strings.Split(name, ".")
	if parts[0] != "layers" {
		return ""
	}
	return strings.Join(parts[:2], ".") + " "
}

// TestBits: passes that only group operations do not change a bit, neither of
// the logits nor of any named value, whatever the formats of the caches.
func TestBits(t *testing.T) {
	for _, dir := range sample.Short(t, glob(t, "../internal/models/deepseekv4/testdata/fixtures/*"), 1) {
		for _, i := range []int{0, 2} {
			s := settings[i]
			t.Run(filepath.Base(dir)+" "+s.name, func(t *testing.T) {
				model, err := models.Open(dir, models.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer model.Close()
				r, err := passes.Run(model.Graph, passes.Options{Formats: s.formats})
				if err != nil {
					t.Fatal(err)
				}
				from := 0 // the last stage that rounds
				for i, stage := range r.Stages {
					if stage.Name == "cache-formats" && s.formats != (passes.Formats{}) {
						from = i
					}
				}
				rng := rand.New(rand.NewPCG(3, 5))
				tokens := make([]int32, 150)
				for i := range tokens {
					tokens[i] = int32(rng.IntN(model.VocabSize))
				}
				want, got := traces(t, r.Stages[from].Module, model.Weights, tokens), traces(t, r.Module, model.Weights, tokens)
				if len(got) != len(want) || len(want) < 4*model.Layers {
					t.Fatalf("%d values, before the passes %d", len(got), len(want))
				}
				for name, w := range want {
					if !equalBits(got[name], w) {
						t.Errorf("%s has other bits", name)
					}
				}
			})
		}
	}
}

// traces evaluates tokens in several steps and returns all named values and
// the logits, by step.
func traces(t *testing.T, m *ir.Module, w eval.Weights, tokens []int32) map[string]tensor.Value[float32] {
	t.Helper()
	ma, err := eval.New[float32](m, w)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]tensor.Value[float32]{}
	from := 0
	for step, n := range []int{7, 1, 130, 1, len(tokens) - 139} {
		ma.Observe = func(name string, v tensor.Value[float32]) { out[fmt.Sprintf("step %d %s", step, name)] = v }
		rows, wanted := make([]eval.Row, n), make([]int, n)
		for i := range rows {
			rows[i] = eval.Row{Token: tokens[from+i], Position: int32(from + i)}
			wanted[i] = i
		}
		logits, err := ma.Step(rows, wanted)
		if err != nil {
			t.Fatal(err)
		}
		out[fmt.Sprintf("step %d", step)] = logits[0]
		from += n
	}
	return out
}

func equalBits(a, b tensor.Value[float32]) bool {
	if len(a.F) != len(b.F) || len(a.I) != len(b.I) {
		return false
	}
	for i := range a.F {
		if math.Float32bits(a.F[i]) != math.Float32bits(b.F[i]) {
			return false
		}
	}
	for i := range a.I {
		if a.I[i] != b.I[i] {
			return false
		}
	}
	return true
}

// TestRegionList: the regions of a small model, in order, with their numbers of
// operations, inputs and results.
func TestRegionList(t *testing.T) {
	_, m := graphOf(t, "../internal/models/deepseekv4/testdata/configs/a-bf16.json")
	r, err := passes.Run(m, trained)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, g := range r.Module.Regions {
		fmt.Fprintf(&b, "%-10s %-28s %2d operations, %d inputs, %d results\n", g.Kind, g.Name, g.To-g.From, len(g.Inputs(r.Module)), len(g.Yields))
	}
	const path = "testdata/regions.txt"
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || b.String() != string(want) {
		t.Errorf("got\n%s\nwant (-update writes it)\n%s", b.String(), want)
	}
}

// TestSameText: two runs give the same bytes at every stage, and each parses
// back (the input of a run is left as it was).
func TestSameText(t *testing.T) {
	_, m := graphOf(t, "../internal/models/deepseekv4/testdata/configs/a-bf16.json")
	first, err := passes.Run(m, trained)
	if err != nil {
		t.Fatal(err)
	}
	second, err := passes.Run(m, trained)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first.Stages {
		if first.Stages[i].Text() != second.Stages[i].Text() {
			t.Errorf("stage %s differs", first.Stages[i].Name)
		}
	}
}

func BenchmarkPasses(b *testing.B) {
	for _, name := range []string{"flash", "pro"} {
		_, m := graphOf(b, "../internal/models/deepseekv4/testdata/configs/"+name+".json")
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := passes.Run(m, trained); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkViews(b *testing.B) {
	_, m := graphOf(b, "../internal/models/deepseekv4/testdata/configs/pro.json")
	r, err := passes.Run(m, trained)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, g := range r.Module.Regions {
			if _, err := fusion.View(r.Module, g); err != nil {
				b.Fatal(err)
			}
		}
	}
}
