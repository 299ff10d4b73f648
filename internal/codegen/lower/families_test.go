package lower

import (
	"testing"

	"smelt.example/smelt/internal/passes/fusion"
)

// TestCovering: a kind of region without kernels, with two families of them,
// and kernels of no kind stop the program as it starts.
func TestCovering(t *testing.T) {
	linear := familyOf(fusion.KindLinear, lowerLinear)
	for _, c := range []struct {
		name  string
		kinds []fusion.Kind
		table []family
		want  string
	}{
		{"one each", []fusion.Kind{fusion.KindLinear}, []family{linear}, ""},
		{"none", []fusion.Kind{fusion.KindLinear, fusion.KindHyper}, []family{linear}, "lower: 0 families of kernels for the kind hyper, want one"},
		{"two", []fusion.Kind{fusion.KindLinear}, []family{linear, linear}, "lower: 2 families of kernels for the kind linear, want one"},
		{"of no kind", []fusion.Kind{fusion.KindHyper}, []family{linear}, "lower: no region has the kind linear"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if got, _ := recover().(string); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}()
			covering(c.kinds, c.table)
		})
	}
}
