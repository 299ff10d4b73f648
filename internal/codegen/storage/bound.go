package storage

import (
	"fmt"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/models/checkpoint"
)

// Bound describes the parameters of a graph as a binding has them. Extents
// count files in the order of ck.Files. It fails for a parameter that is stored
// in several formats, which no kernel reads.
func Bound(ck *checkpoint.Checkpoint, b *checkpoint.Binding, graph *ir.Module) (Parameters, error) {
	leads := map[string]int{}
	for _, p := range graph.Params {
		_, _, leads[p.Name] = Shape(p.Type)
	}
	files := map[checkpoint.File]int{}
	for i, f := range ck.Files {
		files[f] = i
	}
	extent := func(t *checkpoint.Tensor) Extent {
		if t == nil {
			return Extent{}
		}
		return Extent{files[t.File], t.Offset, t.Bytes}
	}
	out := Parameters{}
	for i := range b.Params {
		p := &b.Params[i]
		q := &Parameter{Name: p.Name, Rows: p.Rows, Cols: p.Cols, Lead: leads[p.Name]}
		var err error
		if q.Encoding, q.Integer, err = p.Format(); err != nil {
			return nil, fmt.Errorf("%s: %w", ck.Dir, err)
		}
		for _, v := range p.Views {
			q.Pieces = append(q.Pieces, Piece{v.First, v.Rows, v.StoredFirst, extent(v.Weight), extent(v.Scales), extent(v.Biases)})
		}
		out[q.Name] = q
	}
	return out, nil
}

// Shape is how a parameter of a graph is seen as a matrix: all dimensions but the
// last are rows; lead is the first of three, else 1.
func Shape(t ir.Type) (rows, cols, lead int) {
	rows, cols, lead = 1, 1, 1
	for i, d := range t.Shape {
		n, _ := d.Value() // the verifier knows parameters are constant
		if i == t.Rank()-1 {
			cols = int(n)
		} else {
			rows *= int(n)
		}
		if i == 0 && t.Rank() == 3 {
			lead = int(n)
		}
	}
	return rows, cols, lead
}
