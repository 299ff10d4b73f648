package passes

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// fuse is the pass that makes regions of one kind, of the operations that are
// in none. It adds no meaning, so the bits stay.
func fuse(kind fusion.Kind) func(*passRun, *ir.Module) (*ir.Module, error) {
	return func(c *passRun, m *ir.Module) (*ir.Module, error) {
		found, _ := kind.Find(fusion.Free(m)) // misses are reported in the end, if they matter
		names := map[string]bool{}
		for _, r := range m.Regions {
			names[r.Name] = true
		}
		var groups []ir.Group
		for _, f := range found {
			c.fired(f.Kind)
			groups = append(groups, ir.Group{Kind: f.Kind, Name: unused(names, f.Name), Nodes: f.Nodes})
		}
		return ir.Regroup(m, groups)
	}
}

// unused makes a name that is not among names by a number behind it, and adds it.
func unused(names map[string]bool, want string) string {
	name := want
	for n := 2; names[name]; n++ {
		name = fmt.Sprintf("%s%d", want, n)
	}
	names[name] = true
	return name
}

// checkFused is the pass that refuses a module with operations in no region.
func checkFused(_ *passRun, m *ir.Module) (*ir.Module, error) {
	of := m.RegionOf()
	var left []string
	for _, n := range m.Nodes {
		if of[n] == nil {
			left = append(left, fmt.Sprintf("%s = %s", n.Result.Ref(), n.Op.Name))
		}
	}
	if len(left) == 0 {
		return m, nil
	}
	var misses []string
	for _, miss := range fusion.Misses(m) {
		misses = append(misses, "\n  "+miss.String())
	}
	const many = 8
	more := ""
	if len(left) > many {
		more, left = fmt.Sprintf(" and %d more", len(left)-many), left[:many]
	}
	return nil, fmt.Errorf("module @%s: no fusion covers %s%s; kernels exist for fusions only.%s",
		m.Name, strings.Join(left, ", "), more, strings.Join(misses, ""))
}
