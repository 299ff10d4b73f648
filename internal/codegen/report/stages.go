package report

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/ir/attr"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
	"smelt.example/smelt/passes"
)

// stageDoc is a module on its way. Lines are runs of the table of IR lines.
//
// A value without a name is printed by its number, and a pass that adds or
// moves one operation renumbers all that follow. So in the table each value has
// a number that is its own across all stages: that of the first stage it is
// in. The page counts definitions to print a stage's own numbers again.
// Lines in a region are not indented in the table.
type stageDoc struct {
	Name    string    `json:"name"`
	Doc     string    `json:"doc"`
	Before  int       `json:"before"`
	After   int       `json:"after"`
	Regions int       `json:"regions"`
	Rules   []ruleDoc `json:"rules"`
	Notes   []string  `json:"notes"`
	Lines   []int     `json:"lines"`
}

type ruleDoc struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// describeStages returns the stages and the table of their lines.
func describeStages(m *ir.Module, r *passes.Result, begin progress.Begin) ([]stageDoc, []string) {
	stages := []passes.Stage{{Name: "fused", Doc: "the module the kernels were made from", Module: m,
		Report: passes.Report{Before: len(m.Nodes), After: len(m.Nodes), Regions: len(m.Regions)}}}
	if r != nil && len(r.Stages) > 0 {
		stages = r.Stages
	}
	done, end := begin.Phase("following values through the passes", int64(len(stages)), "stages")
	defer end()
	lines, id := newTable(), identities{}
	var out []stageDoc
	for i, s := range stages {
		if i == 0 || s.Module != stages[i-1].Module {
			id.enter(s.Module)
		}
		d := stageDoc{Name: s.Name, Doc: s.Doc, Before: s.Report.Before, After: s.Report.After, Regions: s.Report.Regions, Notes: s.Report.Notes}
		if i == 0 { // the input, which no pass reports on
			d.Before, d.After, d.Regions = len(s.Module.Nodes), len(s.Module.Nodes), len(s.Module.Regions)
		}
		for _, rule := range s.Report.Rules {
			d.Rules = append(d.Rules, ruleDoc{rule.Name, rule.Count})
		}
		d.Lines = lines.addAll(id.lines(text.String(s.Module)))
		out = append(out, d)
		done(1)
	}
	return out, lines.lines
}

// identities follows values through stages. A pass makes a new module, so it
// goes by what values are: first by operation and operands, then, where a
// pass put something before an operation, by what of it stayed.
type identities struct {
	next    int
	of      map[*ir.Value]int // of the present stage
	numbers []int             // of the present stage, in the order of definition
	exact   map[string][]*ir.Node
	similar map[string][]*ir.Node
	taken   map[*ir.Node]bool
}

// enter moves on to the next stage.
func (t *identities) enter(m *ir.Module) {
	previous := *t
	t.of, t.numbers = map[*ir.Value]int{}, nil
	for _, in := range m.Inputs {
		t.define(in, previous.inputNamed(in.Name))
	}
	for _, n := range m.Nodes {
		t.define(n.Result, previous.find(n, t.of))
	}
	t.next = previous.next
	for _, number := range t.numbers {
		t.next = max(t.next, number+1)
	}
	t.exact, t.similar, t.taken = map[string][]*ir.Node{}, map[string][]*ir.Node{}, map[*ir.Node]bool{}
	for _, n := range m.Nodes {
		e, s := exactKey(n, t.of), similarKey(n)
		t.exact[e] = append(t.exact[e], n)
		t.similar[s] = append(t.similar[s], n)
	}
}

func (t *identities) define(v *ir.Value, number int) {
	t.of[v] = number
	t.numbers = append(t.numbers, number)
}

// fresh is a number no stage has used.
func (t *identities) fresh() int {
	t.next++
	return t.next - 1
}

// inputNamed is the number of an input of this stage, else a fresh one.
func (t *identities) inputNamed(name string) int {
	for v, number := range t.of {
		if v.Def == nil && v.Name == name {
			return number
		}
	}
	return t.fresh()
}

// find gives a node of the next stage the number of the same node in this one, else a fresh
// number. of has the next stage's numbers so far.
func (t *identities) find(n *ir.Node, of map[*ir.Value]int) int {
	for _, have := range t.exact[exactKey(n, of)] {
		if !t.taken[have] {
			return t.take(have)
		}
	}
	for _, have := range t.similar[similarKey(n)] {
		if !t.taken[have] && t.sharesOperand(have, n, of) {
			return t.take(have)
		}
	}
	return t.fresh()
}

func (t *identities) take(n *ir.Node) int {
	t.taken[n] = true
	return t.of[n.Result]
}

// sharesOperand reports whether an operand is the same in both stages, in the
// same place.
func (t *identities) sharesOperand(have, n *ir.Node, of map[*ir.Value]int) bool {
	for i, a := range n.Args {
		if i < len(have.Args) && t.of[have.Args[i]] == of[a] {
			return true
		}
	}
	return false
}

// exactKey is an operation with its operands.
func exactKey(n *ir.Node, of map[*ir.Value]int) string {
	var key strings.Builder
	fmt.Fprintf(&key, "%s @%s %v %s %s", n.Op.Name, n.Symbol, attr.Fields(n.Attr), n.Result.Name, n.Result.Type)
	for _, a := range n.Args {
		fmt.Fprintf(&key, " %d", of[a])
	}
	return key.String()
}

// similarKey names the properties that an operation keeps when its operands change.
func similarKey(n *ir.Node) string {
	return fmt.Sprintf("%s @%s %s %s", n.Op.Name, n.Symbol, n.Result.Name, n.Result.Type)
}

var numbered = regexp.MustCompile(`%[0-9]+`)

// lines are a printed stage's lines as they stand in the table.
func (t *identities) lines(printed string) []string {
	lines := strings.Split(strings.TrimSuffix(printed, "\n"), "\n")
	for i, line := range lines {
		lines[i] = numbered.ReplaceAllStringFunc(strings.TrimPrefix(line, "  "), func(ref string) string {
			n, err := strconv.Atoi(ref[1:])
			if err != nil || n >= len(t.numbers) {
				return ref // not a value of the module
			}
			return "%" + strconv.Itoa(t.numbers[n])
		})
	}
	return lines
}
