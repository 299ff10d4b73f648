package fusion

import (
	"fmt"

	"smelt/ir"
)

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

// reach is the symbol of the step's reach, as an expression.
func (s *Scope) reach() ir.Expr {
	for _, sym := range s.module.Symbols {
		if sym.Def == ir.Reach {
			return ir.Sym(sym.Name)
		}
	}
	return ir.Expr{}
}

// Found is one instance of a pattern in a module.
type Found[V any] struct {
	Kind  string
	View  *V
	Name  string     // for the region: from the parameters and states in it
	Nodes []*ir.Node // all its operations
}

// Miss is a place that looks like an instance's beginning and is none.
type Miss struct {
	Kind string
	At   *ir.Value
	Why  error
}

func (m Miss) String() string { return fmt.Sprintf("no %s at %s: %v", m.Kind, m.At.Ref(), m.Why) }

// pattern is what one kind of region looks like.
type pattern[V any] struct {
	kind string
	// at walks from n and returns what it finds; nil if no instance begins at n.
	at func(w *walk, n *ir.Node) *V
	// results lists the values of a view that operations outside may use.
	results func(v *V) []*ir.Value
	name    func(v *V) string
}

// instance walks from n. It gives nil, nil where nothing begins.
func (p pattern[V]) instance(s *Scope, n *ir.Node) (*V, *walk) {
	w := &walk{scope: s, taken: map[*ir.Node]bool{}}
	v := p.at(w, n)
	if v == nil && !w.failed() {
		return nil, nil
	}
	if !w.failed() {
		w.closed(p.results(v))
	}
	return v, w
}

// closed requires that only results are used by others.
func (w *walk) closed(results []*ir.Value) {
	visible := map[*ir.Value]bool{}
	for _, v := range results {
		visible[v] = true
	}
	for _, n := range w.order {
		v := n.Result
		if visible[v] {
			continue
		}
		w.check(!w.scope.escapes[v], v, "is used outside, but is no result of the fusion")
		for _, u := range w.scope.uses[v] {
			w.check(w.taken[u], v, "is used by %s, which is not part of the fusion", described(u.Result))
		}
	}
}

// find lists all instances in a scope, in the order they begin, and the places
// that nearly were one.
func (p pattern[V]) find(s *Scope) (found []Found[V], misses []Miss) {
	for _, n := range s.nodes {
		if !s.in[n] {
			continue
		}
		v, w := p.instance(s, n)
		if w == nil {
			continue
		}
		if w.failed() {
			misses = append(misses, Miss{p.kind, n.Result, w.why})
			continue
		}
		for _, n := range w.order {
			delete(s.in, n)
		}
		found = append(found, Found[V]{p.kind, v, p.name(v), w.order})
	}
	return found, misses
}

// view reads a region, whose body must be exactly one instance.
func (p pattern[V]) view(m *ir.Module, r *ir.Region) (*V, error) {
	fail := func(err error) error { return fmt.Errorf("region @%s of kind %s: %w", r.Name, r.Kind, err) }
	if r.Kind != p.kind {
		return nil, fail(fmt.Errorf("is not of kind %s", p.kind))
	}
	s := bodyOf(m, r)
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, n := range s.nodes {
		v, w := p.instance(s, n)
		switch {
		case w == nil:
			continue
		case w.failed():
			note(w.why)
			continue
		case len(w.order) == len(s.nodes):
			return v, nil
		}
		for _, n := range s.nodes {
			if !w.taken[n] {
				note(fmt.Errorf("%s: is not part of the fusion", described(n.Result)))
			}
		}
	}
	note(fmt.Errorf("its operations do not have the fusion's form"))
	return nil, fail(first)
}

// Misses lists what nearly is a fusion among the operations that are in no
// region, for messages.
func Misses(m *ir.Module) (all []Miss) {
	all = append(all, missesOf(m, FindMix)...)
	all = append(all, missesOf(m, FindExperts)...)
	all = append(all, missesOf(m, FindAttention)...)
	all = append(all, missesOf(m, FindIndexTopK)...)
	all = append(all, missesOf(m, FindCache)...)
	return append(all, missesOf(m, FindLinear)...)
}

func missesOf[V any](m *ir.Module, find func(*Scope) ([]Found[V], []Miss)) []Miss {
	_, misses := find(Free(m))
	return misses
}

// View reads a region of any kind: the result is a *Linear, *Cache,
// *IndexTopK, *Attention, *Mix or *Experts. It is an error if the region's body
// is not exactly one fusion of its kind.
func View(m *ir.Module, r *ir.Region) (any, error) {
	switch r.Kind {
	case KindLinear:
		return ViewLinear(m, r)
	case KindCache:
		return ViewCache(m, r)
	case KindIndexTopK:
		return ViewIndexTopK(m, r)
	case KindAttention:
		return ViewAttention(m, r)
	case KindMix:
		return ViewMix(m, r)
	case KindExperts:
		return ViewExperts(m, r)
	}
	return nil, fmt.Errorf("region @%s: kind %q is unknown", r.Name, r.Kind)
}
