package checkpoint

import (
	"fmt"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	others := func(names ...string) (list []absence) {
		for _, n := range names {
			list = append(list, absence{name: n})
		}
		return list
	}
	many := make([]absence, maxCandidates+1)
	for i := range many {
		many[i].name = fmt.Sprintf("unrelated.%d", i)
	}
	many[maxCandidates].name = "layers.0.attn.wq_b.weight"
	tests := []struct {
		name, of string
		others   []absence
		want     string
	}{
		{"one letter", "layers.0.attn.wq_a", others("layers.0.attn.wq_b.weight", "layers.0.attn.wqa.weight", "layers.0.attn.w"), "layers.0.attn.wq_b.weight"},
		{"suffix does not count", "norm.weight", others("norn"), "norn"},
		{"the nearer one", "layers.10.ffn.gate", others("layers.1.ffn.gat", "layers.10.ffn.gat"), "layers.10.ffn.gat"},
		{"the first of equals", "abcdefgh", others("abcdefgx", "abcdefgy"), "abcdefgx"},
		{"too far", "embed.weight", others("layers.0.attn.wq_b.weight"), ""},
		{"a quarter of the name at most", "abcdefgh", others("abcdeXYZ"), ""},
		{"a quarter of the name", "abcdefgh", others("abcdefYZ"), "abcdefYZ"},
		{"nothing to compare", "embed.weight", nil, ""},
		{"empty", "", others("a"), ""},
		{"beyond the limit of candidates", "layers.0.attn.wq_a", many, ""},
	}
	for _, test := range tests {
		want := test.want
		if want != "" {
			want = " (nearest: " + want + ")"
		}
		if got := nearest(test.of, test.others); got != want {
			t.Errorf("%s: %q, want %q", test.name, got, want)
		}
	}
}

// TestSuggest adds a nearest name only to the items a message shows.
func TestSuggest(t *testing.T) {
	var list []absence
	for i := range maxItems + 1 {
		list = append(list, absence{fmt.Sprintf("tensor%02d", i), "text"})
	}
	items := suggest(list, []absence{{name: "tensor99"}})
	if len(items) != maxItems+1 || items[maxItems-1] != "text (nearest: tensor99)" || items[maxItems] != "text" {
		t.Errorf("%q", items)
	}
}

func BenchmarkNearest(b *testing.B) {
	others := make([]absence, maxCandidates)
	for i := range others {
		others[i].name = fmt.Sprintf("layers.%d.ffn.experts.%d.w1.weight", i/256, i%256)
	}
	for b.Loop() {
		if !strings.Contains(nearest("layers.3.ffn.experts.77.w4", others), "77") {
			b.Fatal("not found")
		}
	}
}
