package report

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

const fixtures = "../../models/deepseekv4/testdata/fixtures"

// compile compiles a checkpoint for a context of that many tokens.
func compile(t testing.TB, dir string, context int) (*bundle.Bundle, *passes.Result) {
	t.Helper()
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, stages, err := bundle.Compile(bundle.Source{Name: filepath.Base(dir), Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, bundle.Options{Context: context})
	if err != nil {
		t.Fatal(err)
	}
	return b, stages
}

func write(t testing.TB, b *bundle.Bundle, stages *passes.Result) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, b, stages); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// fixture is a small model, compiled once for all tests that only read it.
var fixture = sync.OnceValues(func() (*bundle.Bundle, *passes.Result) {
	return compile(panicking{}, filepath.Join(fixtures, "a-bf16"), 8192)
})

// fixturePage is its page.
var fixturePage = sync.OnceValue(func() []byte {
	b, stages := fixture()
	return write(panicking{}, b, stages)
})

// panicking is a testing.TB for what no single test does.
type panicking struct{ testing.TB }

func (panicking) Helper()           {}
func (panicking) Fatal(args ...any) { panic(args) }

var dataBlock = regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`)

// dataOf is the data in a page.
func dataOf(t testing.TB, page []byte) *document {
	t.Helper()
	m := dataBlock.FindSubmatch(page)
	if m == nil {
		t.Fatal("the page has no block of data")
	}
	var doc document
	if err := json.Unmarshal(m[1], &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
}

// TestEscaping: nothing that a model or a note is called ends the block of data
// or becomes markup, and it comes out as it went in.
func TestEscaping(t *testing.T) {
	b, stages := fixture()
	nasty := "a</script><script>alert(1)</script><!--\u2028\u2029&amp;\"'/*script*/"
	changed := *b
	changed.Name, changed.Checkpoint, changed.Notes = nasty, "/tmp/"+nasty, []string{nasty, "<!--data-->"}
	page := write(t, &changed, stages)
	doc := dataOf(t, page)
	if doc.Model.Name != nasty || doc.Model.Checkpoint != "/tmp/"+nasty || !slices.Equal(doc.Notes, changed.Notes) {
		t.Errorf("came out as %q, %q, %q", doc.Model.Name, doc.Model.Checkpoint, doc.Notes)
	}
	block := dataBlock.FindSubmatch(page)[1]
	for _, s := range []string{"<", ">", "\u2028", "\u2029"} {
		if bytes.Contains(block, []byte(s)) {
			t.Errorf("the block of data contains %q", s)
		}
	}
	if got := bytes.Count(page, []byte("</script>")); got != 2 {
		t.Errorf("%d ends of scripts, want those of the data and of the program", got)
	}
	if want := "<title>a&lt;/script&gt;"; !bytes.Contains(page, []byte(want)) {
		t.Errorf("the page lacks %q", want)
	}
}

// TestDeterministic: equal sources give equal bytes.
func TestDeterministic(t *testing.T) {
	b, stages := fixture()
	first := fixturePage()
	if !bytes.Equal(first, write(t, b, stages)) {
		t.Error("the same bundle gives two pages")
	}
	again, stagesAgain := compile(t, filepath.Join(fixtures, "a-bf16"), 8192)
	if !bytes.Equal(first, write(t, again, stagesAgain)) {
		t.Error("the same checkpoint, compiled twice, gives two pages")
	}
}

// outside finds what would make a browser ask somebody for something.
var outside = regexp.MustCompile(`(?i)https?:|[^:]//[a-z0-9-]+\.[a-z]{2,}/|\bsrc\s*=|href="[^#]|<link|@import|url\(|\bimport\s*\(|\bfetch\s*\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|new Worker`)

// TestSelfContained: the page names nothing outside of itself.
func TestSelfContained(t *testing.T) {
	page := fixturePage()
	for _, found := range outside.FindAllIndex(page, -1) {
		t.Errorf("the page points outside: %q", page[max(0, found[0]-60):min(len(page), found[1]+60)])
	}
}

// TestWithoutStages: a bundle that was read from its folder shows its module.
func TestWithoutStages(t *testing.T) {
	b, _ := fixture()
	doc := dataOf(t, write(t, b, nil))
	if len(doc.Stages) != 1 || doc.Stages[0].After != len(b.Module.Nodes) {
		t.Errorf("stages: %+v, want one of %d operations", doc.Stages, len(b.Module.Nodes))
	}
}

