package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	lib "smelt.example/smelt"
	"smelt.example/smelt/bench"
	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/synthetic"
	"smelt.example/smelt/internal/output"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/models"
)

func newBench(io stdio) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure kernels against the machine, and speed at growing lengths",
		Long: `Bench measures what this machine does with a model.

bench kernels takes single steps apart: time, bytes and operations of every
kernel, beside what the machine was found to read and compute in the same run.
bench run measures whole texts: prefill and decode at growing lengths.`,
		Example: `  smelt bench kernels BUNDLE
  smelt bench run BUNDLE --frontiers 512,2048,8192
  smelt bench kernels --synthetic flash --layers 2`,
		Args: oneOfCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchKernels(io), newBenchRun(io))
	return cmd
}

// benchOptions are the flags that all measurements have.
type benchOptions struct {
	synthetic, format string
	layers, stored    int
	text              string
	json, csv         bool
	svg               string
	chart             *output.File // of svg; nil without it
	device            deviceOptions
	sizes             string // which flags give the context and the slots
	outputOptions
}

// measurable are the devices that tell how long their kernels take.
func measurable() devices.Table {
	return devices.All().Where(func(k devices.Kind) bool { return k.Profiles })
}

// syntheticKinds are the models that --synthetic can name.
var syntheticKinds = []struct {
	name, title string
	config      func() ([]byte, error)
}{
	{"flash", "DeepSeek-V4 Flash", synthetic.Flash},
	{"pro", "DeepSeek-V4 Pro", synthetic.Pro},
	{"storyteller", "the storyteller of examples", synthetic.Storyteller},
}

// syntheticFormats are the formats that --format can name.
var syntheticFormats = []synthetic.Format{synthetic.Official, synthetic.MLX4}

func (o *benchOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.synthetic, "synthetic", "", "measure layers of flash or pro at full width, or of the small storyteller, with random weights made in memory")
	intFlag(f, &o.layers, "layers", "", 4, from(1, maxLayers), "how many layers --synthetic makes")
	intFlag(f, &o.stored, "stored", "", 0, from(1, maxLayers), "how many of --layers have weights of their own; the others stand on these, where not all find room (default: all)")
	f.StringVar(&o.format, "format", synthetic.Official.String(), "how --synthetic stores weights: official (FP8 and FP4) or mlx-4bit")
	f.StringVar(&o.text, "text", "", "make prompts of this file's text, over and over (default: random tokens)")
	f.StringVar(&o.device.name, "device", devices.Auto, "what runs the model: "+measurable().Choices())
	intFlag(f, &o.device.Threads, "threads", "", 0, threadCounts(), "threads of --device cpu, 0 for all processors")
	gpuFlag(f, &o.device.GPU)
	targetFlag(cmd, &o.device.Target)
	pagingFlag(f, &o.device.AllowPaging)
	f.BoolVar(&o.device.Anew, "compile-anew", false, "compile kernels even if their machine code was kept, to see how long it takes")
	f.BoolVar(&o.csv, "csv", false, "print lines of comma-separated values")
	f.BoolVar(&o.json, "json", false, "print everything as one JSON object")
	f.StringVar(&o.svg, "svg", "", "also draw a chart into this file")
	o.flag(f)
	completeDevice(cmd, measurable(), autoDevice)
	var kinds, formats []string
	for _, k := range syntheticKinds {
		kinds = append(kinds, k.name+"\t"+k.title)
	}
	for _, x := range syntheticFormats {
		formats = append(formats, x.String())
	}
	completeWords(cmd, "synthetic", kinds...)
	completeWords(cmd, "format", formats...)
}

