package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/models"
)

// inspectOptions are the flags of `smelt inspect`.
type inspectOptions struct {
	weights, views, json bool
	layer                int // allLayers, or the only one to show

	stage string // of the module to print; "" is none

	plan, explain, cost bool // of bundles
	wide                bool
	kernel, html        string
	step                string
	context, rows       int
	outputOptions
}

const allLayers = -1

func newInspect(io stdio) *cobra.Command {
	o := inspectOptions{layer: allLayers}
	cmd := &cobra.Command{
		Use:   "inspect CHECKPOINT|BUNDLE",
		Short: "Show a model's sizes, weights and graph, or a bundle's plan, kernels and costs",
		Long: `Inspect opens a checkpoint, accounts for every byte of it, and prints the model
on one page: its sizes, its parameters, and how they are stored. Headers and
config.json are read, weights are not.

Parameters count the real numbers of the graph. Active ones are those that one
token uses: its share of the routed experts, and one row of the embedding.
Bits per weight include scales and biases.

--weights lists every parameter instead, with its encoding and size. A view is a
run of a parameter's rows in one stored tensor; its skew is the place of its first
byte modulo 16. --views has a line for every stored tensor, with its file and place
there, and leaves a skew of 0 out.
--ir prints the graph in smelt's text form.

With a BUNDLE (see smelt compile) it prints sizes, steps and memory, or instead

  --plan         every dispatch of a decode and of a prefill step: | is a
                 barrier before it; grids are formulas over the step's sizes
  --kernel NAME  a kernel's facts and its text for the target; with --ir kernel
                 its kernel IR
  --ir STAGE     the module after a pass, or plan: the one that was lowered;
                 --ir list names the stages. STAGE follows BUNDLE
  --explain      what the passes decided, what this machine's GPU did, which
                 kernels each region got with which settings and why, and how
                 parameters are read
  --cost         what every dispatch of a step reads, writes and computes
  --html FILE    all of this as one page for a browser

Tables keep to 120 columns; --wide adds files and stored names to --weights, to
--plan what is written and read, and to --cost grids and every byte. Lines of --views
are as long as they come. --json has all of it for programs.`,
		Example: `  smelt inspect examples/storyteller/checkpoint
  smelt inspect CHECKPOINT --weights --layer 3
  smelt inspect CHECKPOINT --weights --views --layer 3 | grep experts.w1
  smelt inspect CHECKPOINT --json | jq .parameters.total
  smelt inspect CHECKPOINT --ir > model.ir
  smelt inspect BUNDLE --plan --step decode
  smelt inspect BUNDLE --kernel attn_q_decode
  smelt inspect BUNDLE --ir fuse-linear
  smelt inspect BUNDLE --cost --context 4096 --json | jq .ratio`,
		Args:              o.arguments,
		ValidArgsFunction: o.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd.Flags().Changed); err != nil {
				return err
			}
			if bundle.IsBundle(args[0]) {
				return inspectBundle(cmd.Context(), io, args[0], o)
			}
			if err := o.checkpointOnly(args[0]); err != nil {
				return err
			}
			return inspect(io, args[0], o)
		},
	}
	o.addFlags(cmd.Flags())
	completing(cmd, "ir", o.stages)
	completeWords(cmd, "step", program.Decode.String(), program.Prefill.String())
	return cmd
}

// stageGraph stands for --ir without a stage.
const stageGraph = "graph"

func (o *inspectOptions) addFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.BoolVarP(&o.weights, "weights", "w", false, "list the parameters and where they are stored")
	f.BoolVar(&o.views, "views", false, "with --weights: every stored tensor, also of experts")
	intFlag(f, &o.layer, "layer", "", allLayers, layerNumbers, "with --weights: only the parameters of this layer, from 0")
	f.Lookup("layer").DefValue = "all"
	f.StringVar(&o.stage, "ir", "", "print the graph; of a bundle the module after a `stage`")
	f.Lookup("ir").NoOptDefVal = stageGraph
	f.BoolVar(&o.plan, "plan", false, "list the dispatches of both kinds of steps")
	f.StringVar(&o.kernel, "kernel", "", "print the kernel of this `name`")
	f.BoolVar(&o.explain, "explain", false, "say what was chosen, and why")
	f.BoolVar(&o.cost, "cost", false, "list what each dispatch of a step reads, writes and computes")
	f.StringVar(&o.step, "step", "", "with --plan or --cost: decode or prefill (default: both, with --cost decode)")
	intFlag(f, &o.context, "context", "", 0, contexts, "with --cost: tokens of the text at the step's end (default: the bundle's limit)")
	intFlag(f, &o.rows, "rows", "", 0, chunks, "with --cost: rows of the step (default: 1, in prefill a whole chunk)")
	f.BoolVar(&o.wide, "wide", false, "with --weights, --plan, --cost and --explain: all columns, and lines as long as they come")
	f.StringVar(&o.html, "html", "", "write a page of all of it to this `file`")
	o.flag(f)
	f.BoolVar(&o.json, "json", false, "print JSON; with --weights it holds every view")
}

