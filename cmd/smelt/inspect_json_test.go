package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
)

// TestModuleJSON: --ir --json says all that the text form says, for the text can be made
// of it again.
func TestModuleJSON(t *testing.T) {
	dir := compileTo(t, mixedFixture, "--context", "64")
	for _, c := range []struct {
		args  []string
		stage string
	}{
		{[]string{mixedFixture, "--ir"}, "graph"}, {[]string{plainFixture, "--ir"}, "graph"},
		{[]string{dir, "--ir"}, "plan"}, {[]string{dir, "--ir", "plan"}, "plan"}, {[]string{dir, "--ir", "input"}, "input"}, {[]string{dir, "--ir", "fuse-cache"}, "fuse-cache"},
	} {
		want := smelt(t, "", append([]string{"inspect"}, c.args...)...).succeeds(t)
		var r irReport
		decodeStrictly(t, smelt(t, "", append([]string{"inspect", "--json"}, c.args...)...).succeeds(t), &r)
		if r.Path != c.args[0] || r.Stage != c.stage {
			t.Errorf("%v: path %q, stage %q, expected %q", c.args, r.Path, r.Stage, c.stage)
		}
		if got := textOf(&r); got != want {
			t.Errorf("%v: the text made of the JSON differs at\n%s", c.args, firstDifference(got, want))
		}
	}
}

// textOf makes the text form of a module's JSON.
func textOf(r *irReport) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	stored := func(format string) string {
		if format == "" {
			return ""
		}
		return " stored " + format
	}
	line("module @%s", r.Name)
	for _, s := range r.Symbols {
		line("symbol %s = %s", s.Name, s.Is)
	}
	for _, v := range r.Inputs {
		line("input %s : %s", v.Name, v.Type)
	}
	for _, q := range r.Parameters {
		line("param @%s : %s%s", q.Name, q.Type, stored(q.Stored))
	}
	for _, s := range r.States {
		line("state @%s : %s keep %s%s", s.Name, s.Row, s.Keep, stored(s.Stored))
	}
	region := ""
	leave := func() {
		if region == "" {
			return
		}
		of := r.Regions[slices.IndexFunc(r.Regions, func(x irRegion) bool { return x.Name == region })]
		if len(of.Yields) == 0 {
			line("}")
		} else {
			line("} yields %s", strings.Join(of.Yields, ", "))
		}
	}
	for _, o := range r.Operations {
		if o.Region != region {
			leave()
			if region = o.Region; region != "" {
				line("region %s @%s {", r.Regions[slices.IndexFunc(r.Regions, func(x irRegion) bool { return x.Name == region })].Kind, region)
			}
		}
		text := o.Result + " = " + o.Op
		if region != "" {
			text = "  " + text
		}
		if o.Symbol != "" {
			text += " @" + o.Symbol
		}
		if len(o.Arguments) > 0 {
			text += "(" + strings.Join(o.Arguments, ", ") + ")"
		}
		var attributes []string
		for _, a := range o.Attributes {
			attributes = append(attributes, a.Name+" = "+a.Value)
		}
		if len(attributes) > 0 {
			text += " {" + strings.Join(attributes, ", ") + "}"
		}
		line("%s : %s", text, o.Type)
	}
	leave()
	line("return %s", strings.Join(r.Results, ", "))
	return b.String()
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d: got  %s\n\texpected %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("the end: %d and %d lines", len(a), len(b))
}

// TestPlanJSON: --plan --json has every dispatch of the plan with all it is bound to.
func TestPlanJSON(t *testing.T) {
	dir := compileTo(t, mixedFixture, "--context", "1024", "--chunk", "64", "--slots", "2")
	b, err := bundle.Read(dir)
	must(t, err)
	var r planReport
	decodeStrictly(t, smelt(t, "", "inspect", dir, "--plan", "--json").succeeds(t), &r)
	kinds := map[string]int{}
	for i, s := range b.Plan.Steps {
		got := r.Steps[i]
		if got.Kind != s.Phase.String() || got.MaxRows != s.MaxRows || got.Barriers != s.Barriers() || got.CommandBuffers != s.CommandBuffers() || got.Arena != s.ArenaBytes || len(got.Dispatches) != len(s.Dispatches) || got.Picks != s.Picks() || got.Scoring != s.Scoring() {
			t.Errorf("%s step: %+v", s.Phase, got)
		}
		for k, d := range s.Dispatches {
			x := got.Dispatches[k]
			if x.Index != k || x.Barrier != d.Barrier || x.CommandBuffer != d.CommandBuffer || x.Kernel != d.Kernel.Name || x.Region != d.Region || x.Role != d.Role || len(x.Arguments) != len(d.Args) {
				t.Errorf("%s, dispatch %d: %+v", s.Phase, k, x)
			}
			for axis, grid := range d.Grid {
				if x.Grid[axis] != grid.String() {
					t.Errorf("%s, dispatch %d: grid %q", s.Phase, k, x.Grid)
				}
			}
			for n, a := range d.Args {
				kinds[x.Arguments[n].Is]++
				checkArgument(t, x.Arguments[n], a)
			}
		}
	}
	for _, is := range []string{isValue, isCache, isWeight, isNumber} {
		if kinds[is] == 0 {
			t.Errorf("no argument is a %s: %v", is, kinds)
		}
	}
	for _, step := range []string{"decode", "prefill"} {
		var one planReport
		decodeStrictly(t, smelt(t, "", "inspect", dir, "--plan", "--step", step, "--json").succeeds(t), &one)
		text := smelt(t, "", "inspect", dir, "--plan", "--step", step).succeeds(t)
		if len(one.Steps) != 1 || one.Steps[0].Kind != step || !strings.HasPrefix(text, step+" step, ") || strings.Count(text, " step, ") != 1 {
			t.Errorf("--step %s: %d steps\n%.300s", step, len(one.Steps), text)
		}
	}
}

