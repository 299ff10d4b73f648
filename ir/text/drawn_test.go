package text_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
	"smelt.example/smelt/ir/text"
)

// roundTrip prints a module and parses it back. It must be the same.
func roundTrip(t *testing.T, m *ir.Module) {
	t.Helper()
	printed := text.String(m)
	again, err := text.Parse("printed", printed)
	if err != nil {
		t.Fatalf("%v in\n%s", err, printed)
	}
	if d := cmp.Diff(flatModule(m), flatModule(again)); d != "" || !ir.Equal(m, again) {
		t.Fatalf("read back as another module (equal: %t): %s\n%s", ir.Equal(m, again), d, printed)
	}
	for i, n := range m.Nodes { // formulas to their last atom
		if !reflect.DeepEqual(n.Result.Type, again.Nodes[i].Result.Type) {
			t.Errorf("%s has type %s, was read back as %s", n.Result.Ref(), n.Result.Type, again.Nodes[i].Result.Type)
		}
		if n.Op == ops.IndexMap && !reflect.DeepEqual(n.Attr, again.Nodes[i].Attr) {
			t.Errorf("%+v was read back as %+v", n.Attr, again.Nodes[i].Attr)
		}
	}
	if twice := text.String(again); twice != printed {
		t.Fatalf("printed\n%s\nthen\n%s", printed, twice)
	}
}

// flatModule lists what a module says without pointers, for go-cmp. It shares
// nothing with ir.Equal.
func flatModule(m *ir.Module) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	value := func(v *ir.Value) string { return fmt.Sprintf("%d %q %+v", v.ID, v.Name, v.Type) }
	add("%q %+v", m.Name, m.Symbols)
	for _, v := range m.Inputs {
		add("input %s", value(v))
	}
	for _, p := range m.Params {
		add("param %+v", *p)
	}
	for _, s := range m.States {
		add("state %+v", *s)
	}
	for _, n := range m.Nodes {
		add("%s %q %s %s", n.Op.Name, n.Symbol, value(n.Result), flatAttr(n.Attr))
		for _, a := range n.Args {
			add("of %d", a.ID)
		}
	}
	for _, r := range m.Regions {
		add("region %q %q %d %d", r.Kind, r.Name, r.From, r.To)
		for _, v := range r.Yields {
			add("yields %d", v.ID)
		}
	}
	for _, v := range m.Results {
		add("returns %d", v.ID)
	}
	return out
}

// flatAttr is an attribute with the bits of its numbers; every NaN is one.
func flatAttr(attr any) string {
	if attr == nil {
		return ""
	}
	var b strings.Builder
	v := reflect.ValueOf(attr)
	for i := range v.NumField() {
		if x, ok := v.Field(i).Interface().(float64); ok && !math.IsNaN(x) {
			fmt.Fprintf(&b, "%x ", math.Float64bits(x))
		} else if shape, ok := v.Field(i).Interface().([]ir.Expr); ok && len(shape) == 0 {
			fmt.Fprint(&b, "[] ")
		} else {
			fmt.Fprintf(&b, "%q ", fmt.Sprint(v.Field(i).Interface()))
		}
		if e, ok := v.Field(i).Interface().(ir.Expr); ok {
			e.Walk(func(symbol string) { fmt.Fprintf(&b, "of %q ", symbol) })
		}
	}
	return b.String()
}

