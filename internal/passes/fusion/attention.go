package fusion

import (
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Attention is sparse attention with a sink over the last Window rows of a
// state and entries of another: those Selected, or all visible ones.
type Attention struct {
	Q        *ir.Value    // [T, Heads*Dim] raw product
	QNorm    *Norm        // per head
	Rope     ops.RopeAttr // of q; the result is rotated back
	Heads    int
	Dim      int
	Window   string // state
	Size     int    // of the window, this row's position included
	Entries  string // state; empty if none
	Ratio    int
	Selected *ir.Value // [T, K] i32, -1 for none; nil: all visible
	Scale    float64
	Sink     string    // parameter [Heads]
	Result   *ir.Value // [T, Heads, Dim], rotated back
}

// KindAttention is the kind of region that Attention views.
var KindAttention = &Pattern[Attention]{
	Row: Row{
		Name: "attention",
		Pass: "fuse-attention",
		Doc:  "sparse attention over a window and entries",
		Before: []Order{
			{"fuse-linear", "queries are cut into heads, normed and rotated where attention reads them"},
		},
	},
	begin: attentionAt, results: attentionResults, name: attentionName,
}

const sumSpec = "thk,tkd->thd" // probabilities, values

func attentionResults(a *Attention) []*ir.Value { return []*ir.Value{a.Result} }

func attentionName(a *Attention) string {
	return regionName("attend", nil, a.Window, a.Entries, a.Sink)
}

// attentionAt walks both ways from the softmax with a sink.
func attentionAt(w *walk, n *ir.Node) *Attention {
	if n.Op != ops.SinkSoftmax {
		return nil
	}
	w.take(n)
	a := &Attention{Sink: w.weight(n.Args[1]), Scale: 1}
	masked := w.def(n.Args[0], ops.Mask)
	w.check(isBelow(masked.Attr.(ops.MaskAttr).Fill), masked.Result, "expected -inf where there is no key")
	scores := masked.Args[0]
	if w.is(scores, ops.Scale) {
		scaled := w.def(scores, ops.Scale)
		a.Scale, scores = scaled.Attr.(ops.ByAttr).By, scaled.Args[0]
	}
	match := w.spec(scores, scoreSpec)
	keys := match.Args[1]
	w.query(a, match.Args[0])
	w.keys(a, keys, masked.Args[1])

	summed := w.only(n.Result, ops.Einsum)
	w.check(hasSpec(summed, sumSpec) && summed.Args[1] == keys, summed.Result, "expected a weighted sum of the keys %s", keys.Ref())
	back := w.only(summed.Result, ops.Rope)
	w.input(back.Args[1], "position")
	inverse := a.Rope
	inverse.Inverse = !inverse.Inverse
	w.check(back.Attr.(ops.RopeAttr) == inverse, back.Result, "expected the inverse of the queries' rotation")
	a.Result = back.Result
	return a
}

// query walks back from the finished queries to the raw product.
func (w *walk) query(a *Attention, v *ir.Value) {
	a.Heads, a.Dim = w.size(v, 1), w.size(v, 2)
	rotated := w.def(v, ops.Rope)
	w.input(rotated.Args[1], "position")
	a.Rope = rotated.Attr.(ops.RopeAttr)
	v = rotated.Args[0]
	if norm, x := w.norm(v); norm != nil {
		a.QNorm, v = norm, x
	}
	a.Q = w.def(v, ops.Reshape).Args[0]
	w.shaped(a.Q, a.Heads*a.Dim)
}

// keys reads the window's rows, and those of entries behind them.
func (w *walk) keys(a *Attention, keys, index *ir.Value) {
	if w.is(keys, ops.Concat) {
		rows, ids := w.def(keys, ops.Concat), w.def(index, ops.Concat)
		w.along(rows, 1)
		w.along(ids, 1)
		w.check(len(rows.Args) == 2 && len(ids.Args) == 2, keys, "expected the window's rows, then entries")
		if w.failed() {
			return
		}
		seen := ids.Args[1]
		a.Entries = w.read(rows.Args[1], seen)
		if w.is(seen, ops.IndexRange) {
			a.Ratio = w.visible(seen)
		} else {
			a.Selected = seen
		}
		keys, index = rows.Args[0], ids.Args[0]
	}
	a.Window, a.Size = w.read(keys, index), w.size(index, 1)
	i, size := ir.Sym("i"), ir.Const(int64(a.Size))
	position := w.def(index, ops.IndexRange).Args[0]
	w.input(position, "position")
	w.indexRange(index, position, i.Sub(size).Add(ir.Const(1)), size, i.Add(ir.Const(1)))
}
