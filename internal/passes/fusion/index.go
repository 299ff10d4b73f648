package fusion

import (
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// IndexTopK picks, per row, the K entries with the largest sum over heads of
// weight times relu(q . key), of those visible: (j+1)*Ratio <= position+1.
// Order: higher score, then lower index; result ascending, -1 behind.
type IndexTopK struct {
	Q       *ir.Value // [T, Heads, Dim], finished
	Weights *ir.Value // [T, Heads]
	Keys    string    // state
	Heads   int
	Dim     int
	Ratio   int
	K       int
	Result  *ir.Value // [T, K] i32
}

// KindIndexTopK is the kind of region that IndexTopK views.
var KindIndexTopK = &Pattern[IndexTopK]{
	Row: Row{
		Name: "index_topk",
		Pass: "fuse-index",
		Doc:  "the indexer's scores and its choice of entries",
	},
	begin: indexAt, results: indexResults, name: indexName,
}

const headsSpec = "th,thk->tk" // weights, matches

func indexResults(t *IndexTopK) []*ir.Value { return []*ir.Value{t.Result} }

func indexName(t *IndexTopK) string { return regionName("topk", t.Weights, t.Keys) }

// indexAt walks back from a choice among listed entries.
func indexAt(w *walk, n *ir.Node) *IndexTopK {
	if n.Op != ops.TopK || len(n.Args) != 2 {
		return nil
	}
	w.take(n)
	t := &IndexTopK{K: n.Attr.(ops.TopKAttr).K, Result: n.Result}
	seen := n.Args[1]
	t.Ratio = w.visible(seen)
	sum := w.spec(n.Args[0], headsSpec)
	t.Weights = sum.Args[0]
	match := w.spec(w.def(sum.Args[1], ops.Relu).Args[0], scoreSpec)
	t.Q = match.Args[0]
	t.Keys = w.read(match.Args[1], seen)
	t.Heads, t.Dim = w.size(t.Q, 1), w.size(t.Q, 2)
	return t
}
