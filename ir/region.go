package ir

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/ir/fault"
)

// Region is a range of a module's nodes that is compiled as one: an overlay,
// which adds no meaning. The evaluator ignores regions, so a module computes
// the same bits with and without them.
type Region struct {
	Kind     string   // what family of kernels it is for, such as linear
	Name     string   // unique in the module
	From, To int      // its nodes are Module.Nodes[From:To]; ranges are disjoint and ascend
	Yields   []*Value // what is defined inside and used outside, and perhaps more
}

// Body returns the nodes of a region, in order.
func (m *Module) Body(r *Region) []*Node { return m.Nodes[r.From:r.To] }

// RegionOf maps each node that is in a region to it.
func (m *Module) RegionOf() map[*Node]*Region {
	of := map[*Node]*Region{}
	for _, r := range m.Regions {
		for _, n := range m.Body(r) {
			of[n] = r
		}
	}
	return of
}

// Inputs returns what a region uses and does not define, in the order of first
// use; state versions are among it.
func (r *Region) Inputs(m *Module) (inputs []*Value) {
	known := map[*Value]bool{}
	for _, n := range m.Body(r) {
		for _, a := range n.Args {
			if !known[a] {
				inputs = append(inputs, a)
			}
			known[a] = true
		}
		known[n.Result] = true
	}
	return inputs
}

// leaving lists the values that each region defines and something outside
// uses, in the order of definition.
func (m *Module) leaving() map[*Region][]*Value {
	of, outside := m.RegionOf(), map[*Value]bool{}
	for _, n := range m.Nodes {
		for _, a := range n.Args {
			if a.Def != nil && of[a.Def] != of[n] {
				outside[a] = true
			}
		}
	}
	for _, v := range m.Results {
		outside[v] = true
	}
	out := map[*Region][]*Value{}
	for _, r := range m.Regions {
		for _, n := range m.Body(r) {
			if outside[n.Result] {
				out[r] = append(out[r], n.Result)
			}
		}
	}
	return out
}

// computeYields sets what every region yields, but those in fixed.
func (m *Module) computeYields(fixed map[*Region]bool) {
	leaving := m.leaving()
	for _, r := range m.Regions {
		if !fixed[r] {
			r.Yields = leaving[r]
		}
	}
}

func (v *verifier) regions() error {
	names, end := map[string]bool{}, 0
	for i, r := range v.m.Regions {
		v.part, v.index = fault.Regions, i
		switch {
		case !validName(r.Kind):
			return fmt.Errorf("region @%s: kind %q is not a name", r.Name, r.Kind)
		case !validName(r.Name) || names[r.Name]:
			return fmt.Errorf("region @%s: not a name, or declared twice", r.Name)
		case r.From == r.To:
			return fmt.Errorf("region @%s is empty", r.Name)
		case r.From < end || r.To < r.From || r.To > len(v.m.Nodes):
			return fmt.Errorf("region @%s: [%d, %d) is not a range of operations from %d to %d", r.Name, r.From, r.To, end, len(v.m.Nodes))
		}
		names[r.Name], end = true, r.To
	}
	leaving := v.m.leaving()
	for i, r := range v.m.Regions {
		v.part, v.index = fault.Regions, i
		if err := v.yields(r, leaving[r]); err != nil {
			return fmt.Errorf("region @%s: %w", r.Name, err)
		}
	}
	return nil
}

// yields checks a region's list against what must be in it.
func (v *verifier) yields(r *Region, leaving []*Value) error {
	body := v.m.Body(r)
	seen := map[*Value]bool{}
	for _, y := range r.Yields {
		if y == nil || y.Def == nil || !slices.Contains(body, y.Def) {
			return fmt.Errorf("yields %s, which it does not define", y.Ref())
		}
		if seen[y] {
			return fmt.Errorf("yields %s twice", y.Ref())
		}
		seen[y] = true
	}
	for _, x := range leaving {
		if !seen[x] {
			return fmt.Errorf("%s is used outside and not among the yields", x.Ref())
		}
	}
	return nil
}
