package fusion

import (
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Experts routes rows and computes the chosen experts' hidden vectors, each
// times its routing weight.
type Experts struct {
	X        *ir.Value // [T, D]
	Logits   *ir.Value // [T, experts]: x . gate; scores are sqrt(softplus)
	Bias     string    // parameter added for the choice only; empty with Table
	Table    string    // hash routing: ids of the token; empty else
	Experts  int
	K        int
	Scale    float64
	Gate, Up string // parameters [experts, F, D]
	F        int
	Limit    float64
	IDs      *ir.Value // [T, K] ascending
	Weights  *ir.Value // [T, K]
	Mid      *ir.Value // [T, K, F]
}

// KindExperts is the kind of region that Experts views.
var KindExperts = &Pattern[Experts]{
	Row: Row{
		Name: "experts",
		Pass: "fuse-experts",
		Doc:  "routing and the chosen experts' hidden vectors",
	},
	begin: expertsAt, results: expertsResults, name: expertsName,
}

func expertsResults(e *Experts) []*ir.Value { return []*ir.Value{e.IDs, e.Weights, e.Mid} }

func expertsName(e *Experts) string {
	return regionName("experts", nil, e.Gate, e.Up, e.Bias, e.Table)
}

// expertsAt walks both ways from the scores of the chosen experts.
func expertsAt(w *walk, n *ir.Node) *Experts {
	if n.Op != ops.TakeAlong {
		return nil
	}
	w.take(n)
	e := &Experts{IDs: n.Args[1], Scale: 1}
	scores := n.Args[0]
	root := w.def(scores, ops.Sqrt)
	e.Logits = w.def(root.Args[0], ops.Softplus).Args[0]
	e.Experts, e.K = w.size(e.Logits, 1), w.size(e.IDs, 1)
	w.choice(e, scores)
	w.weights(e, n.Result)
	w.hidden(e)
	return e
}

// choice is how the experts are picked: by score, or by a table over tokens.
func (w *walk) choice(e *Experts, scores *ir.Value) {
	if w.is(e.IDs, ops.Sort) {
		rows := w.def(w.def(e.IDs, ops.Sort).Args[0], ops.TakeRows)
		w.input(rows.Args[1], "token")
		e.Table = w.weight(rows.Args[0])
		return
	}
	top := w.def(e.IDs, ops.TopK)
	w.check(len(top.Args) == 1, top.Result, "expected a choice among all experts")
	if top.Args[0] == scores {
		return
	}
	_, bias := w.operands(w.def(top.Args[0], ops.Add), same(scores))
	e.Bias = w.vector(bias, e.Experts)
}

// weights is chosen / sum of chosen, times a scale.
func (w *walk) weights(e *Experts, chosen *ir.Value) {
	sum := w.use(chosen, ops.ReduceSum)
	w.along(sum, 1)
	div := w.chain(sum.Result, ops.Reshape, ops.Div)
	w.shaped(div.Args[1], 1)
	w.check(div.Args[0] == chosen && div.Args[1] != chosen, div.Result, "expected the shares of %s", chosen.Ref())
	e.Weights = div.Result
	if n := w.next(e.Weights, ops.Scale); n != nil {
		e.Scale, e.Weights = n.Attr.(ops.ByAttr).By, n.Result
	}
}

// hidden is the experts' clamped SwiGLU, times the weights.
func (w *walk) hidden(e *Experts) {
	wide := w.use(e.Weights, ops.Reshape)
	mid := w.only(wide.Result, ops.Mul)
	w.shaped(wide.Result, e.K, 1)
	_, active := w.operands(mid, same(wide.Result))
	gate, up, limit := w.swiglu(active)
	e.Limit, e.Mid = limit, mid.Result
	g, u := w.def(gate, ops.ExpertMatmul), w.def(up, ops.ExpertMatmul)
	e.X, e.F = g.Args[0], w.size(gate, 2)
	w.check(u.Args[0] == e.X && g.Args[1] == e.IDs && u.Args[1] == e.IDs, u.Result,
		"expected gate and product of one input, for the experts %s", e.IDs.Ref())
	e.Gate, e.Up = w.weight(g.Args[2]), w.weight(u.Args[2])
}
