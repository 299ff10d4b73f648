package fusion

import (
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// scoreSpec multiplies queries with the keys that a list names.
const scoreSpec = "thd,tkd->thk"

// read requires a reading of a state by this list in the rows' own slots.
func (w *walk) read(v, index *ir.Value) string {
	n := w.def(v, ops.Read)
	w.input(n.Args[1], "slot")
	w.check(n.Args[2] == index, v, "expected the rows %s of a state", index.Ref())
	w.check(n.Attr.(ops.ReadAttr).Missing == 0, v, "expected 0 where there is no row")
	if w.failed() {
		return ""
	}
	return w.stateOf(n.Args[0])
}

// visible requires the list of entries a row sees, (j+1)*ratio <= position+1,
// and returns the ratio.
func (w *walk) visible(v *ir.Value) int {
	n := w.def(v, ops.IndexRange)
	w.input(n.Args[0], "position")
	if w.failed() {
		return 0
	}
	limit, seen := n.Attr.(ops.IndexRangeAttr).Limit, ir.Sym("i").Add(ir.Const(1))
	tokens, ratio, ok := limit.Quotient()
	w.check(ok && tokens.Equal(seen), v, "expected the limit floor((i+1)/ratio), is %s", limit)
	if w.failed() {
		return 0
	}
	w.indexRange(v, n.Args[0], ir.Expr{}, w.scope.maxPosition().FloorDiv(ratio), limit)
	return int(ratio)
}

// indexRange requires a list of indices from x by these formulas.
func (w *walk) indexRange(v, x *ir.Value, first, count, limit ir.Expr) {
	n := w.def(v, ops.IndexRange)
	w.check(n.Args[0] == x, v, "expected indices from %s", x.Ref())
	a := n.Attr.(ops.IndexRangeAttr)
	w.formula(v, a.First, first)
	w.formula(v, a.Count, count)
	w.formula(v, a.Limit, limit)
}
