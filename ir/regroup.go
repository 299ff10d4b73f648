package ir

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
)

// Group is a set of nodes that will become a region of that kind and name.
type Group struct {
	Kind, Name string
	Nodes      []*Node
}

// Regroup returns m with regions made of groups, in addition to those it has.
// Nodes are moved so that each region is contiguous, and otherwise stay in
// their order as far as that allows; a read of a state's version stays before
// the append that consumes it. A node may be in one group, and in none if it is
// in a region. What regions yield is computed anew. It is an error if a region would have to run before itself; the
// message names what the circle goes through.
func Regroup(m *Module, groups []Group) (*Module, error) {
	units, err := unitsOf(m, groups)
	if err != nil {
		return nil, err
	}
	ordered, err := sortUnits(units)
	if err != nil {
		return nil, fmt.Errorf("module @%s: %w", m.Name, err)
	}
	b := newRebuild(m)
	for _, u := range ordered {
		body := func() {
			for _, n := range u.nodes {
				b.place(n, (*Rebuild).Copy)
			}
		}
		if u.group == nil {
			body()
		} else {
			b.rebuildRegion(u.group.Kind, u.group.Name, body)
		}
	}
	return b.finish(m)
}

// unit stays together: a region to be, or a single node.
type unit struct {
	group *Group  // its kind and name; nil for a single node
	nodes []*Node // in the module's order
	first int     // the place of nodes[0] in the module
	uses  []*unit // what must stand before it, in the order of discovery
	users []*unit
	waits int // units of uses that are not placed yet
}

func (u *unit) String() string {
	if u.group != nil {
		return "region @" + u.group.Name
	}
	return u.nodes[0].Result.Ref()
}

// unitsOf divides a module's nodes, in their order, and links the units.
func unitsOf(m *Module, groups []Group) ([]*unit, error) {
	of, err := members(m, groups)
	if err != nil {
		return nil, fmt.Errorf("module @%s: %w", m.Name, err)
	}
	var units []*unit
	for i, n := range m.Nodes {
		u := of[n]
		if u == nil {
			u = &unit{}
			of[n] = u
		}
		if u.nodes == nil {
			u.first = i
			units = append(units, u)
		}
		u.nodes = append(u.nodes, n)
	}
	link(m, of)
	return units, nil
}

// members gives each node of a region or group its unit, still empty.
func members(m *Module, groups []Group) (map[*Node]*unit, error) {
	of := map[*Node]*unit{}
	for _, r := range m.Regions {
		u := &unit{group: &Group{Kind: r.Kind, Name: r.Name}}
		for _, n := range m.Body(r) {
			of[n] = u
		}
	}
	known := map[*Node]bool{}
	for _, n := range m.Nodes {
		known[n] = true
	}
	for _, g := range groups {
		u := &unit{group: &g}
		if len(g.Nodes) == 0 {
			return nil, fmt.Errorf("%s: no operations are given", u)
		}
		for _, n := range g.Nodes {
			if !known[n] {
				return nil, fmt.Errorf("%s: an operation is not of this module", u)
			}
			if by := of[n]; by != nil {
				return nil, fmt.Errorf("%s: %s is in %s already", u, n.Result.Ref(), by)
			}
			of[n] = u
		}
	}
	return of, nil
}

// link records which unit must stand before which: the definition of an operand
// before its use, and all other uses of a state's version before its append.
func link(m *Module, of map[*Node]*unit) {
	known := map[[2]*unit]bool{}
	before := func(a, b *unit) {
		if a != b && !known[[2]*unit{a, b}] {
			known[[2]*unit{a, b}] = true
			b.uses, a.users = append(b.uses, a), append(a.users, b)
			b.waits++
		}
	}
	readers := map[*Value][]*unit{} // of a version, so far; its append is the last in a verified module
	for _, n := range m.Nodes {
		for _, a := range n.Args {
			if a.Def != nil {
				before(of[a.Def], of[n])
			}
			if !a.Type.State {
				continue
			}
			if n.Op.Effect == AppendsState {
				for _, r := range readers[a] {
					before(r, of[n])
				}
			}
			readers[a] = append(readers[a], of[n])
		}
	}
}

// sortUnits orders units so that each stands behind what it uses: of those that
// can be next, always the one that began first in the module.
func sortUnits(units []*unit) ([]*unit, error) {
	var ready firstHeap
	for _, u := range units {
		if u.waits == 0 {
			ready = append(ready, u) // in the order of first, so a heap
		}
	}
	var ordered []*unit
	for len(ready) > 0 {
		u := heap.Pop(&ready).(*unit)
		ordered = append(ordered, u)
		for _, user := range u.users {
			if user.waits--; user.waits == 0 {
				heap.Push(&ready, user)
			}
		}
	}
	if len(ordered) < len(units) {
		return nil, circle(units)
	}
	return ordered, nil
}

// circle describes units that wait for each other.
func circle(units []*unit) error {
	stuck := func(u *unit) bool { return u.waits > 0 }
	var path []*unit
	for u := units[slices.IndexFunc(units, stuck)]; ; {
		if at := slices.Index(path, u); at >= 0 {
			path = append(path[at:], u)
			break
		}
		path = append(path, u)
		u = u.uses[slices.IndexFunc(u.uses, stuck)]
	}
	var names []string
	for _, u := range path {
		names = append(names, u.String())
	}
	return fmt.Errorf("regions cannot be contiguous, each of these needs the next one first: %s", strings.Join(names, ", "))
}

// firstHeap gives the unit that began first.
type firstHeap []*unit

func (h firstHeap) Len() int           { return len(h) }
func (h firstHeap) Less(i, j int) bool { return h[i].first < h[j].first }
func (h firstHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds a *unit; package heap calls it.
func (h *firstHeap) Push(u any) { *h = append(*h, u.(*unit)) }

// Pop removes the last *unit; package heap calls it.
func (h *firstHeap) Pop() any {
	last := len(*h) - 1
	u := (*h)[last]
	*h = (*h)[:last]
	return u
}