// check refuses flags that make no sense, before anything is opened.
func (o *benchOptions) check(cmd *cobra.Command, args []string) error {
	given := cmd.Flags().Changed
	switch {
	case o.synthetic == "" && len(args) != 1:
		return fmt.Errorf("expected one CHECKPOINT or BUNDLE, or --synthetic, got %d arguments (see %s --help)", len(args), cmd.CommandPath())
	case o.synthetic != "" && len(args) != 0:
		return fmt.Errorf("--synthetic contradicts %s: it makes its own weights", args[0])
	case o.synthetic == "" && (given("layers") || given("format") || given("stored")):
		return errors.New("--layers, --stored and --format are for --synthetic: another model has its own")
	case o.stored > o.layers:
		return fmt.Errorf("--stored %d contradicts --layers %d: no more are stored than there are", o.stored, o.layers)
	case o.synthetic != "" && given("text"):
		return errors.New("--text contradicts --synthetic, which has no tokenizer")
	case o.json && o.csv:
		return errors.New("--json contradicts --csv; choose one")
	}
	if given("svg") && o.svg == "" {
		return errors.New("--svg needs the name of a file, is empty")
	}
	if err := o.outputOptions.check("--svg", o.svg); err != nil {
		return err
	}
	if err := o.device.check(); err != nil {
		return err
	}
	return o.judge(args)
}

// judge finds out before anything is measured whether the chart can be written.
func (o *benchOptions) judge(args []string) (err error) {
	inputs := textInput("--text", o.text)
	if len(args) > 0 {
		inputs = append(inputs, modelInputs(args[0])...)
	}
	o.chart, err = o.file("--svg", o.svg, output.SVG, inputs...)
	return err
}

// benched is an open device with what the report says about it.
type benched struct {
	dev     device.Profiled
	machine bench.Machine
	model   bench.Model
	opening bench.Opening
	tokens  []int32
	close   func() error
}

