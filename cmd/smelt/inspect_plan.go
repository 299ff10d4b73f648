package main

import (
	"fmt"
	"io"
	"strings"

	"smelt.example/smelt/codegen/kernel"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/ir"
)

// writePlan lists the dispatches of both kinds of steps.
func writePlan(w io.Writer, p *plan.Plan, st style) error {
	for i, s := range p.Steps {
		gap := ""
		if i > 0 {
			gap = "\n"
		}
		if _, err := fmt.Fprintf(w, "%s%s, to %s: %s, %s, %s, arena %s bytes\n", gap, st.bold(s.Phase.String()+" step"), plural(s.MaxRows, "row"),
			dispatches(len(s.Dispatches)), plural(s.Barriers(), "barrier"), plural(s.CommandBuffers(), "command buffer"), grouped(s.ArenaBytes)); err != nil {
			return err
		}
		if err := planTable(s).write(w, "  ", st); err != nil {
			return err
		}
	}
	return nil
}

func planTable(s *plan.Step) *table {
	t := &table{columns: []column{{"", true}, {"", false}, {"kernel", false}, {"region", false}, {"role", false}, {"grid", false}, {"writes", false}, {"reads", false}}}
	for i, d := range s.Dispatches {
		var reads, writes []string
		for _, a := range d.Args {
			what := boundTo(a)
			if a.Param.Access != kernel.Write {
				reads = append(reads, what)
			}
			if a.Param.Access != kernel.Read {
				writes = append(writes, what)
			}
		}
		t.add(fmt.Sprint(i), barrierMark(d.Barrier, i > 0 && d.CommandBuffer != s.Dispatches[i-1].CommandBuffer), d.Kernel.Name, d.Region, d.Role, formulas(d.Grid), strings.Join(writes, ", "), strings.Join(reads, ", "))
	}
	return t
}

// barrierMark stands before a dispatch: | if it waits for those above it, || if
// a command buffer begins with it.
func barrierMark(barrier, begins bool) string {
	switch {
	case begins:
		return "||"
	case barrier:
		return "|"
	}
	return ""
}

func formulas(g [3]ir.Expr) string {
	return fmt.Sprintf("%s x %s x %s", g[0], g[1], g[2])
}

// boundTo says what a kernel's parameter is bound to, and where that lies: in
// the arena, in the memory of caches, or in the checkpoint.
func boundTo(a plan.Arg) string {
	name := a.Param.Name + "="
	switch {
	case a.Buffer != nil:
		return fmt.Sprintf("%s%s at %d", name, a.Buffer.Name, a.Buffer.Offset)
	case a.Cache != nil:
		return fmt.Sprintf("%s@%s at %d", name, a.Cache.State.Name, a.Cache.Offset)
	case a.Weight != nil && a.Weight.Table:
		return fmt.Sprintf("%splaces of @%s %s", name, a.Weight.Param, a.Weight.Role)
	case a.Weight != nil:
		return fmt.Sprintf("%s@%s %s", name, a.Weight.Param, a.Weight.Role)
	}
	return fmt.Sprintf("%s%d", name, *a.Scalar)
}

// dispatches is a count of them.
func dispatches(n int) string {
	if n == 1 {
		return "1 dispatch"
	}
	return grouped(n) + " dispatches"
}