// arguments is the rule for what follows the command: one folder, and behind
// it the stage if --ir was given apart from its value.
func (o *inspectOptions) arguments(cmd *cobra.Command, args []string) error {
	if len(args) == 2 && o.stage == stageGraph {
		o.stage = args[1]
		args = args[:1]
	}
	return oneModel(cmd, args)
}

// complete completes the folder, and behind it the stage if --ir was given without.
func (o *inspectOptions) complete(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 && o.stage == stageGraph {
		return begun(o.stages(args), typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
	return completeCheckpoint()(cmd, args, typed)
}

// stages are what --ir takes: of a bundle the stages, of a checkpoint nothing.
func (o *inspectOptions) stages(args []string) []string {
	switch {
	case len(args) == 0 || !bundle.IsBundle(args[0]):
		return nil
	case o.kernel != "":
		return []string{"kernel\tits kernel IR"}
	}
	return stageNames()
}

// forms lists what can be printed instead of the summary: the flag, whether it was given,
// and why --json does not go with it (empty: it does).
func (o *inspectOptions) forms() []inspectForm {
	return []inspectForm{
		{"ir", o.stage != "" && o.kernel == "", ""},
		{"weights", o.weights, ""},
		{"plan", o.plan, ""},
		{"kernel", o.kernel != "", "kernels are printed as text only"},
		{"explain", o.explain, ""},
		{"cost", o.cost, ""},
		{"html", o.html != "", "the page goes to a file"},
	}
}

type inspectForm struct {
	flag   string
	given  bool
	noJSON string
}

// check refuses flags that make no sense together, before any file is opened.
func (o *inspectOptions) check(given func(flag string) bool) error {
	first := ""
	for _, f := range o.forms() {
		switch {
		case !f.given:
			continue
		case first != "":
			return fmt.Errorf("--%s contradicts --%s: each prints something else; give one of them", first, f.flag)
		case o.json && f.noJSON != "":
			return fmt.Errorf("--%s contradicts --json: %s; leave one of them out", f.flag, f.noJSON)
		}
		first = f.flag
	}
	for _, needs := range []struct {
		flag  string
		other []string
	}{
		{"views", []string{"weights"}}, {"layer", []string{"weights"}}, {"context", []string{"cost"}}, {"rows", []string{"cost"}},
		{"step", []string{"plan", "cost"}}, {"wide", []string{"weights", "plan", "explain", "cost"}},
	} {
		if given(needs.flag) && !slices.Contains(needs.other, first) {
			return fmt.Errorf("--%s needs --%s", needs.flag, strings.Join(needs.other, " or --"))
		}
	}
	switch {
	case o.wide && o.json:
		return errors.New("--wide contradicts --json, which holds everything; leave one of them out")
	case o.wide && o.views:
		return errors.New("--wide contradicts --views, whose lines are as long as they come; leave one of them out")
	}
	for _, name := range []string{"kernel", "html"} {
		if given(name) && first != name {
			return fmt.Errorf("--%s needs a name, is empty", name)
		}
	}
	switch {
	case o.kernel != "" && o.stage != "" && o.stage != "kernel":
		return fmt.Errorf("--ir %s contradicts --kernel, which goes with --ir kernel", o.stage)
	case given("step") && o.step != program.Decode.String() && o.step != program.Prefill.String():
		return fmt.Errorf("--step %s: expected decode or prefill", o.step)
	}
	return o.outputOptions.check("--html", o.html)
}

// checkpointOnly refuses flags that need a bundle.
func (o *inspectOptions) checkpointOnly(path string) error {
	for _, f := range o.forms() {
		stage := f.flag == "ir" && o.stage != stageGraph
		if f.given && (stage || f.flag != "ir" && f.flag != "weights") {
			name := f.flag
			if stage {
				name = "ir " + o.stage
			}
			return fmt.Errorf("--%s needs a bundle, %s is none; make one: smelt compile %s -o DIR", name, path, path)
		}
	}
	return nil
}

func inspect(io stdio, path string, o inspectOptions) error {
	m, err := openCheckpoint(io, path)
	if err != nil {
		return err
	}
	defer m.Close()
	if o.layer >= m.Layers {
		return fmt.Errorf("--layer %d: config.json says num_hidden_layers %d; give 0 to %d", o.layer, m.Layers, m.Layers-1)
	}
	w := bufio.NewWriterSize(io.out, 64<<10)
	if err := inspectTo(w, m, o, styleFor(io.out)); err != nil {
		return err
	}
	return w.Flush()
}

func inspectTo(w *bufio.Writer, m *models.Model, o inspectOptions, st style) error {
	switch {
	case o.stage != "":
		return writeModule(w, m.Graph, m.Checkpoint.Dir, stageGraph, o.json)
	case o.weights && o.json:
		return writeWeightsJSON(w, m, o.layer)
	case o.weights && o.views:
		return writeViews(w, m, o.layer, st)
	case o.weights:
		return writeWeights(w, m, o.layer, st, o.wide)
	}
	report := summarise(m)
	if o.json {
		return writeIndented(w, report)
	}
	return report.write(w, st)
}

func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
