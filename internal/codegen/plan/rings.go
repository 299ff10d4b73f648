package plan

import (
	"slices"

	"smelt.example/smelt/internal/codegen/lower"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// A slot's ring has room for what is looked back to and what a decode step appends. A
// chunk of a prompt needs more, but only while its layer runs: a prefill step has an area
// of the arena for each ring, into which the slot's rows are copied before the state's
// first use and from which the newest go back after its last. The area lives no longer,
// so layers share memory. The copies are dispatches like others.

// cachesOf are the layouts of the states' memory as kernels of a kind of step find it.
func (p *Plan) cachesOf(phase program.Phase) map[string]*program.Cache {
	caches := map[string]*program.Cache{}
	for _, c := range p.Caches {
		caches[c.State.Name] = &c.Cache
		if c.Ring && phase == program.Prefill {
			caches[c.State.Name] = p.areaOf(c)
		}
	}
	return caches
}

// areaOf is the layout of a ring's area.
func (p *Plan) areaOf(c *Cache) *program.Cache {
	keep, _ := c.State.Keep.Value()
	return &program.Cache{State: c.State, Row: c.Row, Capacity: program.AreaRows(max(int(keep), 1), p.Chunk, p.Context), Ring: true, Slots: 1, Area: true}
}

// area is the buffer of a ring's area.
func (b *builder) area(c *Cache) *Buffer {
	name := c.State.Name
	if b.areas[name] == nil {
		layout := b.plan.areaOf(c)
		b.areas[name] = &Buffer{Name: program.RingsRegion + "/" + name, Bytes: ir.Const(int64(layout.Capacity) * int64(layout.Row.Bytes)), Scratch: true, Area: layout}
		b.step.Buffers = append(b.step.Buffers, b.areas[name])
	}
	return b.areas[name]
}

// ringUse is a group of rings that are copied together, and the launches from its first
// use to its last, counted over all regions.
type ringUse struct {
	states      []string
	first, last int
}

// copies are the states that are copied in before a launch, and out after it.
type copies struct{ before, after map[int][][]string }

// ringCopies says where rings are copied. Those that a launch names together are copied
// together: mostly a layer's.
func (b *builder) ringCopies(all []lowered) copies {
	out := copies{map[int][][]string{}, map[int][][]string{}}
	if b.step.Phase != program.Prefill {
		return out
	}
	var groups []*ringUse
	at := 0
	for _, x := range all {
		for _, l := range x.launches {
			if states := b.looksBack(l); len(states) > 0 {
				groups = join(groups, &ringUse{states, at, at})
			}
			at++
		}
	}
	for _, g := range groups {
		for states := range slices.Chunk(g.states, program.MaxRings) {
			out.before[g.first] = append(out.before[g.first], states)
			out.after[g.last] = append(out.after[g.last], states)
		}
	}
	return out
}

// looksBack lists the rings that a launch binds of which a slot has rows to copy.
func (b *builder) looksBack(l program.Launch) (states []string) {
	for _, a := range l.Args {
		for _, c := range b.plan.Caches {
			if c.State.Name != a.State || !c.Ring || slices.Contains(states, a.State) {
				continue
			}
			if keep, _ := c.State.Keep.Value(); keep > 1 {
				states = append(states, a.State)
			}
		}
	}
	return states
}

// join adds a later use to groups: those that share a state with it become one.
func join(groups []*ringUse, u *ringUse) (out []*ringUse) {
	var shared *ringUse
	for _, g := range groups {
		meets := slices.ContainsFunc(u.states, func(s string) bool { return slices.Contains(g.states, s) })
		switch {
		case !meets:
			out = append(out, g)
		case shared == nil:
			shared = g
			out = append(out, g)
		default:
			shared.states = append(shared.states, g.states...)
		}
	}
	if shared == nil {
		return append(out, u)
	}
	for _, s := range u.states {
		if !slices.Contains(shared.states, s) {
			shared.states = append(shared.states, s)
		}
	}
	shared.last = u.last
	return out
}

// copyRings adds the dispatches that copy groups of rings.
func (b *builder) copyRings(m *ir.Module, role string, groups [][]string, areas map[string]*program.Cache) error {
	if len(groups) == 0 {
		return nil
	}
	kept := map[string]*program.Cache{}
	for _, c := range b.plan.Caches {
		kept[c.State.Name] = &c.Cache
	}
	in := &lower.Input{Module: m, Phase: b.step.Phase, Caches: areas, Step: b.step.Params, Target: b.plan.Target}
	for _, states := range groups {
		l, err := lower.LowerRings(in, lower.Rings{Role: role, States: states, Kept: kept})
		if err == nil {
			err = b.dispatch(l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyLate moves what brings rings into areas to the level before that of the first user:
// areas live no longer than they must, and no barrier is added.
func (s *Step) copyLate() {
	first := map[*Buffer]int{}
	for _, d := range s.Dispatches {
		for _, a := range d.Args {
			if a.Buffer == nil || a.Buffer.Area == nil || d.Region == program.RingsRegion {
				continue
			}
			if level, used := first[a.Buffer]; !used || d.Level < level {
				first[a.Buffer] = d.Level
			}
		}
	}
	for _, d := range s.Dispatches {
		if d.Region != program.RingsRegion || d.Role != program.RingsIn {
			continue
		}
		level := -1
		for _, a := range d.Args {
			if a.Buffer != nil && (level < 0 || first[a.Buffer] < level) {
				level = first[a.Buffer]
			}
		}
		d.Level = level - 1
	}
}
