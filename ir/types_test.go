package ir_test

import (
	"math"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/attr"
	"smelt.example/smelt/ir"
)

func TestTypes(t *testing.T) {
	T := ir.Sym("T")
	for _, c := range []struct {
		typ  ir.Type
		text string
		rank int
	}{
		{ir.Tensor(ir.F32, T, ir.Const(128)), "tensor<T x 128 x f32>", 2},
		{ir.Tensor(ir.I32, T.Mul(ir.Const(2)).Add(ir.Const(1))), "tensor<T*2+1 x i32>", 1},
		{ir.Tensor(ir.F32), "tensor<f32>", 0},
		{ir.Type{State: true, Shape: ir.Dims(8)}, "state<8 x f32>", 1},
	} {
		if c.typ.String() != c.text || c.typ.Rank() != c.rank {
			t.Errorf("%s, rank %d; want %s, rank %d", c.typ, c.typ.Rank(), c.text, c.rank)
		}
	}
	a := ir.Tensor(ir.F32, T, ir.Const(4))
	for name, b := range map[string]ir.Type{
		"element": ir.Tensor(ir.I32, T, ir.Const(4)),
		"size":    ir.Tensor(ir.F32, T, ir.Const(5)),
		"symbol":  ir.Tensor(ir.F32, ir.Sym("W"), ir.Const(4)),
		"rank":    ir.Tensor(ir.F32, T),
		"state":   {State: true, Shape: a.Shape},
	} {
		if a.Equal(b) {
			t.Errorf("%s equals %s, which differs in its %s", a, b, name)
		}
	}
	if !a.Equal(ir.Tensor(ir.F32, ir.Sym("T"), ir.Const(2).Mul(ir.Const(2)))) {
		t.Errorf("%s does not equal itself", a)
	}
}

func TestNamesOfElementsAndSymbols(t *testing.T) {
	for _, e := range []ir.Elem{ir.F32, ir.I32} {
		got := ir.Elem(9)
		if err := got.UnmarshalText([]byte(e.String())); err != nil || got != e {
			t.Errorf("%s reads back as %s: %v", e, got, err)
		}
	}
	for _, d := range []ir.SymbolDef{ir.Rows, ir.Wanted, ir.Reach, ir.Closing} {
		got := ir.SymbolDef(9)
		if err := got.UnmarshalText([]byte(d.String())); err != nil || got != d {
			t.Errorf("%s reads back as %d: %v", d, got, err)
		}
	}
	for _, bad := range []string{"", "f64", "F32", "row"} {
		var elem ir.Elem
		var def ir.SymbolDef
		if elem.UnmarshalText([]byte(bad)) == nil || def.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is known", bad)
		}
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "layers.0.attn_sink": true, "A9._": true, strings.Repeat("a", 256): true,
		"": false, "9a": false, "_a": false, ".a": false, "a-b": false, "a b": false, "é": false, "aé": false, "a\x00": false,
		strings.Repeat("a", 257): false,
	} {
		if ir.ValidName(name) != want {
			t.Errorf("ValidName(%.20q) is %v", name, !want)
		}
	}
}

// kinds has a field of every kind an attribute may have.
type kinds struct {
	Count  int
	Eps    float64
	On     bool
	Spec   string
	To     ir.Expr
	Shape  []ir.Expr
	Second int
}

