package fusion

import (
	"fmt"
	"math"
	"slices"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// A walk collects the operations of one instance of a pattern. Like the
// module's builder it has a sticky error: a step that does not fit is noted,
// later steps return blanks, and only the end of the walk looks.
type walk struct {
	scope *Scope
	order []*ir.Node // taken, in the order they were
	taken map[*ir.Node]bool
	why   error // the first thing that did not fit
}

func (w *walk) failed() bool { return w.why != nil }

// fail notes that v is not what the pattern has at its place. Only the first
// failure counts: what follows it reads blanks.
func (w *walk) fail(v *ir.Value, format string, args ...any) {
	if w.why == nil {
		w.why = fmt.Errorf("%s: %s", described(v), fmt.Sprintf(format, args...))
	}
}

// check is fail unless ok.
func (w *walk) check(ok bool, v *ir.Value, format string, args ...any) {
	if !ok {
		w.fail(v, format, args...)
	}
}

func described(v *ir.Value) string {
	if v.Def == nil {
		return v.Ref()
	}
	return v.Ref() + " (" + v.Def.Op.Name + ")"
}

// blank stands for a node that is not there, so that a walk can go on.
func blank(op *ir.Op) *ir.Node {
	none := &ir.Value{}
	return &ir.Node{Op: op, Attr: op.Attr, Args: []*ir.Value{none, none, none, none}, Result: none}
}

// take makes n part of the instance.
func (w *walk) take(n *ir.Node) {
	if !w.taken[n] {
		w.taken[n] = true
		w.order = append(w.order, n)
	}
}

// try runs a part that may be absent: if it does not fit, it takes nothing.
func (w *walk) try(part func()) bool {
	if w.failed() {
		return false
	}
	before := len(w.order)
	part()
	if !w.failed() {
		return true
	}
	for _, n := range w.order[before:] {
		delete(w.taken, n)
	}
	w.order, w.why = w.order[:before], nil
	return false
}

// is reports whether an operation op of the scope makes v.
func (w *walk) is(v *ir.Value, op *ir.Op) bool {
	return v.Def != nil && v.Def.Op == op && w.scope.in[v.Def]
}

// isOp is is, as a predicate for operands.
func (w *walk) isOp(op *ir.Op) func(*ir.Value) bool {
	return func(v *ir.Value) bool { return w.is(v, op) }
}

// isWeight reports whether v is a parameter of the scope, or a slice of one.
func (w *walk) isWeight(v *ir.Value) bool {
	if w.is(v, ops.Slice) {
		v = v.Def.Args[0]
	}
	return w.is(v, ops.Dequantize)
}

// def takes the operation that makes v, which must be op.
func (w *walk) def(v *ir.Value, op *ir.Op) *ir.Node {
	switch {
	case w.failed():
	case w.is(v, op):
		w.take(v.Def)
		return v.Def
	case v.Def != nil && v.Def.Op == op:
		w.fail(v, "is not free: it is in another region, or outside this one")
	default:
		w.fail(v, "expected %s here", op.Name)
	}
	return blank(op)
}

// weight takes the reading of a parameter and returns its name.
func (w *walk) weight(v *ir.Value) string { return w.def(v, ops.Dequantize).Symbol }

// vector is weight, for a parameter of n elements: others would repeat.
func (w *walk) vector(v *ir.Value, n int) string {
	name := w.weight(v)
	w.check(slices.EqualFunc(v.Type.Shape, ir.Dims(n), ir.Expr.Equal), v, "expected a vector of %d elements, is %s", n, v.Type)
	return name
}

// only takes the one use of v, which must be op.
func (w *walk) only(v *ir.Value, op *ir.Op) *ir.Node {
	if n := w.next(v, op); n != nil {
		return n
	}
	w.fail(v, "expected one use, by %s", op.Name)
	return blank(op)
}

// next takes the one use of v if there is only one and it is one of these
// operations; else it is nil.
func (w *walk) next(v *ir.Value, anyOf ...*ir.Op) *ir.Node {
	if w.failed() || w.scope.escapes[v] {
		return nil
	}
	if users := w.scope.uses[v]; len(users) == 1 && slices.Contains(anyOf, users[0].Op) && w.scope.in[users[0]] {
		w.take(users[0])
		return users[0]
	}
	return nil
}

// chain is only, several times; it returns the last operation.
func (w *walk) chain(v *ir.Value, names ...*ir.Op) *ir.Node {
	var n *ir.Node
	for _, op := range names {
		n = w.only(v, op)
		v = n.Result
	}
	return n
}

// use takes the first use of v that is op; there may be other uses.
func (w *walk) use(v *ir.Value, op *ir.Op) *ir.Node {
	for _, n := range w.scope.uses[v] {
		if !w.failed() && n.Op == op && w.scope.in[n] {
			w.take(n)
			return n
		}
	}
	w.fail(v, "expected a use by %s", op.Name)
	return blank(op)
}

// operands returns the operand of n that pick accepts and the other one: for
// operations that do not mind their operands' order.
func (w *walk) operands(n *ir.Node, pick func(*ir.Value) bool) (picked, other *ir.Value) {
	a, b := n.Args[0], n.Args[1]
	switch {
	case w.failed():
	case pick(a):
	case pick(b):
		return b, a
	default:
		w.fail(n.Result, "neither operand is what the pattern has here")
	}
	return a, b
}

// same returns a predicate for operands: v itself.
func same(v *ir.Value) func(*ir.Value) bool {
	return func(x *ir.Value) bool { return x == v }
}

// size is a constant dimension; negative axes count from the end.
func (w *walk) size(v *ir.Value, axis int) int {
	if axis < 0 {
		axis += v.Type.Rank()
	}
	if axis < 0 || axis >= v.Type.Rank() {
		w.fail(v, "%s has no dimension %d", v.Type, axis)
		return 0
	}
	n, ok := v.Type.Shape[axis].Value()
	w.check(ok, v, "dimension %d of %s must be a number", axis, v.Type)
	return int(n)
}

// shaped requires dimensions behind the rows.
func (w *walk) shaped(v *ir.Value, sizes ...int) {
	ok := v.Type.Rank() == 1+len(sizes)
	for i := 0; ok && i < len(sizes); i++ {
		n, constant := v.Type.Shape[1+i].Value()
		ok = constant && n == int64(sizes[i])
	}
	w.check(ok, v, "expected %v behind the rows, is %s", sizes, v.Type)
}

// sameRows reports whether two values have the same first dimension.
func sameRows(a, b *ir.Value) bool {
	return a.Type.Rank() > 0 && b.Type.Rank() > 0 && a.Type.Shape[0].Equal(b.Type.Shape[0])
}

// formula requires two formulas to be one.
func (w *walk) formula(v *ir.Value, got, want ir.Expr) {
	w.check(got.Equal(want), v, "expected the formula %s, is %s", want, got)
}

// isInput reports whether v is the rows' field of that name (eval lists them).
func isInput(v *ir.Value, name string) bool { return v.Def == nil && v.Name == name }

func (w *walk) input(v *ir.Value, name string) {
	w.check(isInput(v, name), v, "expected the rows' %s", name)
}

// along requires an axis, counted from either end.
func (w *walk) along(n *ir.Node, axis int) {
	got := n.Attr.(ops.AxisAttr).Axis
	w.check(got == axis || got == axis-n.Args[0].Type.Rank(), n.Result, "expected axis %d, is %d", axis, got)
}

// spec takes an einsum and requires its spec, whatever its letters.
func (w *walk) spec(v *ir.Value, want string) *ir.Node {
	n := w.def(v, ops.Einsum)
	w.check(hasSpec(n, want), v, "expected the einsum %s", want)
	return n
}

func hasSpec(n *ir.Node, want string) bool {
	return n.Op == ops.Einsum && plainLetters(n.Attr.(ops.EinsumAttr).Spec) == plainLetters(want)
}

// plainLetters renames a spec's letters to a, b, c ... in the order of first use.
func plainLetters(spec string) string {
	seen := []rune{}
	out := []rune(spec)
	for i, r := range out {
		if r < 'A' || r == '>' {
			continue
		}
		at := slices.Index(seen, r)
		if at < 0 {
			at = len(seen)
			seen = append(seen, r)
		}
		out[i] = 'a' + rune(at)
	}
	return string(out)
}

// stateOf is the name of the state that v is a version of.
func (w *walk) stateOf(v *ir.Value) string {
	for v.Def != nil && v.Def.Op == ops.Append {
		v = v.Def.Args[0]
	}
	if v.Def == nil || v.Def.Op != ops.State {
		w.fail(v, "expected the version of a state")
		return ""
	}
	return v.Def.Symbol
}

func isBelow(x float64) bool { return math.IsInf(x, -1) }
