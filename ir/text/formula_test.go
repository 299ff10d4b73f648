package text

import (
	"strings"
	"testing"

	"smelt.example/smelt/ir"
)

func TestFormulas(t *testing.T) {
	f, err := NewFormulas()
	if err != nil {
		t.Fatal(err)
	}
	T, P := ir.Sym("T"), ir.Sym("P")
	for _, e := range []ir.Expr{
		ir.Const(0), ir.Const(-7), T, T.Mul(ir.Const(6)), T.Add(ir.Const(3)).FloorDiv(4).Mul(ir.Const(64)),
		P.FloorDiv(4).Mul(T).Sub(ir.Const(1)), P.FloorDiv(128).FloorDiv(3),
	} {
		for range 2 { // the second comes from memory
			got, err := f.Parse(e.String())
			if err != nil || !got.Equal(e) {
				t.Errorf("%s: parsed as %s, %v", e, got, err)
			}
		}
	}
	for _, bad := range []string{"", "T+", "T)", "floor(T/0)", "1.5", "T T", strings.Repeat("(", 5000), strings.Repeat("T+", 4000) + "T", "9223372036854775807*2"} {
		if e, err := f.Parse(bad); err == nil {
			t.Errorf("%.20q: parsed as %s", bad, e)
		}
	}
}
