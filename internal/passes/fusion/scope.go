package fusion

import "smelt.example/smelt/ir"

// Scope is the operations that a finder may take, with who uses their results.
// What a finder has found leaves the scope.
type Scope struct {
	module  *ir.Module
	nodes   []*ir.Node // in order
	in      map[*ir.Node]bool
	uses    map[*ir.Value][]*ir.Node
	escapes map[*ir.Value]bool       // used by what uses does not list
	body    bool                     // a region's: one instance, and all of it
	appends map[*ir.Value][]*ir.Node // of entries, by origin; see entriesWith
}

// Free is the scope of a module's operations that are in no region.
func Free(m *ir.Module) *Scope {
	s := newScope(m, m.Nodes)
	for n := range m.RegionOf() {
		delete(s.in, n)
	}
	for _, r := range m.Results {
		s.escapes[r] = true
	}
	return s
}

// bodyOf is the scope of a region's operations.
func bodyOf(m *ir.Module, r *ir.Region) *Scope {
	s := newScope(m, m.Body(r))
	s.body = true
	for _, y := range r.Yields {
		s.escapes[y] = true
	}
	return s
}

func newScope(m *ir.Module, nodes []*ir.Node) *Scope {
	s := &Scope{module: m, nodes: nodes, in: map[*ir.Node]bool{}, uses: map[*ir.Value][]*ir.Node{}, escapes: map[*ir.Value]bool{}}
	for _, n := range nodes {
		s.in[n] = true
		for _, a := range n.Args {
			s.uses[a] = append(s.uses[a], n)
		}
	}
	return s
}

// maxPosition is the symbol of the step's reach, as an expression.
func (s *Scope) maxPosition() ir.Expr {
	for _, sym := range s.module.Symbols {
		if sym.Def == ir.Reach {
			return ir.Sym(sym.Name)
		}
	}
	return ir.Expr{}
}