func TestAttrFields(t *testing.T) {
	x := ir.Sym("x")
	fields := func(a any) string {
		var parts []string
		for _, f := range attr.Fields(a) {
			parts = append(parts, f.Name+"="+f.Text)
		}
		return strings.Join(parts, " ")
	}
	for _, c := range []struct {
		attr any
		want string
	}{
		{nil, ""},
		{kinds{}, ""},
		{kinds{Count: -1, Second: 2}, "count=-1 second=2"},
		{kinds{On: true, Spec: "a\"b\n"}, `on=true spec="a\"b\n"`},
		{kinds{To: x.Add(ir.Const(1)), Shape: []ir.Expr{x, {}}}, "to=x+1 shape=[x, 0]"},
		{kinds{Eps: 1e-6}, "eps=1e-06"},
		{kinds{Eps: 2}, "eps=2.0"},
		{kinds{Eps: 1e300}, "eps=1e+300"},
		{kinds{Eps: math.Copysign(0, -1)}, "eps=-0.0"},
		{kinds{Eps: math.Inf(1)}, "eps=inf"},
		{kinds{Eps: math.Inf(-1)}, "eps=-inf"},
		{kinds{Eps: math.NaN()}, "eps=nan"},
	} {
		if got := fields(c.attr); got != c.want {
			t.Errorf("%#v prints %s, want %s", c.attr, got, c.want)
		}
		if !attr.Equal(c.attr, c.attr) {
			t.Errorf("%#v does not equal itself", c.attr)
		}
	}
	for _, pair := range [][2]any{
		{kinds{Count: 1}, kinds{Count: 2}}, {kinds{Count: 1}, kinds{Second: 1}}, {kinds{}, nil},
		{kinds{}, struct{ Count int }{}}, {kinds{Eps: 0}, kinds{Eps: math.Copysign(0, -1)}},
	} {
		if attr.Equal(pair[0], pair[1]) {
			t.Errorf("%#v equals %#v", pair[0], pair[1])
		}
	}
}

// TestOpCheck takes away one column of a complete row at a time.
func TestOpCheck(t *testing.T) {
	nothing32, nothing64 := func(*ir.Call[float32]) error { return nil }, func(*ir.Call[float64]) error { return nil }
	complete := func() *ir.Op {
		return &ir.Op{
			Name: "whole", Doc: "has all columns", Arity: ir.Arity{Min: 1, Max: 2}, Attr: kinds{}, Effect: ir.Pure,
			Class: ir.Class{Kind: ir.Elementwise, ULP: 1}, Types: func(*ir.Signature) (ir.Type, error) { return ir.Type{}, nil },
			Execute: ir.Both(nothing32, nothing64),
		}
	}
	if err := complete().Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		spoil func(*ir.Op)
		want  string
	}{
		{"name", func(o *ir.Op) { o.Name = "" }, `ir: an operation lacks its name`},
		{"doc", func(o *ir.Op) { o.Doc = "" }, `ir: operation "whole" lacks its doc line`},
		{"arity order", func(o *ir.Op) { o.Arity = ir.Arity{Min: 2, Max: 1} }, `ir: operation "whole" lacks its arity`},
		{"arity negative", func(o *ir.Op) { o.Arity = ir.Arity{Min: -1, Max: 1} }, `ir: operation "whole" lacks its arity`},
		{"effect", func(o *ir.Op) { o.Effect = 0 }, `ir: operation "whole" lacks its effect`},
		{"class", func(o *ir.Op) { o.Class = ir.Class{} }, `ir: operation "whole" lacks its numeric class`},
		{"ulp", func(o *ir.Op) { o.Class.ULP = 0 }, `ir: operation "whole" lacks its numeric class`},
		{"types", func(o *ir.Op) { o.Types = nil }, `ir: operation "whole" lacks its type rule`},
		{"float32 reference", func(o *ir.Op) { o.Execute.F32 = nil }, `ir: operation "whole" lacks its reference function`},
		{"float64 reference", func(o *ir.Op) { o.Execute.F64 = nil }, `ir: operation "whole" lacks its reference function`},
		{"attribute not a struct", func(o *ir.Op) { o.Attr = 3 }, `ir: operation "whole": attribute must be a struct with fields, is int`},
		{"attribute without fields", func(o *ir.Op) { o.Attr = struct{}{} }, `ir: operation "whole": attribute must be a struct with fields, is struct {}`},
		{"attribute field hidden", func(o *ir.Op) { o.Attr = struct{ a int }{} }, `ir: operation "whole": attribute field a is not exported`},
		{"attribute field kind", func(o *ir.Op) { o.Attr = struct{ A []int }{} }, `ir: operation "whole": attribute field A has kind []int, which has no text form`},
	} {
		op := complete()
		c.spoil(op)
		if err := op.Check(); err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
	}
}
