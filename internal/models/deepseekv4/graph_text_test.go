package deepseekv4

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/eval"
	irtext "smelt.example/smelt/ir/text"
)

// graphText builds the graph of a configuration and prints it.
func graphText(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig(raw, path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Graph(c)
	if err != nil {
		t.Fatal(err)
	}
	return irtext.String(m)
}

// TestGraphText: the graph of every configuration prints the same bytes each
// time it is built, and parses to a module that prints them again.
func TestGraphText(t *testing.T) {
	configs, err := filepath.Glob("testdata/configs/*.json")
	if err != nil || len(configs) == 0 {
		t.Fatalf("no configurations (%v)", err)
	}
	for _, path := range configs {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if name := filepath.Base(path); testing.Short() && (strings.HasPrefix(name, "flash") || strings.HasPrefix(name, "pro")) {
				t.Skip("-short: 43 layers or more")
			}
			src := graphText(t, path)
			if graphText(t, path) != src {
				t.Error("two builds give different bytes")
			}
			m, err := irtext.Parse("graph.ir", src)
			if err != nil {
				t.Fatal(err)
			}
			if irtext.String(m) != src {
				t.Error("the parsed module prints other bytes")
			}
		})
	}
}

// TestParsedGraphEvaluates: the graph, printed and parsed, gives the logits of
// the graph as built, bit for bit.
func TestParsedGraphEvaluates(t *testing.T) {
	m := open(t, "testdata/fixtures/a-bf16")
	parsed, err := irtext.Parse("graph.ir", irtext.String(m.Graph))
	if err != nil {
		t.Fatal(err)
	}
	tokens := []int32{5, 17, 3, 3, 60, 41, 8, 0, 22, 9, 9, 31, 2}
	want, _ := run[float32](t, m, tokens)
	ma, err := eval.New[float32](parsed, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	out, err := ma.Step(rowsOf(tokens, 0, 0), all(len(tokens)))
	if err != nil {
		t.Fatal(err)
	}
	if len(out[0].F) != len(want) {
		t.Fatalf("%d logits, want %d", len(out[0].F), len(want))
	}
	for i, w := range want {
		if out[0].F[i] != w {
			t.Fatalf("logit %d is %v, as built %v", i, out[0].F[i], w)
		}
	}
}

func BenchmarkParseProGraph(b *testing.B) {
	src := graphText(b, "testdata/configs/pro.json")
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, err := irtext.Parse("pro.ir", src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuildProGraph(b *testing.B) {
	for b.Loop() {
		graphText(b, "testdata/configs/pro.json")
	}
}
