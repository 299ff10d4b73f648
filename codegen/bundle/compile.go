package bundle

import (
	"fmt"
	"path/filepath"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/passes"
)

// Source is a graph whose parameters are bound to a checkpoint.
type Source struct {
	Name       string // of the model
	Graph      *ir.Module
	Checkpoint *checkpoint.Checkpoint
	Binding    *checkpoint.Binding
}

// SourceOf is an open model as Compile takes it.
func SourceOf(m *arch.Model) Source {
	return Source{Name: m.Graph.Name, Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}
}

// Options configure a compile. Zero values mean the defaults.
type Options struct {
	Context int // tokens of the longest sequence
	Chunk   int // rows of a prefill step
	Slots   int // sequences at once
	Wanted  int // rows of a step whose logits are asked for
	Formats passes.Formats
	Target  target.Target // the zero value is target.GPU
	Lean    bool          // stages keep their reports, not their modules
	// Dump sees every stage of the passes.
	Dump func(index int, pass string, m *ir.Module) error
	// Begin is told of phases that may take long, now and by the Bundle's methods; nil
	// for nobody.
	Begin progress.Begin
}

// Defaults: a chunk of 512 rows reads each weight once for many rows while its
// arena stays far below the weights; 16 wanted rows are those of a decode step.
const (
	DefaultContext = 8192
	DefaultChunk   = 512
	DefaultSlots   = 1
	DefaultWanted  = program.MaxDecodeRows
)

// defaults fills in what is zero.
func (o Options) defaults() Options {
	for _, f := range []struct {
		field *int
		value int
	}{{&o.Context, DefaultContext}, {&o.Chunk, DefaultChunk}, {&o.Slots, DefaultSlots}, {&o.Wanted, DefaultWanted}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if o.Target.Name == "" {
		o.Target = target.GPU
	}
	if o.Formats.Rows == "" {
		o.Formats.Rows = "fp8"
	}
	if o.Formats.Keys == "" {
		o.Formats.Keys = "fp4"
	}
	return o
}

// Compile takes a bound graph through the passes and plans its kernels. The
// stages of the passes come with it, for inspection; on an error as far as
// they were reached.
func Compile(s Source, o Options) (*Bundle, *passes.Result, error) {
	o = o.defaults()
	stages, err := passes.Run(s.Graph, passes.Options{Formats: o.Formats, Lean: o.Lean, Dump: o.Dump, Begin: o.Begin})
	if err != nil {
		return nil, stages, err
	}
	end := o.Begin.Wait("finding the parameters")
	params, err := storage.Bound(s.Checkpoint, s.Binding, s.Graph)
	end()
	if err != nil {
		return nil, stages, err
	}
	p, err := plan.Build(stages.Module, params, plan.Options{Context: o.Context, Chunk: o.Chunk, Slots: o.Slots, Wanted: o.Wanted, Target: o.Target}, o.Begin)
	if err != nil {
		return nil, stages, err
	}
	if err := p.Check(stages.Module); err != nil {
		return nil, stages, fmt.Errorf("a bug in the planner: %w", err)
	}
	dir, err := filepath.Abs(s.Checkpoint.Dir)
	if err != nil {
		return nil, stages, err
	}
	b := &Bundle{
		Name: s.Name, Checkpoint: dir, Layout: s.Binding.Layout, Config: digest(s.Checkpoint.ConfigJSON()), Files: filesOf(s.Checkpoint),
		CacheRows: o.Formats.Rows, CacheKeys: o.Formats.Keys, Module: stages.Module, Plan: p, Params: params,
		times: timesOf(s.Checkpoint), Begin: o.Begin,
	}
	b.Notes = notes(stages)
	return b, stages, nil
}

// notes keeps what the passes decided.
func notes(r *passes.Result) []string {
	var out []string
	for _, s := range r.Stages[1:] {
		out = append(out, s.Name+": "+s.Report.String())
		out = append(out, s.Report.Notes...)
	}
	return out
}

// For is the bundle planned for a target: the same module, cache rows and
// sizes, with that target's schedules. It returns b itself if the target runs its
// kernels.
func (b *Bundle) For(t target.Target) (*Bundle, error) {
	if t.Runs(b.Plan.Target) {
		return b, nil
	}
	o := b.Plan.Options
	o.Target = t
	return b.planned(o)
}

// Wanting is the bundle planned for steps that give the logits of at least so many
// rows; b itself if its steps do. Kernels are the same: only memory grows.
func (b *Bundle) Wanting(rows int) (*Bundle, error) {
	if b.Plan.Wanted >= rows {
		return b, nil
	}
	o := b.Plan.Options
	o.Wanted = rows
	return b.planned(o)
}

// planned is the bundle's module planned with other options, in memory only.
func (b *Bundle) planned(o plan.Options) (*Bundle, error) {
	p, err := plan.Build(b.Module, b.Params, o, b.Begin)
	if err != nil {
		return nil, err
	}
	if err := p.Check(b.Module); err != nil {
		return nil, fmt.Errorf("a bug in the planner: %w", err)
	}
	other := *b
	other.Plan, other.Dir, other.seal, other.folder = p, "", "", ""
	return &other, nil
}
