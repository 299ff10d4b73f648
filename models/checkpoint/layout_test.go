package checkpoint

import (
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/schema"
)

// TestRecognise: the layout with the most names of its own is taken, the
// first of equals.
func TestRecognise(t *testing.T) {
	layouts := []schema.Layout{{Name: "one", Marks: []string{"a.{l}.", "both."}}, {Name: "two", Marks: []string{"b.{l}.", "both."}}}
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
