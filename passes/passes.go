// Package passes turns a model's graph into the fused module that codegen
// lowers: module to module, one pass a file, the pipeline one table. It knows
// no model. README.md shows a region, its view and how a pattern reads.
package passes

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// pass turns a module into one that computes the same, or, where its doc says
// so, the same but for rounding. It does not change the module it is given.
type pass struct {
	Name string
	Doc  string // one line
	Run  func(*passRun, *ir.Module) (*ir.Module, error)
}

// passRun tells a pass what it needs besides the module, and takes its report.
type passRun struct {
	Options Options
	rules   map[string]int
	notes   []string
}

// fired counts one use of a rule, for the report.
func (c *passRun) fired(rule string) { c.rules[rule]++ }

// note adds a line to the report: what was chosen, and why.
func (c *passRun) note(line string) { c.notes = append(c.notes, line) }

// Rule counts how often a rule of a pass fired.
type Rule struct {
	Name  string
	Count int
}

// Report says what a pass did.
type Report struct {
	Before, After int    // operations
	Regions       int    // after
	Rules         []Rule // those that fired, by name
	Notes         []string
}

func (r Report) String() string {
	var rules []string
	for _, f := range r.Rules {
		rules = append(rules, fmt.Sprintf("%s %d", f.Name, f.Count))
	}
	s := fmt.Sprintf("%d to %d operations, %d regions", r.Before, r.After, r.Regions)
	if len(rules) > 0 {
		s += ": " + strings.Join(rules, ", ")
	}
	return s
}

// Stage is a module on its way, after the pass of that name. The first stage
// is the input.
type Stage struct {
	Name, Doc string
	Module    *ir.Module // nil if it was to be forgotten; see Options.Lean
	Report    Report
}

// Text prints the stage's module.
func (s *Stage) Text() string { return text.String(s.Module) }

// Result holds what a pipeline made.
type Result struct {
	Module *ir.Module
	Stages []Stage
}

// Run takes a module through the pipeline. It is verified after every pass; an
// error names the pass and the module, and so does a panic, which is reported
// as an error. The result holds the stages that were reached in either case.
func Run(m *ir.Module, o Options) (*Result, error) { return run(m, o, pipeline) }

func run(m *ir.Module, o Options, passes []pass) (*Result, error) {
	r := &Result{Module: m}
	keep := func(s Stage) error {
		r.Module = s.Module
		if n := len(r.Stages); o.Lean && n > 0 {
			r.Stages[n-1].Module = nil
		}
		r.Stages = append(r.Stages, s)
		if o.Dump == nil {
			return nil
		}
		if err := o.Dump(len(r.Stages)-1, s.Name, s.Module); err != nil {
			return fmt.Errorf("module @%s: dump of the stage %s: %w", m.Name, s.Name, err)
		}
		return nil
	}
	if err := ir.Verify(m); err != nil {
		return r, err
	}
	if err := keep(Stage{Name: "input", Doc: "the graph as it was built", Module: m}); err != nil {
		return r, err
	}
	done, end := o.Begin.Phase("fusing operations", int64(len(passes)), "passes")
	defer end()
	for _, p := range passes {
		s, err := p.stage(o, r.Module)
		if err != nil {
			return r, err
		}
		if err := keep(s); err != nil {
			return r, err
		}
		done(1)
	}
	return r, nil
}

// stage runs one pass.
func (p pass) stage(o Options, m *ir.Module) (s Stage, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("pass %s, module @%s: a bug in the pass: %v\n%s", p.Name, m.Name, cause, debug.Stack())
		}
	}()
	c := &passRun{Options: o, rules: map[string]int{}}
	out, err := p.Run(c, m)
	if err == nil && out != m { // else it is verified
		err = ir.Verify(out)
	}
	if err != nil {
		return Stage{}, fmt.Errorf("pass %s: %w", p.Name, err)
	}
	report := Report{Before: len(m.Nodes), After: len(out.Nodes), Regions: len(out.Regions), Notes: c.notes}
	for name, count := range c.rules {
		report.Rules = append(report.Rules, Rule{name, count})
	}
	slices.SortFunc(report.Rules, func(a, b Rule) int { return strings.Compare(a.Name, b.Name) })
	return Stage{p.Name, p.Doc, out, report}, nil
}
