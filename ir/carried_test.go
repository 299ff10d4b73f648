package ir

import (
	"math"
	"strings"
	"testing"
)

// TestCarriedAttr: fields of attributes that have no text, whatever operations allow.
func TestCarriedAttr(t *testing.T) {
	deep := Sym("T")
	for range 40 {
		deep = deep.Add(Const(1)).FloorDiv(2).Mul(Sym("T"))
	}
	type attr struct {
		Count int
		To    Expr
		Shape []Expr
		By    float64
		Text  string
	}
	for _, c := range []struct {
		attr any
		want string // "" if it is carried
	}{
		{nil, ""},
		{attr{Count: math.MinInt64 + 1, By: math.Inf(-1), Text: "\x00\"", To: Sym("floor"), Shape: []Expr{Const(-1)}}, ""},
		{attr{Count: math.MinInt64}, "attribute count"},
		{attr{To: Sym("a b")}, "attribute to"},
		{attr{To: Sym("")}, "attribute to"},
		{attr{To: Const(math.MaxInt64).Add(Const(1))}, "attribute to"},
		{attr{Shape: []Expr{Const(1), Sym("1")}}, "attribute shape"},
		{attr{To: deep}, "attribute to"},
	} {
		err := carriedAttr(c.attr)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, expected %q", c.attr, err, c.want)
		}
	}
}