// TestPlan: the data say what the plan says.
func TestPlan(t *testing.T) {
	b, _ := fixture()
	doc := dataOf(t, fixturePage())
	for i, s := range b.Plan.Steps {
		d := doc.Steps[i]
		if len(d.Dispatches) != len(s.Dispatches) || d.Own != s.Scoring() || d.Barriers != s.Barriers() || d.CommandBuffers != s.CommandBuffers() || d.Arena != s.ArenaBytes {
			t.Errorf("%s: %d dispatches, %d barriers, %d command buffers, arena %d; the plan has %d, %d, %d, %d", s.Phase,
				len(d.Dispatches), d.Barriers, d.CommandBuffers, d.Arena, len(s.Dispatches), s.Barriers(), s.CommandBuffers(), s.ArenaBytes)
		}
		for n, x := range s.Dispatches {
			y := d.Dispatches[n]
			if doc.Kernels[y.Kernel].Name != x.Kernel.Name || doc.Regions[y.Region].Name != x.Region || doc.Exprs[y.Grid[1]] != x.Grid[1].String() || len(y.Args) != len(x.Args) {
				t.Errorf("%s dispatch %d: %+v, the plan has %s for %s", s.Phase, n, y, x.Kernel.Name, x.Region)
			}
		}
		for _, sc := range d.Scenarios {
			symbols := scenarioOf(s, sc.Context, sc.Rows)
			costs, err := s.Costs(symbols, nil)
			if err != nil {
				t.Fatal(err)
			}
			for n, x := range s.Dispatches {
				c := costs[n]
				if alone, err := kernel.Estimate(x.Kernel, kernel.Env{Step: symbols, Grid: c.Grid}); err != nil || c.Grid[0]*c.Grid[1]*c.Grid[2] > 0 && (alone.Flops != c.Flops || alone.Bytes() != c.Traffic) {
					t.Errorf("%s at %d, dispatch %d: %d operations and %d bytes, by itself %d and %d: %v", s.Phase, sc.Context, n, c.Flops, c.Traffic, alone.Flops, alone.Bytes(), err)
				}
				if !slices.Equal(sc.Costs[n], costRow(c)) {
					t.Errorf("%s at %d, dispatch %d: cost %v, the plan says %v", s.Phase, sc.Context, n, sc.Costs[n], costRow(c))
				}
			}
		}
	}
	contexts := func(d stepDoc) (out []int) {
		for _, sc := range d.Scenarios {
			out = append(out, sc.Context)
		}
		return out
	}
	if got := contexts(doc.Steps[0]); !slices.Equal(got, []int{1024, 4096, 8192}) {
		t.Errorf("decode at %v, want 1024, 4096 and the longest", got)
	}
	if got := contexts(doc.Steps[1]); !slices.Equal(got, []int{512, 8192}) {
		t.Errorf("prefill at %v, want the first chunk and the last", got)
	}
}

// TestSize: V4-Flash as published, for its whole context, fits a page of 10 MB.
func TestSize(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a page of all of Flash")
	}
	shared := os.Getenv("SMELT_SHARED")
	if shared == "" {
		t.Skip("SMELT_SHARED is unset: full-size checkpoints did not run")
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3: full-size checkpoints did not run")
	}
	dir := t.TempDir()
	if out, err := exec.Command(python, filepath.Join(shared, "tools/fullsize.py"), "flash", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// The page of a longer context is as long, but its costs are counted step by step.
	context := 1 << 12
	if sample.Full() {
		context = 1 << 20
	}
	b, stages := compile(t, dir, context)
	page := write(t, b, stages)
	if len(page) > 10e6 {
		t.Errorf("the page has %d bytes, more than 10 MB", len(page))
	}
	t.Logf("%d bytes", len(page))
	checkStages(t, dataOf(t, page), stages)
}

// TestScripts: the program in the page is one function, so no name of it is
// the window's, and no part of it ends the script.
func TestScripts(t *testing.T) {
	src, err := scripts()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(src), "</") || strings.Contains(string(src), "innerHTML") {
		t.Error("the scripts contain markup")
	}
}
