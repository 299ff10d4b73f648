package fusion

import (
	"smelt/ir"
	"smelt/ir/ops"
)

var indexPattern = pattern[IndexTopK]{kind: KindIndexTopK, at: indexAt, results: indexResults, name: indexName}

// FindIndexTopK lists the choices of entries by an indexer in a scope.
func FindIndexTopK(s *Scope) ([]Found[IndexTopK], []Miss) { return indexPattern.find(s) }

// ViewIndexTopK reads a region of kind index_topk.
func ViewIndexTopK(m *ir.Module, r *ir.Region) (*IndexTopK, error) { return indexPattern.view(m, r) }

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
