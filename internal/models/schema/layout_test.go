package schema

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smelt.example/smelt/internal/models/checkpoint/container"
)

func TestGeneralise(t *testing.T) {
	tests := []struct{ name, pattern, number string }{
		{"layers.12.attn.wq_a.weight", "layers.{l}.attn.wq_a.weight", "12"},
		{"layers.0.attn.wo_a.3.weight", "layers.{l}.attn.wo_a.3.weight", "0"},
		{"model.layers.3.mlp", "model.layers.{l}.mlp", "3"},
		{"mtp.0", "mtp.{l}", "0"},
		{"7.x", "{l}.x", "7"},
		{"7", "{l}", "7"},
		{"embed.weight", "embed.weight", ""},
		{"w1.x2.3a", "w1.x2.3a", ""},
		{"layers.007.w.2", "layers.007.w.{l}", "2"},
		{"layers.00", "layers.00", ""},
		{"layers.-1.x", "layers.-1.x", ""},
		{"layers.9999999.x", "layers.{l}.x", "9999999"},
		{"layers.12345678.x", "layers.12345678.x", ""},
		{"layers..1", "layers..{l}", "1"},
		{"layers.٣.x", "layers.٣.x", ""},
		{"", "", ""},
		{".", ".", ""},
	}
	for _, test := range tests {
		if pattern, number := Generalise(test.name); pattern != test.pattern || number != test.number {
			t.Errorf("%q gives %q, %q; want %q, %q", test.name, pattern, number, test.pattern, test.number)
		}
	}
}

// FuzzGeneralise: pattern and number give the name back, and the number is one.
func FuzzGeneralise(f *testing.F) {
	for _, s := range []string{"layers.1.x.2", "..", "0", "a.00.1", "{l}.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		pattern, number := Generalise(name)
		if number == "" {
			if pattern != name {
				t.Errorf("%q without a number gives %q", name, pattern)
			}
			return
		}
		if !isIndex(number) {
			t.Errorf("%q: %q is no number", name, number)
		}
		if !strings.Contains(name, layerPlaceholder) && Fill(pattern, number) != name {
			t.Errorf("%q gives %q with %q, which make %q", name, pattern, number, Fill(pattern, number))
		}
	})
}

func TestStems(t *testing.T) {
	for _, test := range []struct {
		place Place
		want  string
	}{
		{Place{Stem: "a.{l}.b"}, "a.4.b"},
		{Place{Stem: "a.{l}.b.{n}.w"}, "a.4.b.0.w a.4.b.1.w a.4.b.2.w"},
		{Place{Stem: "plain"}, "plain"},
	} {
		if got := strings.Join(test.place.Stems("4", 3), " "); got != test.want {
			t.Errorf("%s: %q, want %q", test.place.Stem, got, test.want)
		}
	}
}

// TestMatrix: the tensor is the first place's that is there, and none where a parameter
// has no matrix of its own.
func TestMatrix(t *testing.T) {
	stored := map[string][]int64{"a.0.weight": {3, 2}, "b.1": {5, 2}, "line.weight": {4}, "both.weight": {8, 2}, "each.0": {1, 2}}
	lookup := func(name string) (container.Tensor, bool) {
		shape, ok := stored[name]
		return container.Tensor{Name: name, Shape: shape}, ok
	}
	at := func(param, stem string, fused ...string) Rule {
		return Rule{Param: param, Places: []Place{{Stem: stem, Fused: fused}}}
	}
	layout := Layout{Name: "x", Rules: []Rule{
		{Param: "p.{l}", Places: []Place{{Stem: "a.{l}"}, {Stem: "b.{l}"}}},
		at("line", "line"), at("shared", "both", "shared", "other"), at("each", "each.{n}"),
	}}
	for param, want := range map[string]string{"p.0": "a.0.weight", "p.1": "b.1", "p.2": "", "line": "", "shared": "", "each": "", "unknown": ""} {
		if got := layout.Matrix(lookup, param); (got == nil) != (want == "") || got != nil && got.Name != want {
			t.Errorf("%s is in %v, want %q", param, got, want)
		}
	}
}

// TestUnder: every name of a wrapped layout is the plain one's behind the wrapper, and
// the plain one stays as it is.
func TestUnder(t *testing.T) {
	plain := Layout{Name: "x", Marks: []string{"a.", "l.{l}."}, Rules: []Rule{
		{Param: "p", Places: []Place{{Stem: "a.p"}, {Stem: "a.pq", Fused: []string{"p", "q"}, Note: "fused"}}},
		{Param: "l.{l}.p", Places: []Place{{Stem: "l.{l}.p.{n}"}}},
	}}
	got := plain.Under("w.")
	want := Layout{Name: "x under w.", Wrapper: "w.", Marks: []string{"w.a.", "w.l.{l}."}, Rules: []Rule{
		{Param: "p", Places: []Place{{Stem: "w.a.p"}, {Stem: "w.a.pq", Fused: []string{"p", "q"}, Note: "fused"}}},
		{Param: "l.{l}.p", Places: []Place{{Stem: "w.l.{l}.p.{n}"}}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if plain.Rules[0].Places[0].Stem != "a.p" || plain.Marks[0] != "a." {
		t.Errorf("the plain layout became %+v", plain)
	}
	tensors := []container.Tensor{{Name: "w.a.p"}, {Name: "w.l.3.p.0"}, {Name: "a.p"}}
	if l := Recognise([]Layout{plain, got}, tensors); l == nil || l.Name != "x under w." {
		t.Errorf("recognised as %v", l)
	}
}
