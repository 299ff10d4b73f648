package main

import (
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
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
