package main

import (
	"fmt"
	"io"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/codegen/kernel"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/ir"
)

// planReport is the output of `smelt inspect BUNDLE --plan --json`, and the data of its
// tables. Field names are stable; docs/json.md explains them. Lists are never null.
type planReport struct {
	Path  string     `json:"path"`
	Model string     `json:"model"`
	Steps []planStep `json:"steps"`
}

// planStep lists the dispatches of one kind of step.
type planStep struct {
	Kind           string         `json:"kind"`
	MaxRows        int            `json:"max_rows"`
	Barriers       int            `json:"barriers"`
	CommandBuffers int            `json:"command_buffers"`
	Arena          int64          `json:"arena"`
	Symbols        []planSymbol   `json:"symbols"`
	Dispatches     []planDispatch `json:"dispatches"`
	// Picks and Scoring are the first dispatches of the lists that pick tokens and that score
	// them. A step has those before Scoring; the others run behind it, where that is asked for.
	Picks   int `json:"picks"`
	Scoring int `json:"scoring"`
}

// planSymbol is a size that the formulas of grids are over.
type planSymbol struct {
	Name string `json:"name"`
	Is   string `json:"is"`
	Most int64  `json:"most"`
}

// planDispatch is one launch in its place.
type planDispatch struct {
	Index         int            `json:"index"`
	Barrier       bool           `json:"barrier"` // before it
	CommandBuffer int            `json:"command_buffer"`
	Kernel        string         `json:"kernel"`
	Region        string         `json:"region"`
	Role          string         `json:"role"`
	Grid          [3]string      `json:"grid"` // formulas
	Arguments     []planArgument `json:"arguments"`
}

// planArgument is what a parameter of a kernel is bound to.
type planArgument struct {
	Name   string `json:"name"`
	Access string `json:"access"`
	// Is says which kind of thing it is bound to, Of its name.
	Is     string `json:"is"`
	Of     string `json:"of"`
	Plane  string `json:"plane"`  // of a parameter's planes, or ""
	Offset *int64 `json:"offset"` // null where the checkpoint's files have it
	Value  *int32 `json:"value"`  // of a number; null else
}

// What arguments are bound to.
const (
	isValue  = "value"  // in the arena
	isCache  = "cache"  // in the memory of caches
	isWeight = "weight" // in the checkpoint
	isPlaces = "places" // a table of where a weight's pieces are
	isNumber = "number"
)

// planOf describes the steps of a bundle, all or the one of a kind.
func planOf(b *bundle.Bundle, kind string) *planReport {
	r := &planReport{Path: b.Dir, Model: b.Name, Steps: []planStep{}}
	for _, s := range b.Plan.Steps {
		if kind == "" || kind == s.Phase.String() {
			r.Steps = append(r.Steps, planStepOf(s))
		}
	}
	return r
}

func planStepOf(s *plan.Step) planStep {
	r := planStep{
		Kind: s.Phase.String(), MaxRows: s.MaxRows, Barriers: s.Barriers(), CommandBuffers: s.CommandBuffers(), Arena: s.ArenaBytes,
		Symbols: []planSymbol{}, Dispatches: []planDispatch{}, Picks: s.Picks(), Scoring: s.Scoring(),
	}
	for _, x := range s.Params.Symbols {
		r.Symbols = append(r.Symbols, planSymbol{x.Name, symbolIs(x), s.Limits[x.Name]})
	}
	for i, d := range s.Dispatches {
		of := planDispatch{
			Index: i, Barrier: d.Barrier, CommandBuffer: d.CommandBuffer, Kernel: d.Kernel.Name, Region: d.Region, Role: d.Role,
			Grid: [3]string{d.Grid[0].String(), d.Grid[1].String(), d.Grid[2].String()}, Arguments: []planArgument{},
		}
		for _, a := range d.Args {
			of.Arguments = append(of.Arguments, argumentOf(a))
		}
		r.Dispatches = append(r.Dispatches, of)
	}
	return r
}

