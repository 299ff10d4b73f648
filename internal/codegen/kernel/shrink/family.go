package shrink

import (
	"regexp"
	"strings"

	"smelt.example/smelt/internal/codegen/kernel"
)

// families are values that became variables under one name, of which loops take one after
// the other.
type families struct {
	types  map[string]kernel.Type    // of the Lets and Vars that may become members
	places map[string]place          // of names that became members
	arrays map[string]*kernel.Locals // by name
	moved  map[string]place          // of families that became parts of larger ones
}

// place is a member of a family, or where a smaller family begins in a larger one.
type place struct {
	family string
	index  int
}

// familiesOf begins the families of a kernel.
func familiesOf(k *kernel.Kernel) *families {
	f := &families{types: map[string]kernel.Type{}, places: map[string]place{}, arrays: map[string]*kernel.Locals{}, moved: map[string]place{}}
	f.know(k.Body)
	return f
}

func (f *families) know(body []kernel.Stmt) {
	for _, s := range body {
		switch s := s.(type) {
		case *kernel.Let:
			if s.About == nil { // an estimate would lose it
				f.types[s.Name] = s.Value.Type
			}
		case *kernel.Var:
			f.types[s.Name] = s.Init.Type
		}
		for _, b := range kernel.Blocks(s) {
			f.know(b)
		}
	}
}

// resolved is where a place lies now.
func (f *families) resolved(p place) place {
	for {
		m, ok := f.moved[p.family]
		if !ok {
			return p
		}
		p = place{m.family, p.index + m.index}
	}
}

// number matches what makes a name unique.
var number = regexp.MustCompile(`(_?[0-9]+)+$`)

// add makes families of members: of names, or of smaller families.
func (f *families) add(m *members, n *names) {
	for _, list := range m.lists {
		base := number.ReplaceAllString(list[0], "")
		if m.arrays[list[0]] == nil {
			name := n.fresh(strings.TrimSuffix(base, "s") + "s")
			f.arrays[name] = &kernel.Locals{Name: name, Elem: f.types[list[0]], Len: len(list)}
			for i, member := range list {
				f.places[member] = place{name, i}
			}
			continue
		}
		one := m.arrays[list[0]]
		name := n.fresh(base)
		f.arrays[name] = &kernel.Locals{Name: name, Elem: one.Elem, Len: one.Len * len(list)}
		for i, member := range list {
			f.moved[member] = place{name, i * one.Len}
			delete(f.arrays, member)
		}
	}
}

// count grows when families are added.
func (f *families) count() int {
	if f == nil {
		return 0
	}
	return len(f.places) + len(f.moved)
}

// in is a body in which members have their families' names.
func (f *families) in(body []kernel.Stmt) []kernel.Stmt {
	if f.count() == 0 || !f.concern(body) {
		return body
	}
	return f.members(kernel.Rewritten(body, func(_ kernel.NameKind, name string) string { return name }, func(old, copied *kernel.Expr) *kernel.Expr {
		switch p, ok := f.places[old.Name]; {
		case old.Op == kernel.OpLocal && ok:
			p = f.resolved(p)
			return &kernel.Expr{Op: kernel.OpElement, Type: old.Type, Name: p.family, Args: []*kernel.Expr{kernel.I(p.index)}}
		case old.Op == kernel.OpElement:
			p = f.resolved(place{family: old.Name})
			if p.family != old.Name {
				return &kernel.Expr{Op: kernel.OpElement, Type: old.Type, Name: p.family, Args: []*kernel.Expr{copied.Args[0].Add(kernel.I(p.index))}}
			}
		}
		return copied
	}))
}

// concern reports whether a body has names of members, or of families that are parts of
// larger ones now.
func (f *families) concern(body []kernel.Stmt) (found bool) {
	is := func(name string) {
		if !found {
			_, member := f.places[name]
			_, moved := f.moved[name]
			found = member || moved
		}
	}
	for _, s := range body {
		uses(s, is)
	}
	if !found {
		kernel.Declared(body, is)
	}
	return found
}

// members makes assignments of declarations of members, whose uses are renamed already.
func (f *families) members(body []kernel.Stmt) []kernel.Stmt {
	out := make([]kernel.Stmt, len(body))
	for i, s := range body {
		out[i] = within(s, f.members)
		var name string
		var value *kernel.Expr
		switch s := s.(type) {
		case *kernel.Let:
			name, value = s.Name, s.Value
		case *kernel.Var:
			name, value = s.Name, s.Init
		case *kernel.Set:
			name, value = s.Name, s.Value
		case *kernel.SetElement:
			p := f.resolved(place{family: s.Name})
			out[i] = &kernel.SetElement{Name: p.family, Index: s.Index.Add(kernel.I(p.index)), Value: s.Value}
		}
		if p, ok := f.places[name]; ok {
			p = f.resolved(p)
			out[i] = &kernel.SetElement{Name: p.family, Index: kernel.I(p.index), Value: value}
		}
	}
	return out
}

// declared is a kernel's body with the families' declarations.
func (f *families) declared(body []kernel.Stmt) []kernel.Stmt {
	if f == nil || len(f.arrays) == 0 {
		return body
	}
	return declaredIn(body, f.arrays)
}

// declaredIn declares variables before the first statement that uses them: in the branch
// that has all of those, if there is one.
func declaredIn(body []kernel.Stmt, arrays map[string]*kernel.Locals) []kernel.Stmt {
	first, last := map[string]int{}, map[string]int{}
	for i, s := range body {
		uses(s, func(name string) {
			if arrays[name] == nil {
				return
			}
			if _, seen := first[name]; !seen {
				first[name] = i
			}
			last[name] = i
		})
	}
	out := make([]kernel.Stmt, 0, len(body)+len(first))
	names := sortedNames(first)
	for i, s := range body {
		then, otherwise := map[string]*kernel.Locals{}, map[string]*kernel.Locals{}
		for _, name := range names {
			if first[name] != i {
				continue
			}
			inThen, inElse := branchesWith(s, name)
			switch {
			case inThen == inElse || last[name] != i:
				out = append(out, arrays[name])
			case inThen:
				then[name] = arrays[name]
			default:
				otherwise[name] = arrays[name]
			}
		}
		if len(then)+len(otherwise) > 0 {
			branch := *s.(*kernel.If)
			branch.Then, branch.Else = declaredIn(branch.Then, then), declaredIn(branch.Else, otherwise)
			s = &branch
		}
		out = append(out, s)
	}
	return out
}

// branchesWith says which branches of a statement use a name: none of one that is no If,
// or whose condition uses it.
func branchesWith(s kernel.Stmt, name string) (then, otherwise bool) {
	branch, ok := s.(*kernel.If)
	if !ok {
		return false, false
	}
	found := false
	is := func(used string) { found = found || used == name }
	if usesOf(branch.Cond, is); found {
		return false, false
	}
	in := func(block []kernel.Stmt) bool {
		found = false
		for _, s := range block {
			uses(s, is)
		}
		return found
	}
	return in(branch.Then), in(branch.Else)
}
