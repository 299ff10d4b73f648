package shrink

import (
	"maps"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
)

// members are what would become families so that some repetitions differ in constants
// alone.
type members struct {
	lists  [][]string                // of each family, one for each repetition
	arrays map[string]*kernel.Locals // those that are families already
}

// familyCost is how many operations a family must save beside those of a loop.
const familyCost = 4

// withMembers looks for repetitions that differ in constants and in what they work on, and
// save more than `least`.
func (l *list) withMembers(r *repeat, times, each, least int) {
	if l.families == nil {
		return
	}
	for next := times; next > 1 && (next-1)*each > least; {
		c := repeat{first: r.first, period: r.period, times: next}
		var m *members
		if m, next = l.membersOf(&c); m == nil {
			continue
		}
		saved := (c.times-1)*each - familyCost*len(m.lists)
		if saved <= least {
			return
		}
		if c.pattern, next = m.pattern(l, &c); c.pattern != nil {
			c.members, c.saved = m, saved
			*r = c
			return
		}
	}
}

// pattern is the repetitions' pattern once the members are families; if there is none,
// that of how many might be.
func (m *members) pattern(l *list, r *repeat) (p *pattern, fitting int) {
	trial := l.families.trial(m)
	trial.add(m, &names{map[string]bool{}, l.names})
	repetition := func(i int) []kernel.Stmt { return trial.in(r.repetition(l.body, i)) }
	if p = patternOf(repetition(0), repetition(1)); p == nil {
		return nil, 0
	}
	for i := 2; i < r.times; i++ {
		if !p.fits(i, repetition(i)) {
			return nil, i
		}
	}
	return p, r.times
}

// trial is families in which members can be tried: a list's statements have the names of
// those there are.
func (f *families) trial(m *members) *families {
	return &families{f.types, map[string]place{}, maps.Clone(m.arrays), map[string]place{}}
}

// membersOf compares the first repetition with the others and notes the names that differ.
// Where they cannot be families it says of how many repetitions they might be.
func (l *list) membersOf(r *repeat) (m *members, fitting int) {
	a := &alignment{families: l.families, own: map[string]int{}, others: map[string][]string{}}
	first := r.repetition(l.body, 0)
	for i, name := range declared(first) {
		a.own[name] = i
	}
	for i := 1; i < r.times; i++ {
		b := r.repetition(l.body, i)
		a.ownOf = map[string]int{}
		for j, name := range declared(b) {
			a.ownOf[name] = j
		}
		if a.repetition = i; len(a.ownOf) != len(a.own) || !a.blocks(first, b) {
			return nil, i
		}
	}
	if a.escaping(l, r) {
		m = a.members(r.times)
	}
	if m == nil || len(m.lists) == 0 {
		return nil, r.times - 1
	}
	return m, r.times
}

// alignment compares repetitions.
type alignment struct {
	*families
	own, ownOf map[string]int      // what the first and another repetition declare, numbered
	others     map[string][]string // by the first one's name: what others have in its place
	repetition int
}

// name notes that another repetition has b where the first one has a.
func (a *alignment) name(x, y string) bool {
	i, mine := a.own[x]
	j, its := a.ownOf[y]
	if mine != its || mine && i != j {
		return false
	}
	have := a.others[x]
	if len(have) == a.repetition {
		return have[a.repetition-1] == y
	}
	a.others[x] = append(have, y)
	return len(a.others[x]) == a.repetition
}

func (a *alignment) blocks(x, y []kernel.Stmt) bool {
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if kindOf(x[i]) != kindOf(y[i]) {
			return false
		}
		if name := declares(x[i]); name != "" && !a.name(name, declares(y[i])) {
			return false
		}
		e, f := kernel.Operands(x[i]), kernel.Operands(y[i])
		for j := range e {
			if !a.exprs(e[j], f[j]) {
				return false
			}
		}
		also := namesIn(y[i])
		for j, name := range namesIn(x[i]) {
			if !a.name(name, also[j]) {
				return false
			}
		}
		inside, beside := kernel.Blocks(x[i]), kernel.Blocks(y[i])
		for j := range inside {
			if !a.blocks(inside[j], beside[j]) {
				return false
			}
		}
	}
	return true
}

func (a *alignment) exprs(x, y *kernel.Expr) bool {
	if isConstant(x) && isConstant(y) {
		return true
	}
	for _, e := range []**kernel.Expr{&x, &y} { // adding a constant may be left out
		if (*e).Op == kernel.OpAdd && isConstant((*e).Args[1]) {
			*e = (*e).Args[0]
		}
	}
	if x.Op != y.Op || x.Type != y.Type || len(x.Args) != len(y.Args) {
		return false
	}
	if (x.Op == kernel.OpLocal || x.Op == kernel.OpElement) && !a.name(x.Name, y.Name) {
		return false
	}
	for i := range x.Args {
		if !a.exprs(x.Args[i], y.Args[i]) {
			return false
		}
	}
	return true
}

// escaping marks what repetitions declare and others use later: its name is a member even
// where nothing differs. False if that cannot be.
func (a *alignment) escaping(l *list, r *repeat) bool {
	end := r.first + r.period*r.times
	for i := range r.period * r.times {
		name := declares(l.body[r.first+i])
		if name == "" {
			continue
		}
		if l.until[r.first+i] < r.first+(i/r.period+1)*r.period {
			continue
		}
		if l.until[r.first+i] < end {
			return false // another repetition uses it
		}
		first := declares(l.body[r.first+i%r.period])
		a.own[first] = -1
	}
	return true
}

// members are the families that make repetitions alike; nil if names cannot be members.
func (a *alignment) members(times int) *members {
	m := &members{arrays: map[string]*kernel.Locals{}}
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(a.others)) {
		list := append([]string{name}, a.others[name]...)
		if number, own := a.own[name]; own && number >= 0 {
			continue // it ends with its repetition
		}
		if len(list) != times {
			return nil
		}
		if same := slices.Compact(slices.Clone(list)); len(same) == 1 {
			continue
		}
		one := a.arrays[name]
		for _, member := range list {
			t, known := a.types[member]
			array := a.arrays[member]
			switch {
			case seen[member], (one == nil) != (array == nil):
				return nil
			case array != nil && (array.Len != one.Len || array.Elem != one.Elem):
				return nil
			case array == nil && (!known || t != a.types[name]):
				return nil
			}
			seen[member] = true
		}
		if one != nil {
			m.arrays[name] = one
		}
		m.lists = append(m.lists, list)
	}
	return m
}

// sortedNames are the keys of a map, in order.
func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
