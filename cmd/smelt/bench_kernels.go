package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"smelt.example/smelt/bench"
	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
)

// benchKernelsOptions are the flags of `smelt bench kernels`.
type benchKernelsOptions struct {
	benchOptions
	rows     []int
	prefill  []int
	contexts []int
	repeat   int
	kernel   string
}

func newBenchKernels(io stdio) *cobra.Command {
	var o benchKernelsOptions
	cmd := &cobra.Command{
		Use:   "kernels CHECKPOINT|BUNDLE",
		Short: "Time, bytes and operations of every kernel of a step",
		Long: `Kernels runs decode and prefill steps at one length of text and takes them
apart: median time and spread of every kernel, the bytes it needs (each counted
once) and the operations it executes, and both as shares of what the machine was
measured to do right before and after (the best of it), by kernels that only read, or
only multiply and add. Steps pick the likeliest token, and what they then skip is
not counted: filters of sampling, experts that no row can choose, entries that a
short text does not have.

The text of the asked length repeats the rows of a shorter one. If a model is so
small that its weights would stay in caches, other memory is read before each
kernel; the table is of those runs, the time outside of kernels of runs without. A mark
explains rates of bytes that are of caches, and whatever is above the machine's own.`,
		Example: `  smelt bench kernels BUNDLE
  smelt bench kernels BUNDLE --kernel attend --rows 1
  smelt bench kernels BUNDLE --rows 1,4,16 --context 32768 --prefill 0
  smelt bench kernels --synthetic flash --layers 2 --svg kernels.svg
  smelt bench kernels --synthetic flash --layers 43 --stored 16 --rows 1,4,16 --context 2047,2048 --prefill 0
  smelt bench kernels BUNDLE --json | jq '.steps[0].kernels[0]'`,
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
	intsFlag(f, &o.rows, "rows", []int{1}, from(0, program.MaxDecodeRows), "texts with a token each in a decode step, a step for each number; 0 for none")
	intsFlag(f, &o.prefill, "prefill", nil, from(0, plan.MaxChunk), "tokens of a prefill step, a step for each number; 0 for none (default: one step as large as they get)")
	intsFlag(f, &o.contexts, "context", []int{2048}, from(2, plan.MaxContext), "lengths of the texts, each step at each; at multiples of 4 and of 128 decode steps close blocks")
	f.StringVar(&o.kernel, "kernel", "", "only kernels with this in their names, or a pattern: 'attn_*_decode'")
	intFlag(f, &o.repeat, "repeat", "", 10, repeats, "times each step is run in each way")
	o.flags(cmd)
	return cmd
}

func (o *benchKernelsOptions) check(cmd *cobra.Command, args []string) error {
	for _, n := range o.prefill {
		if least := slices.Min(o.contexts); n > least {
			return fmt.Errorf("--prefill %d: expected at most the %d tokens of --context", n, least)
		}
	}
	return o.benchOptions.check(cmd, args)
}

func (o *benchKernelsOptions) run(cmd *cobra.Command, io stdio, args []string) error {
	o.device.Context, o.device.Slots = slices.Max(o.contexts), max(slices.Max(append(o.rows, 1)), 1)
	o.device.Chunk = min(max(slices.Max(append(o.prefill, 0)), bundle.DefaultChunk), o.device.Context)
	o.sizes = "slots are the most of --rows"
	r, err := o.open(cmd, io, args)
	if err != nil {
		return err
	}
	defer r.close()
	p := &benchProgress{io: io}
	defer p.end()
	report, err := bench.Kernels(cmd.Context(), r.dev, bench.KernelOptions{Steps: o.shapes(cmd, r.dev), Repeat: o.repeat, Tokens: r.tokens, Kernel: o.kernel, Progress: p.next})
	p.end()
	if err != nil && !o.tells(err, report != nil) {
		return interrupted(err)
	}
	report.Machine, report.Model, report.Opening = r.machine, r.model, r.opening
	if report.Error = reported(err); err != nil {
		return errors.Join(err, o.encode(io, report))
	}
	return o.print(cmd.Context(), io, report, func() error { return printKernels(io, report) })
}

// shapes are the steps to measure. A bundle with a shorter context than the
// default is measured at its own.
func (o *benchKernelsOptions) shapes(cmd *cobra.Command, dev device.Profiled) []bench.Shape {
	p := dev.Bundle().Plan
	contexts := o.contexts
	if !cmd.Flags().Changed("context") {
		contexts = []int{min(contexts[0], p.Context)}
	}
	var out []bench.Shape
	for _, context := range contexts {
		out = append(out, o.shapesAt(context, p.Chunk, cmd.Flags().Changed("prefill"))...)
	}
	return out
}

// shapesAt are the steps at a length of text; chosen says that --prefill was given.
func (o *benchKernelsOptions) shapesAt(context, chunk int, chosen bool) []bench.Shape {
	var out []bench.Shape
	for _, n := range o.rows {
		if n > 0 {
			out = append(out, bench.Shape{Phase: program.Decode, Rows: n, Context: context})
		}
	}
	prefill := o.prefill
	if !chosen {
		prefill = []int{min(chunk, context)}
	}
	for _, n := range prefill {
		if n > 0 {
			out = append(out, bench.Shape{Phase: program.Prefill, Rows: n, Context: context})
		}
	}
	return out
}

// printKernels writes the tables.
func printKernels(io stdio, r *bench.KernelReport) error {
	st := styleFor(io.out)
	if err := printOpening(io.out, st, r.Machine, r.Model, r.Opening); err != nil {
		return err
	}
	for i := range r.Steps {
		if err := printStep(io.out, st, &r.Steps[i]); err != nil {
			return err
		}
	}
	return nil
}

func printStep(w io.Writer, st style, s *bench.Step) error {
	fmt.Fprintf(w, "\n%s\n", st.bold(s.Title()))
	fmt.Fprintf(w, "a step takes %s\n", spreadText(s.Whole, s.Repeat))
	if s.Floor > 0 {
		fmt.Fprintf(w, "its launches alone, of kernels that do nothing, take %s\n", bench.InTime(s.Floor))
	}
	fmt.Fprintf(w, "with its dispatches one by one, %s; %.2f %% of that is outside of kernels\n", spreadText(s.OneByOne, s.Repeat), 100*s.Outside)
	if s.Cold {
		fmt.Fprintln(w, "the table's kernels began with caches full of other memory: the step's own weights would have stayed in them")
	}
	fmt.Fprintf(w, "the machine reads %.1f GB/s, copies %.1f GB/s and does %.0f GFLOP/s (before and after: %.1f and %.1f, %.1f and %.1f, %.0f and %.0f)\n",
		s.Machine.Read/1e9, s.Machine.Copy/1e9, s.Machine.Flops/1e9, s.Before.Read/1e9, s.After.Read/1e9, s.Before.Copy/1e9, s.After.Copy/1e9, s.Before.Flops/1e9, s.After.Flops/1e9)
	t := table{columns: []column{{"kernel", false}, {"n", true}, {"median", true}, {"p10", true}, {"p90", true}, {"share", true}, {"MB", true}, {"GB/s", true}, {"of read", true}, {"of copy", true}, {"GFLOP/s", true}, {"of peak", true}, {"groups x threads", true}, {"regs", true}, {"spilled", true}, {"", false}}}
	for _, k := range append(slices.Clone(s.Kernels), s.All) {
		t.add(kernelCells(k)...)
	}
	if err := t.write(w, "", st); err != nil {
		return err
	}
	for _, text := range s.Marks() {
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	return nil
}

// spreadText is a time with its spread.
func spreadText(s bench.Spread, runs int) string {
	return fmt.Sprintf("%s (%s to %s in %s)", bench.InTime(s.Median), bench.InTime(s.P10), bench.InTime(s.P90), plural(runs, "run"))
}

func kernelCells(k bench.Kernel) []string {
	return []string{
		k.Name, strconv.Itoa(k.Dispatches), bench.InTime(k.Seconds.Median), bench.InTime(k.Seconds.P10), bench.InTime(k.Seconds.P90), percent(k.Share),
		fmt.Sprintf("%.2f", float64(k.Bytes)/1e6), fmt.Sprintf("%.2f", k.BytesPerSecond/1e9), percent(k.OfRead), percent(k.OfCopy), fmt.Sprintf("%.1f", k.FlopsPerSecond/1e9), percent(k.OfPeak),
		k.Grid(), count(k.Registers), count(k.Spilled),
		strings.TrimSpace(k.Mark()),
	}
}

// count is a number, or nothing for none.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
