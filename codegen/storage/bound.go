package storage

import (
	"smelt/ir"
	"smelt/ir/encoding"
	"smelt/models/checkpoint"
	"smelt/models/checkpoint/safetensors"
)

// Bound describes the parameters of a graph as a binding has them. Extents
// count files in the order of ck.Files.
func Bound(ck *checkpoint.Checkpoint, b *checkpoint.Binding, graph *ir.Module) Parameters {
	leads := map[string]int{}
	for _, p := range graph.Params {
		leads[p.Name] = 1
		if p.Type.Rank() == 3 {
			n, _ := p.Type.Shape[0].Value() // the verifier knows parameters are constant
			leads[p.Name] = int(n)
		}
	}
	files := map[*safetensors.File]int{}
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
		if p.Integer {
			q.Integer = encoding.DType(p.Encoding())
		} else {
			q.Encoding, _ = encoding.Parse(p.Encoding()) // nil for mixed, which Get's users refuse
		}
		for _, v := range p.Views {
			q.Pieces = append(q.Pieces, Piece{v.First, v.Rows, v.StoredFirst, extent(v.Weight), extent(v.Scales), extent(v.Biases)})
		}
		out[q.Name] = q
	}
	return out
}