func checkArgument(t *testing.T, got planArgument, a plan.Arg) {
	t.Helper()
	ok := false
	switch {
	case a.Buffer != nil:
		ok = got.Is == isValue && got.Of == a.Buffer.Name && *got.Offset == a.Buffer.Offset && got.Value == nil
	case a.Cache != nil:
		ok = got.Is == isCache && got.Of == a.Cache.State.Name && *got.Offset == a.Cache.Offset && got.Value == nil
	case a.Weight != nil:
		ok = got.Is == map[bool]string{false: isWeight, true: isPlaces}[a.Weight.Table] && got.Of == a.Weight.Param && got.Plane == a.Weight.Role.String() && got.Offset == nil && got.Value == nil
	default:
		ok = got.Is == isNumber && *got.Value == *a.Scalar && got.Offset == nil && got.Of == ""
	}
	if !ok || got.Name != a.Param.Name || got.Access != a.Param.Access.String() {
		t.Errorf("argument %+v of %s", got, a.Param.Name)
	}
}

// TestExplainJSON: --explain --json lists every region, kernel and parameter.
func TestExplainJSON(t *testing.T) {
	dir := compileTo(t, mixedFixture, "--context", "64")
	b, err := bundle.Read(dir)
	must(t, err)
	var r explainReport
	decodeStrictly(t, smelt(t, "", "inspect", dir, "--explain", "--json").succeeds(t), &r)
	if len(r.Regions) != len(b.Module.Regions) || len(r.Kernels) != len(b.Plan.Kernels) || len(r.Parameters) != len(b.Params) || !slices.Equal(r.Passes, b.Notes) {
		t.Errorf("%d regions, %d kernels, %d parameters, %d decisions", len(r.Regions), len(r.Kernels), len(r.Parameters), len(r.Passes))
	}
	launched := 0
	for _, x := range r.Regions {
		if len(x.Decode) == 0 || len(x.Prefill) == 0 {
			t.Errorf("region %s has no kernels: %+v", x.Name, x)
		}
		launched += len(x.Decode)
	}
	want := 0
	for _, d := range b.Plan.Steps[0].Dispatches {
		if d.Region != program.SampleRegion && d.Region != program.ScoreRegion { // of the logits, of no region of the module
			want++
		}
	}
	if launched != want || want == 0 {
		t.Errorf("regions have %d kernels of a decode step, expected %d", launched, want)
	}
	for i, k := range b.Plan.Kernels {
		if got := r.Kernels[i]; got.Name != k.Name || got.Threads != k.Schedule.Threads || len(got.Settings) != len(k.Schedule.Settings) {
			t.Errorf("kernel %s: %+v", k.Name, got)
		}
	}
	if (r.GPU.Machine == nil) != (r.GPU.Error != "") {
		t.Errorf("a GPU or an error: %+v", r.GPU)
	}
}

// TestStagesJSON: --ir list --json has what the list for people has.
func TestStagesJSON(t *testing.T) {
	dir := compileTo(t, mixedFixture, "--context", "64")
	var r stagesReport
	decodeStrictly(t, smelt(t, "", "inspect", dir, "--ir", "list", "--json").succeeds(t), &r)
	text := smelt(t, "", "inspect", dir, "--ir", "list").succeeds(t)
	for i, s := range r.Stages {
		if !strings.Contains("\n"+text, "\n"+s.Name+" ") || s.Doc == "" || (s.Did == "") != (i == 0 || i == len(r.Stages)-1) {
			t.Errorf("stage %+v is not in\n%s", s, text)
		}
	}
	if n := len(r.Stages); n < 5 || r.Stages[0].Name != "input" || r.Stages[n-1].Name != stagePlan {
		t.Errorf("stages %+v", r.Stages)
	}
}
