package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"smelt.example/smelt/bench"
	"smelt.example/smelt/codegen/bundle"
)

// benchRunOptions are the flags of `smelt bench run`.
type benchRunOptions struct {
	benchOptions
	frontiers []int
	rows      []int
	generate  int
	chunk     int
}

func newBenchRun(io stdio) *cobra.Command {
	var o benchRunOptions
	cmd := &cobra.Command{
		Use:   "run CHECKPOINT|BUNDLE",
		Short: "Prefill and decode speed at growing lengths of text",
		Long: `Run extends a text to each frontier, remembers the place, generates a fixed
number of tokens (an end-of-text token does not end it), goes back and goes on.
It reports tokens a second of each interval of the prompt and of generating at
each frontier, alone or with several texts side by side, and the bytes of cache
a text has filled. Only steps are timed; the first of each kind is not.

--csv has the columns of ds4-bench, and a last one with the number of texts.`,
		Example: `  smelt bench run BUNDLE
  smelt bench run BUNDLE --frontiers 512,2048,8192,32768 --svg run.svg
  smelt bench run --synthetic flash --layers 4 --rows 1,2,4,8,16 -n 8
  smelt bench run --synthetic flash --layers 43 --stored 16 --rows 1,4,16
  smelt bench run BUNDLE --csv > run.csv`,
		ValidArgsFunction: completeCheckpoint(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd, args); err != nil {
				return err
			}
			return o.run(cmd, io, args)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	intsFlag(f, &o.frontiers, "frontiers", nil, contexts, "lengths of text, ascending (default: 512 and its doubles, up to 8192 and the context)")
	intsFlag(f, &o.rows, "rows", []int{1}, decodeRows, "texts side by side when generating, a measurement for each number")
	intFlag(f, &o.generate, "generate", "n", 64, tokenCounts, "tokens to generate at each frontier")
	intFlag(f, &o.chunk, "chunk", "", 0, chunks, fmt.Sprintf("prompt tokens a step, of a CHECKPOINT or --synthetic (default %d)", bundle.DefaultChunk))
	o.flags(cmd)
	return cmd
}

// longestDefault is the last frontier if none are given.
const longestDefault = 8192

func (o *benchRunOptions) check(cmd *cobra.Command, args []string) error {
	before := 0
	for _, n := range o.frontiers {
		if n <= before {
			return fmt.Errorf("--frontiers: expected numbers that ascend from 1 on, found %d after %d", n, before)
		}
		before = n
	}
	return o.benchOptions.check(cmd, args)
}

func (o *benchRunOptions) run(cmd *cobra.Command, io stdio, args []string) error {
	o.device.Context = longestDefault + o.generate
	if len(o.frontiers) > 0 {
		o.device.Context = o.frontiers[len(o.frontiers)-1] + o.generate
	}
	o.device.Slots = slices.Max(o.rows)
	if o.chunk == 0 {
		o.chunk = bundle.DefaultChunk
	}
	o.device.Chunk = min(o.chunk, o.device.Context)
	o.sizes = "the context is the last of --frontiers and --generate together, and slots are the most of --rows"
	r, err := o.open(cmd, io, args)
	if err != nil {
		return err
	}
	defer r.close()
	if len(o.frontiers) == 0 {
		o.frontiers = defaultFrontiers(r.dev.Bundle().Plan.Context - o.generate)
	}
	p := &benchProgress{io: io}
	defer p.end()
	report, err := bench.Run(cmd.Context(), r.dev, bench.RunOptions{Frontiers: o.frontiers, Generate: o.generate, Rows: o.rows, Tokens: r.tokens, Progress: p.next})
	p.end()
	if err != nil && !o.tells(err, report != nil) {
		return interrupted(err)
	}
	report.Machine, report.Model, report.Opening = r.machine, r.model, r.opening
	report.Opening.Process = peakMemory()
	if report.Error = reported(err); err != nil {
		return errors.Join(err, o.encode(io, report))
	}
	return o.print(cmd.Context(), io, report, func() error { return printRun(io.out, styleFor(io.out), report) })
}

// interrupted is the error of a measurement, or that it was ended by Ctrl-C.
func interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	return err
}