// symbolIs says what a symbol counts, as the text form of modules does.
func symbolIs(s ir.Symbol) string {
	if s.Def == ir.Closing {
		return fmt.Sprintf("%s(%d)", s.Def, s.Arg)
	}
	return s.Def.String()
}

func argumentOf(a plan.Arg) planArgument {
	r := planArgument{Name: a.Param.Name, Access: a.Param.Access.String()}
	switch {
	case a.Buffer != nil:
		r.Is, r.Of, r.Offset = isValue, a.Buffer.Name, &a.Buffer.Offset
	case a.Cache != nil:
		r.Is, r.Of, r.Offset = isCache, a.Cache.State.Name, &a.Cache.Offset
	case a.Weight != nil:
		r.Is, r.Of, r.Plane = isWeight, a.Weight.Param, a.Weight.Role.String()
		if a.Weight.Table {
			r.Is = isPlaces
		}
	default:
		r.Is, r.Value = isNumber, a.Scalar
	}
	return r
}

// String says what a kernel's parameter is bound to, and where that lies.
func (a planArgument) String() string {
	switch a.Is {
	case isValue:
		return fmt.Sprintf("%s=%s at %d", a.Name, a.Of, *a.Offset)
	case isCache:
		return fmt.Sprintf("%s=@%s at %d", a.Name, a.Of, *a.Offset)
	case isPlaces:
		return fmt.Sprintf("%s=places of @%s %s", a.Name, a.Of, a.Plane)
	case isWeight:
		return fmt.Sprintf("%s=@%s %s", a.Name, a.Of, a.Plane)
	}
	return fmt.Sprintf("%s=%d", a.Name, *a.Value)
}

// write lists the dispatches of each step; wide is with what they read and write.
func (r *planReport) write(w io.Writer, st style, wide bool) error {
	p := page{w: w, st: st}
	for i, s := range r.Steps {
		if i > 0 {
			p.printf("\n")
		}
		p.printf("%s, to %s: %s, %s, %s, arena %s\n", st.bold(s.Kind+" step"), plural(s.MaxRows, "row"),
			dispatches(s.Scoring), plural(s.Barriers, "barrier"), plural(s.CommandBuffers, "command buffer"), bytesInWords(s.Arena))
		p.table(s.table(0, s.Scoring, wide))
		if n := len(s.Dispatches) - s.Scoring; n > 0 {
			p.printf("\n%s, behind a step whose tokens are scored: %s\n", st.bold("log-probabilities"), dispatches(n))
			p.table(s.table(s.Scoring, len(s.Dispatches), wide))
		}
	}
	return p.err
}

// table lists the dispatches from one to before another.
func (s *planStep) table(from, to int, wide bool) *table {
	t := &table{columns: []column{{"", true}, {"", false}, {"kernel", false}, {"region", false}, {"role", false}, {"grid", false}}, width: lineWidth, flow: []int{5}}
	if wide {
		t.columns, t.width = append(t.columns, column{"writes", false}, column{"reads", false}), 0
	}
	for _, d := range s.Dispatches[from:to] {
		cells := []string{fmt.Sprint(d.Index), barrierMark(d.Barrier, d.Index > 0 && d.CommandBuffer != s.Dispatches[d.Index-1].CommandBuffer), d.Kernel, d.Region, d.Role, strings.Join(d.Grid[:], " x ")}
		if wide {
			cells = append(cells, d.accessed(kernel.Write), d.accessed(kernel.Read))
		}
		t.add(cells...)
	}
	return t
}

// accessed lists what is read, or what is written; what is both is in both lists.
func (d *planDispatch) accessed(how kernel.Access) string {
	var list []string
	for _, a := range d.Arguments {
		if a.Access == how.String() || a.Access == kernel.ReadWrite.String() {
			list = append(list, a.String())
		}
	}
	return strings.Join(list, ", ")
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

// dispatches is a count of them.
func dispatches(n int) string {
	if n == 1 {
		return "1 dispatch"
	}
	return grouped(n) + " dispatches"
}
