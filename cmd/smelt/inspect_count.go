package main

import (
	"math/bits"

	"smelt/ir"
	"smelt/ir/ops"
	"smelt/models/checkpoint"
)

// elements is how many numbers a parameter of this type has.
func elements(t ir.Type) int64 {
	n := int64(1)
	for _, d := range t.Shape {
		size, _ := d.Value() // the verifier knows parameters are constant
		n *= size
	}
	return n
}

// activeValues is how many numbers of each parameter, in the module's order,
// one token meets. The graph tells: an operation that looks rows up meets one
// of them, expert matmuls the chosen experts, everything else all.
func activeValues(m *ir.Module) []int64 {
	met := make(map[string]int64, len(m.Params))
	for _, n := range m.Nodes {
		for i, arg := range n.Args {
			if arg.Def == nil || arg.Def.Op != ops.Dequantize {
				continue
			}
			name := arg.Def.Symbol
			met[name] = max(met[name], metBy(n, i))
		}
	}
	active := make([]int64, len(m.Params))
	for i, p := range m.Params {
		active[i] = met[p.Name]
	}
	return active
}

// metBy is how many numbers of the weight at place i an operation meets per token.
func metBy(n *ir.Node, i int) int64 {
	weight := n.Args[i].Type
	values := elements(weight)
	lead, _ := weight.Shape[0].Value()
	switch {
	case n.Op == ops.TakeRows && i == 0:
		return values / lead
	case n.Op == ops.ExpertMatmul:
		ids := n.Args[1].Type.Shape
		used, _ := ids[len(ids)-1].Value()
		return values / lead * used
	}
	return values
}

// viewBytes is how many bytes a view takes up in all its tensors. Views that
// share tensors add up to the tensors' sizes, even where a scale spans them.
func viewBytes(v *checkpoint.View) int64 {
	rows := int64(rowsOf(v.Weight.Shape))
	first, last := int64(v.StoredFirst), int64(v.StoredFirst+v.Rows)
	total := int64(0)
	for _, t := range []*checkpoint.Tensor{v.Weight, v.Scales, v.Biases} {
		if t != nil {
			total += share(t.Bytes, last, rows) - share(t.Bytes, first, rows)
		}
	}
	return total
}

// share is floor(n*part/whole) for n >= 0 and 0 <= part <= whole > 0, without
// overflow.
func share(n, part, whole int64) int64 {
	hi, lo := bits.Mul64(uint64(n), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return int64(q)
}

// encodingName is the stored format of a view, the element type for integers.
func encodingName(v *checkpoint.View) string {
	if v.Encoding == nil {
		return string(v.Weight.DType)
	}
	return v.Encoding.Name()
}
