package fusion

import (
	"fmt"

	"smelt.example/smelt/ir"
)

// Found is one instance of a kind in a module.
type Found struct {
	Kind  string
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

// Pattern is a kind of region and what it looks like. V is its view: what a
// region's kernels need to know of its body.
type Pattern[V any] struct {
	Row
	// begin walks from n and returns what it finds; nil if no instance begins at n.
	begin func(w *walk, n *ir.Node) *V
	// results lists the values of a view that operations outside may use.
	results func(v *V) []*ir.Value
	// name is a region's, from the parameters and states in it.
	name func(v *V) string
}

// instance walks from n. It gives nil, nil where nothing begins.
func (p *Pattern[V]) instance(s *Scope, n *ir.Node) (*V, *walk) {
	w := &walk{scope: s, taken: map[*ir.Node]bool{}}
	v := p.begin(w, n)
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

// Find lists all instances in a scope, in the order they begin, and the places
// that nearly were one.
func (p *Pattern[V]) Find(s *Scope) (found []Found, misses []Miss) {
	for _, n := range s.nodes {
		if !s.in[n] {
			continue
		}
		v, w := p.instance(s, n)
		if w == nil {
			continue
		}
		if w.failed() {
			misses = append(misses, Miss{p.Name, n.Result, w.why})
			continue
		}
		for _, n := range w.order {
			delete(s.in, n)
		}
		found = append(found, Found{p.Name, p.name(v), w.order})
	}
	return found, misses
}

// View reads a region. It is an error if its body is not exactly one instance.
func (p *Pattern[V]) View(m *ir.Module, r *ir.Region) (*V, error) {
	fail := func(err error) error { return fmt.Errorf("region @%s of kind %s: %w", r.Name, r.Kind, err) }
	if r.Kind != p.Name {
		return nil, fail(fmt.Errorf("is not of kind %s", p.Name))
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

func (p *Pattern[V]) view(m *ir.Module, r *ir.Region) (any, error) { return p.View(m, r) }
