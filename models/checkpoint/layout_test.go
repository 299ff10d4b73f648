package checkpoint

import (
	"strings"
	"testing"
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
		if pattern, number := generalise(test.name); pattern != test.pattern || number != test.number {
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
		pattern, number := generalise(name)
		if number == "" {
			if pattern != name {
				t.Errorf("%q without a number gives %q", name, pattern)
			}
			return
		}
		if !isIndex(number) {
			t.Errorf("%q: %q is no number", name, number)
		}
		if !strings.Contains(name, layerPlaceholder) && fill(pattern, number) != name {
			t.Errorf("%q gives %q with %q, which make %q", name, pattern, number, fill(pattern, number))
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
		if got := strings.Join(test.place.stems("4", matrix{dims: []int64{3, 5, 5}}), " "); got != test.want {
			t.Errorf("%s: %q, want %q", test.place.Stem, got, test.want)
		}
	}
}

// TestRecognise: the layout with the most names of its own is taken, the
// first of equals.
func TestRecognise(t *testing.T) {
	layouts := []Layout{{Name: "one", Marks: []string{"a.{l}.", "both."}}, {Name: "two", Marks: []string{"b.{l}.", "both."}}}
	for _, test := range []struct{ names, want string }{
		{"a.0.x", "one"},
		{"b.0.x a.0.x b.1.x", "two"},
		{"b.0.x a.0.x", "one"},
		{"both.x b.9.x", "two"},
		{"b.00.x b.x a.1.x", "one"},
		{"c b a", ""},
		{"", ""},
	} {
		var tensors []Tensor
		file := openTensors(t, bf16("x", 1)).Files[0]
		for _, n := range strings.Fields(test.names) {
			tensors = append(tensors, Tensor{Name: n, File: file})
		}
		f := &Findings{}
		got := recognise(tensors, layouts, f)
		if (got == nil) != (test.want == "") || (got != nil && got.Name != test.want) || (got == nil) != (f.Err() != nil) {
			t.Errorf("%q: layout %+v, findings %v; want %q", test.names, got, f.List, test.want)
		}
	}
}

// TestStoredMatrices: the tensor is the first place's that is there, and none where
// a parameter has no matrix of its own.
func TestStoredMatrices(t *testing.T) {
	c := openTensors(t, bf16("a.0.weight", 3, 2), bf16("b.1", 5, 2), bf16("line.weight", 4), bf16("both.weight", 8, 2), bf16("each.0", 1, 2))
	layouts := []Layout{{Name: "x", Marks: []string{"a.{l}"}, Rules: []Rule{
		{Param: "p.{l}", Places: []Place{{Stem: "a.{l}"}, {Stem: "b.{l}"}}},
		at("line", "line"), at("shared", "both", "shared", "other"), at("each", "each.{n}"),
	}}}
	params := []string{"p.0", "p.1", "p.2", "line", "shared", "each", "unknown"}
	want := []string{"a.0.weight", "b.1", "", "", "", "", ""}
	for i, got := range StoredMatrices(c, layouts, params...) {
		if (got == nil) != (want[i] == "") || got != nil && got.Name != want[i] {
			t.Errorf("%s is in %v, want %q", params[i], got, want[i])
		}
	}
	layouts[0].Marks = []string{"z."}
	if got := StoredMatrices(c, layouts, "p.0"); got[0] != nil {
		t.Errorf("of no known layout: %v", got)
	}
}