// defaultFrontiers are 512 and its doubles up to a length, or that length if it
// is shorter.
func defaultFrontiers(most int) []int {
	var out []int
	for n := 512; n <= min(most, longestDefault); n *= 2 {
		out = append(out, n)
	}
	if len(out) == 0 && most > 0 {
		out = append(out, most)
	}
	return out
}

// printRun writes the table.
func printRun(w io.Writer, st style, r *bench.RunReport) error {
	if err := printOpening(w, st, r.Machine, r.Model, r.Opening); err != nil {
		return err
	}
	fmt.Fprintf(w, "prefill in steps of %d tokens\n\n", r.Chunk)
	t := table{columns: []column{{"tokens", true}, {"prefill tokens/s", true}, {"cache MB", true}, {"texts", true}, {"decode tokens/s", true}, {"first step", true}, {"median", true}, {"p10", true}, {"p90", true}}}
	idles := slices.ContainsFunc(r.Frontiers, func(f bench.Frontier) bool {
		return slices.ContainsFunc(f.Decode, func(d bench.Decode) bool { return d.Idle != nil })
	})
	if idles {
		t.columns = append(t.columns, column{"idle between steps", true})
	}
	for _, f := range r.Frontiers {
		for i, d := range f.Decode {
			prefill := []string{"", "", ""}
			if i == 0 {
				prefill = []string{grouped(f.Context), fmt.Sprintf("%.2f", f.TokensPerSecond), fmt.Sprintf("%.2f", float64(f.CacheBytes)/1e6)}
			}
			cells := append(prefill, strconv.Itoa(d.Rows), fmt.Sprintf("%.2f", d.TokensPerSecond), bench.InTime(d.First), bench.InTime(d.Step.Median), bench.InTime(d.Step.P10), bench.InTime(d.Step.P90))
			switch {
			case d.Idle != nil:
				cells = append(cells, fmt.Sprintf("%.2f %%", 100**d.Idle))
			case idles:
				cells = append(cells, "")
			}
			t.add(cells...)
		}
	}
	if err := t.write(w, "", st); err != nil {
		return err
	}
	for _, f := range r.Frontiers {
		for _, d := range f.Decode {
			if g := d.Graphs; g != nil {
				fmt.Fprintf(w, "from %s tokens, %s: of %.0f nodes of a step's graph %.1f were updated, in %s; %s made\n",
					grouped(f.Context), plural(d.Rows, "row"), g.Nodes, g.Updated, bench.InTime(g.Seconds), plural(g.Made, "graph"))
			}
		}
	}
	return nil
}

// printOpening writes what was measured and what opening it took.
func printOpening(w io.Writer, st style, m bench.Machine, model bench.Model, o bench.Opening) error {
	fmt.Fprintf(w, "%s, %s, %s of weights, caches %s\n", st.bold(model.Name), model.Layout, bytesInWords(model.Weights), model.Cache)
	if model.Note != "" {
		fmt.Fprintln(w, model.Note)
	}
	processor := m.Processor
	if processor != "" {
		processor += ", "
	}
	fmt.Fprintf(w, "%s, %s%s\n", m.System, processor, m.Device)
	fmt.Fprintf(w, "%s, %d of them compiled anew, ready in %s (%s of the compiler on all threads)\n", plural(o.Kernels, "kernel"), o.Compiled, bench.InTime(o.Seconds), bench.InTime(o.Compiler))
	memory := "memory: the plan says " + bytesInWords(o.Planned)
	if o.Process > 0 {
		memory += fmt.Sprintf("; the process took %s at most, %s of it before the model was opened", bytesInWords(o.Process), bytesInWords(o.Idle))
	}
	_, err := fmt.Fprintln(w, memory)
	return err
}