// open prepares the model and the device. For a model that is not a bundle the
// kernels are compiled with o.device's sizes.
func (o *benchOptions) open(cmd *cobra.Command, io stdio, args []string) (_ *benched, err error) {
	ctx := cmd.Context()
	r := &benched{}
	r.opening.Idle = idleMemory()
	var m *models.Model
	var b *bundle.Bundle
	if o.synthetic != "" {
		m, err = o.makeSynthetic(ctx, io, r)
	} else {
		m, b, err = openModel(io, args[0])
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if o.device.Context > m.Context {
		return nil, fmt.Errorf("a context of %d tokens is asked for; the model was made for at most %d", o.device.Context, m.Context)
	}
	if r.tokens == nil {
		if r.tokens, err = o.prompt(ctx, io, m); err != nil {
			return nil, err
		}
	}
	o.device.Stop = ctx.Err
	d, err := openDevice(io, o.device, m, b)
	if refused := new(lib.MemoryError); b == nil && errors.As(err, &refused) && !refused.Paging {
		err = fmt.Errorf("%w (for %s, %s)", err, cmd.CommandPath(), o.sizes)
	}
	if err != nil {
		return nil, interrupted(err)
	}
	r.close = func() error { return errors.Join(d.Close(), m.Close()) }
	dev, ok := d.(device.Profiled)
	if !ok {
		return nil, errors.Join(fmt.Errorf("--device %s cannot be measured kernel by kernel; expected %s", d.Name(), measurable().Needing()), d.Close())
	}
	r.dev = dev
	r.describe(d)
	return r, nil
}

// makeSynthetic makes the layers that --synthetic asks for.
func (o *benchOptions) makeSynthetic(ctx context.Context, io stdio, r *benched) (*models.Model, error) {
	var names []string
	for _, k := range syntheticKinds {
		names = append(names, k.name)
		if k.name != o.synthetic {
			continue
		}
		config, err := k.config()
		if err != nil {
			return nil, err
		}
		options := synthetic.Options{Layers: synthetic.First(o.layers), Stored: o.stored}
		var formats []string
		known := false
		for _, f := range syntheticFormats {
			formats = append(formats, f.String())
			if f.String() == o.format {
				options.Format, known = f, true
			}
		}
		if !known {
			return nil, fmt.Errorf("--format %s: expected %s", o.format, strings.Join(formats, " or "))
		}
		s, err := synthetic.New(fmt.Sprintf("%s, %d layers of random weights", k.title, o.layers), config, options)
		if err != nil {
			return nil, fmt.Errorf("--synthetic %s: %w", o.synthetic, err)
		}
		defer io.wait(fmt.Sprintf("making %s of random weights", bytesInWords(s.Bytes())))()
		if err := s.Fill(ctx, synthetic.FillOptions{}); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		r.model.Note = "random weights: what is generated means nothing"
		if o.stored > 0 && o.stored < o.layers {
			r.model.Note += fmt.Sprintf("; layers share weights: of %d layers %d are stored, and each other reads those of one of its kind", o.layers, o.stored)
		}
		r.tokens = s.Tokens(promptTokensKept, promptSeed)
		return s.Model, nil
	}
	return nil, fmt.Errorf("--synthetic %s: expected %s", o.synthetic, strings.Join(names, " or "))
}

// Prompts are made of this many tokens, over and over; random ones always of the
// same.
const (
	promptTokensKept = 1 << 16
	promptSeed       = 1
)

// prompt gives the tokens that texts consist of.
func (o *benchOptions) prompt(ctx context.Context, io stdio, m *models.Model) ([]int32, error) {
	if o.text == "" {
		r := rand.New(rand.NewPCG(promptSeed, 0))
		tokens := make([]int32, promptTokensKept)
		for i := range tokens {
			tokens[i] = r.Int32N(int32(m.VocabSize))
		}
		return tokens, nil
	}
	tok, err := readTokenizer(io, m.Tokenizer)
	if err != nil {
		return nil, err
	}
	text, err := readTextFile(ctx, "--text", o.text)
	if err != nil {
		return nil, err
	}
	end := io.wait("tokenizing")
	tokens, err := tok.Encode(text)
	end()
	if err == nil && len(tokens) == 0 {
		err = errors.New("the file is empty; give one with some text")
	}
	if err != nil {
		return nil, fmt.Errorf("--text %s: %w", o.text, err)
	}
	return tokens, nil
}

// describe fills in what reports say beside figures.
func (r *benched) describe(d device.Device) {
	r.machine = bench.Machine{System: runtime.GOOS + "/" + runtime.GOARCH, Processor: processorName(), Device: d.Name()}
	b := r.dev.Bundle()
	memory := b.Memory()
	r.model.Name, r.model.Layout, r.model.Weights = b.Name, b.Layout, memory.Weights
	r.model.Cache = b.CacheRows + ", keys " + b.CacheKeys
	r.opening.Planned, r.opening.Kernels = memory.Peak(), len(b.Plan.Kernels)
	if c, ok := d.(device.Described); ok {
		built := c.Build()
		r.opening.Compiled, r.opening.Seconds, r.opening.Compiler = built.Compiled, built.Elapsed.Seconds(), built.Compiling.Seconds()
		r.machine.Device = fmt.Sprintf("%s, %s", d.Name(), c.Text())
	}
}

// idleMemory is the memory of the process with the compiler's library loaded and no model.
func idleMemory() int64 {
	if _, err := jit.Open(""); err != nil {
		return 0 // the device will say so
	}
	return peakMemory()
}

// measured is a report that can be printed in every form.
type measured interface {
	WriteCSV(io.Writer) error
	WriteSVG(io.Writer) error
}

// print writes a report as the flags say; table writes it for people.
func (o *benchOptions) print(ctx context.Context, io stdio, r measured, table func() error) error {
	if o.chart != nil {
		if err := write(ctx, o.chart, r.WriteSVG); err != nil {
			return err
		}
	}
	switch {
	case o.json:
		return o.encode(io, r)
	case o.csv:
		return r.WriteCSV(io.out)
	}
	return table()
}

// tells tells whether an error is told with what was measured before it, if something was.
func (o *benchOptions) tells(err error, some bool) bool {
	return some && o.json && !errors.Is(err, context.Canceled)
}

func (o *benchOptions) encode(io stdio, r measured) error {
	e := json.NewEncoder(io.out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// benchProgress says what is being measured.
type benchProgress struct {
	io   stdio
	done func() // nil before the first
}

func (p *benchProgress) next(what string) {
	p.end()
	p.done = p.io.wait("measuring: " + what)
}

func (p *benchProgress) end() {
	if p.done != nil {
		p.done()
		p.done = nil
	}
}