// What a text form can trip over.
var (
	hostileNames = []string{
		"floor", "min", "x", "f32", "i32", "tensor", "state", "symbol", "input", "param", "keep", "stored", "region", "yields", "return", "module", "rows", "wanted", "reach", "closing",
		"inf", "nan", "true", "false", "overflow", "e5", "E", "i", "T", "P", "token", "w", "add", "matmul", "A.b_c.9", "a..", "a_", "Z",
		"", "1", "1a", "_a", ".a", "a-b", "a b", "a\n", "a\x00", "é", "aé", "%a", "@a", "a:", "a,b", "a\"", "../a", "a/b", "#", strings.Repeat("n", 256), strings.Repeat("n", 257),
	}
	hostileFloats  = []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 1e20, -1e-20, 1e300, 5e-324, math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN(), 1 << 53, 123456789}
	hostileInts    = []int{0, 1, -1, 2, 3, 4, 127, math.MaxInt32, math.MaxInt, math.MinInt, math.MinInt + 1}
	hostileStrings = []string{"", "bf16", "td,td->t", "a\"b", `\`, "a\nb", "\x00", "\xff", "é", "{}()[]", "#", "%x", strings.Repeat("(", 100)}
)

// drawer makes random modules of whatever operations' type rules take.
type drawer struct {
	*ir.Builder
	r       *rand.Rand
	symbols []ir.Symbol
	values  []*ir.Value
	params  []ir.Param
	states  []ir.State
}

func drawModule(r *rand.Rand) (*ir.Module, error) {
	d := &drawer{r: r, symbols: []ir.Symbol{{Name: "T", Def: ir.Rows}, {Name: "P", Def: ir.Reach}, {Name: "W", Def: ir.Wanted}, {Name: "E", Def: ir.Closing, Arg: 4}}}
	d.Builder = ir.NewBuilder("drawn", d.symbols...)
	for _, name := range []string{"token", "position", "slot"} {
		d.values = append(d.values, d.Input(name, ir.Tensor(ir.I32, ir.Sym("T"))))
	}
	d.params = []ir.Param{{Name: "w", Type: ir.Tensor(ir.F32, ir.Dims(16, 4)...), Encoding: "bf16"}, {Name: "v.1", Type: ir.Tensor(ir.F32, ir.Dims(4)...)}}
	d.states = []ir.State{{Name: "s", Row: ir.Tensor(ir.F32, ir.Dims(4)...), Keep: ir.Sym("P").Add(ir.Const(3)).FloorDiv(4), Stored: "fp8"}}
	for _, p := range d.params {
		d.Param(p)
	}
	for _, s := range d.states {
		d.State(s)
	}
	d.values = append(d.values, d.Add(ops.TakeRows, nil, d.AddNaming(ops.Dequantize, nil, "w"), d.values[0]))
	for n := range 4 {
		body := func() {
			for range 60 {
				d.operation()
			}
			d.values = append(d.values, d.Add(ops.Sort, nil, d.values[0]))
		}
		if r.IntN(2) == 0 {
			d.Region("kind", fmt.Sprintf("r.%d", n), body)
		} else {
			body()
		}
	}
	d.Return(d.values[len(d.values)-1], d.values[3])
	return d.Module()
}

// operation adds an operation if the drawn operands and attributes suit it.
func (d *drawer) operation() {
	names := ops.Names()
	op := ops.Named(names[d.r.IntN(len(names))])
	sig := &ir.Signature{Symbols: d.symbols}
	if op.Attr != nil {
		attr := reflect.New(reflect.TypeOf(op.Attr)).Elem()
		for i := range attr.NumField() {
			d.field(attr.Field(i))
		}
		sig.Attr = attr.Interface()
	}
	var args []*ir.Value
	for range op.Arity.Min + d.r.IntN(op.Arity.Max-op.Arity.Min+1)%3 {
		v := d.values[d.r.IntN(len(d.values))]
		if v.Type.State {
			return
		}
		args, sig.Args = append(args, v), append(sig.Args, v.Type)
	}
	symbol := ""
	switch op.Refers {
	case ir.RefersToParam:
		p := d.params[d.r.IntN(len(d.params))]
		symbol, sig.Referent = p.Name, p.Type
	case ir.RefersToState:
		return
	}
	if len(args) < op.Arity.Min {
		return
	}
	result, err := op.Types(sig)
	for _, e := range result.Shape {
		if e.Overflow() {
			return
		}
	}
	if err != nil {
		return
	}
	v := d.AddNaming(op, sig.Attr, symbol, args...)
	if d.r.IntN(3) == 0 {
		d.Name(v, fmt.Sprintf("v%d.x_", v.ID))
	}
	d.values = append(d.values, v)
}

func (d *drawer) field(v reflect.Value) {
	switch v.Interface().(type) {
	case ir.Expr:
		v.Set(reflect.ValueOf(d.expr(3)))
	case []ir.Expr:
		var dims []ir.Expr
		for range d.r.IntN(4) {
			dims = append(dims, d.expr(1))
		}
		v.Set(reflect.ValueOf(dims))
	case int:
		v.SetInt(int64(hostileInts[d.r.IntN(7)]))
	case float64:
		v.SetFloat(hostileFloats[d.r.IntN(len(hostileFloats))])
	case bool:
		v.SetBool(d.r.IntN(2) == 0)
	case string:
		v.SetString([]string{"td,td->t", "t,t->t", "hadamard", "bf16", "fp8_b64"}[d.r.IntN(5)])
	}
}

func (d *drawer) expr(depth int) ir.Expr {
	if depth == 0 || d.r.IntN(3) == 0 {
		return []ir.Expr{ir.Sym("T"), ir.Sym("P"), ir.Const(4), ir.Const(1), ir.Const(-3), ir.Sym("i"), ir.Const(math.MaxInt64), ir.Sym("E")}[d.r.IntN(8)]
	}
	a := d.expr(depth - 1)
	switch d.r.IntN(5) {
	case 0:
		return a.Add(d.expr(depth - 1))
	case 1:
		return a.Sub(d.expr(depth - 1))
	case 2:
		return a.Mul(d.expr(depth - 1))
	case 3:
		return a.Min(d.expr(depth - 1))
	}
	return a.FloorDiv(int64(1 + d.r.IntN(9)))
}

// FuzzDrawn: drawn modules, with a name, a number and a text of the fuzzer's in
// every place, are read back as they were printed or refused.
func FuzzDrawn(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, hostileNames[seed%uint64(len(hostileNames))], hostileStrings[seed%uint64(len(hostileStrings))], hostileFloats[seed%uint64(len(hostileFloats))], int64(hostileInts[seed%uint64(len(hostileInts))]))
	}
	f.Fuzz(func(t *testing.T, seed uint64, name, quoted string, number float64, n int64) {
		m, err := drawModule(rand.New(rand.NewPCG(seed, 2)))
		if err != nil {
			t.Skip(err) // a version of a state, say, or what a type rule does not see
		}
		roundTrip(t, m)
		for _, place := range places(name, quoted, number, n) {
			m := hostile(t, place.change)
			if err := ir.Verify(m); err == nil {
				roundTrip(t, m)
			}
		}
	})
}

// place is a way to put something hostile into the module of hostile.
type place struct {
	name   string
	change func(*ir.Module)
}

// places put one name, text or number everywhere. A symbol takes its new name where it
// is used, too.
func places(name, quoted string, number float64, n int64) []place {
	attr := func(i int, a any) func(*ir.Module) { return func(m *ir.Module) { m.Nodes[i].Attr = a } }
	return []place{
		{"module", func(m *ir.Module) { m.Name = name }},
		{"symbol", func(m *ir.Module) {
			m.Symbols[0].Name = name
			for _, v := range m.Inputs {
				v.Type.Shape = []ir.Expr{ir.Sym(name)}
			}
			for _, n := range m.Nodes[1:] {
				shape := append([]ir.Expr{ir.Sym(name)}, n.Result.Type.Shape[1:]...)
				n.Result.Type.Shape = shape
			}
			m.States[0].Keep = ir.Sym(name).Add(ir.Const(3)).FloorDiv(4)
		}},
		{"input", func(m *ir.Module) { m.Inputs[0].Name = name }},
		{"parameter", func(m *ir.Module) { m.Params[0].Name = name; m.Nodes[0].Symbol = name }},
		{"encoding", func(m *ir.Module) { m.Params[0].Encoding = name }},
		{"state", func(m *ir.Module) { m.States[0].Name = name }},
		{"stored", func(m *ir.Module) { m.States[0].Stored = name }},
		{"value", func(m *ir.Module) { m.Nodes[1].Result.Name = name }},
		{"region", func(m *ir.Module) { m.Regions[0].Name = name }},
		{"kind", func(m *ir.Module) { m.Regions[0].Kind = name }},
		{"float", attr(2, ops.ByAttr{By: number})},
		{"whole", func(m *ir.Module) { m.Symbols[1].Arg = n }},
		{"keep", func(m *ir.Module) { m.States[0].Keep = ir.Const(n) }},
		{"variable", attr(3, ops.IndexMapAttr{To: ir.Sym(name)})},
		{"formula", attr(3, ops.IndexMapAttr{To: ir.Sym("i").Mul(ir.Const(n)).Add(ir.Const(n - 1))})},
		{"string", attr(4, ops.RoundAttr{Format: quoted, Count: 4})},
		{"number", func(m *ir.Module) { m.Nodes[2].Result.ID = int(n) }},
		{"last number", func(m *ir.Module) { m.Nodes[4].Result.ID = 5 + int(n&3) }},
		{"row", func(m *ir.Module) { m.States[0].Row.Elem = ir.Elem(n) }},
		{"element", func(m *ir.Module) { m.Params[0].Type.Elem = ir.Elem(n) }},
	}
}

// hostile is a module with one thing of each kind, changed in one place.
func hostile(t *testing.T, change func(*ir.Module)) *ir.Module {
	t.Helper()
	b := ir.NewBuilder("m", ir.Symbol{Name: "T", Def: ir.Rows}, ir.Symbol{Name: "E", Def: ir.Closing, Arg: 4})
	token := b.Input("token", ir.Tensor(ir.I32, ir.Sym("T")))
	b.Param(ir.Param{Name: "w", Type: ir.Tensor(ir.F32, ir.Dims(16, 4)...), Encoding: "bf16"})
	b.State(ir.State{Name: "s", Row: ir.Tensor(ir.F32, ir.Dims(4)...), Keep: ir.Sym("T").Add(ir.Const(3)).FloorDiv(4), Stored: "bf16"})
	var x *ir.Value
	b.Region("kind", "r", func() {
		x = b.Add(ops.TakeRows, nil, b.AddNaming(ops.Dequantize, nil, "w"), token)
		b.Name(x, "x")
	})
	x = b.Add(ops.Scale, ops.ByAttr{By: 0.5}, x)
	b.Add(ops.IndexMap, ops.IndexMapAttr{To: ir.Sym("i")}, token)
	x = b.Add(ops.RoundTo, ops.RoundAttr{Format: "bf16", Count: 4}, x)
	b.Return(x)
	m, err := b.Module()
	if err != nil {
		t.Fatal(err)
	}
	change(m)
	return m
}

// TestHostile: every hostile name, text and number in every place. Verify takes it
// exactly where it is read back as it was printed.
func TestHostile(t *testing.T) {
	taken := map[string]int{}
	for k := range max(len(hostileNames), len(hostileFloats), len(hostileInts), len(hostileStrings)) {
		for _, p := range places(hostileNames[k%len(hostileNames)], hostileStrings[k%len(hostileStrings)], hostileFloats[k%len(hostileFloats)], int64(hostileInts[k%len(hostileInts)])) {
			m := hostile(t, p.change)
			err := ir.Verify(m)
			again, parseErr := text.Parse("printed", text.String(m))
			if carried := parseErr == nil && cmp.Equal(flatModule(m), flatModule(again)); carried != (err == nil) {
				t.Errorf("%s, case %d: verified: %v; read back the same: %t (%v)\n%s", p.name, k, err, carried, parseErr, text.String(m))
			}
			if err == nil {
				taken[p.name]++
				if !ir.Equal(m, again) {
					t.Errorf("%s, case %d: not equal after all", p.name, k)
				}
			}
		}
	}
	for _, p := range places("", "", 0, 0) {
		if n := taken[p.name]; n == 0 || n == len(hostileNames) && p.name != "float" {
			t.Errorf("%s: %d of %d cases are taken", p.name, n, len(hostileNames))
		}
	}
}

// TestEqual: modules that differ in one place are not equal.
func TestEqual(t *testing.T) {
	same := hostile(t, func(*ir.Module) {})
	for i, p := range places("other", "e4m3", 0.25, 9) {
		m := hostile(t, p.change)
		if ir.Equal(same, m) || cmp.Equal(flatModule(same), flatModule(m)) {
			t.Errorf("a different %s (%d) makes no difference", p.name, i)
		}
	}
	for name, change := range map[string]func(*ir.Module){
		"region":  func(m *ir.Module) { m.Regions[0].To-- },
		"yields":  func(m *ir.Module) { m.Regions[0].Yields = nil },
		"results": func(m *ir.Module) { m.Results[0] = m.Nodes[2].Result },
		"operand": func(m *ir.Module) { m.Nodes[4].Args[0] = m.Nodes[1].Result },
		"op":      func(m *ir.Module) { m.Nodes[2].Op = ops.Offset },
		"type":    func(m *ir.Module) { m.Params[0].Type.Shape[0] = ir.Const(17) },
		"symbols": func(m *ir.Module) { m.Symbols = m.Symbols[:1] },
	} {
		if m := hostile(t, change); ir.Equal(same, m) {
			t.Errorf("different %s make no difference", name)
		}
	}
	if !ir.Equal(same, hostile(t, func(*ir.Module) {})) {
		t.Error("equal modules are not")
	}
}
