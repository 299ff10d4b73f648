package passes

import (
	"slices"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// canonicalise applies the rules below, then drops dead operations. All are
// exact: bits stay.
func canonicalise(c *passRun, m *ir.Module) (*ir.Module, error) {
	m, err := simplify(c, m)
	if err != nil {
		return nil, err
	}
	return dropDead(c, m)
}

func simplify(c *passRun, m *ir.Module) (*ir.Module, error) {
	return ir.Rewrite(m, func(b *ir.Rebuild, n *ir.Node) *ir.Value {
		for _, r := range rules {
			if n.Op != r.op {
				continue
			}
			if v := r.apply(b, n); v != nil {
				c.fired(r.name)
				return v
			}
		}
		return nil
	})
}

func dropDead(c *passRun, m *ir.Module) (*ir.Module, error) {
	live := liveNodes(m)
	if !slices.ContainsFunc(m.Nodes, func(n *ir.Node) bool { return !live[n] }) {
		return m, nil
	}
	return ir.Rewrite(m, func(b *ir.Rebuild, n *ir.Node) *ir.Value {
		if live[n] {
			return nil
		}
		c.fired("dead code")
		return b.Drop(n)
	})
}

// rule replaces one operation; apply returns nil where it does not apply.
// Named values stay: a trace may ask for them.
type rule struct {
	name  string
	op    *ir.Op
	apply func(b *ir.Rebuild, n *ir.Node) *ir.Value
}

var rules = []rule{
	{"reshape to the same shape", ops.Reshape, sameShape},
	{"slice of all", ops.Slice, sameShape},
	{"reshape of a reshape", ops.Reshape, func(b *ir.Rebuild, n *ir.Node) *ir.Value {
		inner := b.Value(n.Args[0])
		if inner.Def == nil || inner.Def.Op != ops.Reshape {
			return nil
		}
		return b.Add(ops.Reshape, n.Attr, inner.Def.Args[0])
	}},
}

// sameShape gives the operand in place of an operation that only copies it.
func sameShape(b *ir.Rebuild, n *ir.Node) *ir.Value {
	if n.Result.Name != "" || !n.Result.Type.Equal(n.Args[0].Type) {
		return nil
	}
	return b.Value(n.Args[0])
}

// liveNodes are those that a result or an append depends on.
func liveNodes(m *ir.Module) map[*ir.Node]bool {
	live := map[*ir.Node]bool{}
	for _, r := range m.Results {
		live[r.Def] = true
	}
	for i := len(m.Nodes) - 1; i >= 0; i-- {
		n := m.Nodes[i]
		if n.Op.Effect == ir.AppendsState {
			live[n] = true
		}
		if !live[n] {
			continue
		}
		for _, a := range n.Args {
			live[a.Def] = true
		}
	}
	return live
}
