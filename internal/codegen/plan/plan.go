// Package plan turns launches into a static plan of a step: the order of
// dispatches, where every buffer lies in the arena, where barriers and command
// buffers end, and what each dispatch costs. A run only rewrites the block of
// step parameters.
//
// It knows launches (package program), no model and no device.
package plan

import (
	"fmt"
	"iter"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/ir"
)

// Options sizes a plan.
type Options struct {
	Context int // tokens of the longest sequence
	Chunk   int // most rows of a prefill step
	Slots   int // sequences at once
	Wanted  int // most rows of a step whose results are asked for
	Target  target.Target
}

// The largest sizes of a plan. They keep every index of an activation within 32
// bits for the largest models.
const (
	MaxContext = 1 << 24
	MaxChunk   = 1 << 14
	MaxSlots   = 1 << 12
	MaxWanted  = 1 << 14
)

// Check refuses sizes that make no plan, and a target that is not the table's.
func (o Options) Check() error {
	for _, f := range []struct {
		name        option.Name
		value, most int
	}{{"Context", o.Context, MaxContext}, {"Chunk", o.Chunk, MaxChunk}, {"Slots", o.Slots, MaxSlots}, {"Wanted", o.Wanted, MaxWanted}} {
		if f.value < 1 || f.value > f.most {
			return option.Errorf("%s is %d; expected 1 to %d", f.name, f.value, f.most)
		}
	}
	return o.Target.Check()
}

// Plan is everything of a compiled model but the kernels' text.
type Plan struct {
	Options
	Kernels    []*kernel.Kernel // distinct, by name
	Caches     []*Cache
	CacheBytes int64
	Steps      []*Step // decode, prefill
}

// Cache is a state's memory, at Offset of the cache memory.
type Cache struct {
	program.Cache
	Offset int64
	Bytes  int64
}

// Step is the plan of one kind of step.
type Step struct {
	Phase   program.Phase
	MaxRows int
	Params  *program.Step
	// Dispatches are three lists, one behind the other: the step's own; from Picks() on
	// those that pick tokens; from Scoring() on those that score tokens. The last run after
	// the step, for who asks, as often as is asked; a step that nobody asks has none of them.
	Dispatches []*Dispatch
	Buffers    []*Buffer
	ArenaBytes int64
	// Limits are the largest values of the module's symbols.
	Limits  map[string]int64
	Results []*Buffer // of the module's results, in order
	// Tokens has program.TokenSets sets of i32s. The dispatches that pick write one
	// of them: for each wanted row the token picked from the first result as the step's
	// parameters say; -1 where no logit is a number. Decode steps read another. It is nil
	// where that result is no logits (program.Logits).
	Tokens *Buffer
	// Scores has as many sets of pairs of words, program.ScoreWords for each ask. The
	// dispatches that score write one of them. It is nil where Tokens is.
	Scores *Buffer
}

// Buffer is a range of the arena: a value, or a region's scratch memory.
type Buffer struct {
	Name    string
	Bytes   ir.Expr // over the module's symbols
	Size    int64   // at the limits, a multiple of 256
	Offset  int64
	First   int // level of the first dispatch that uses it
	Last    int // level of the last
	Scratch bool
	// Area is set where the memory is a prefill step's area of a ring: its layout.
	Area *program.Cache
	Held bool // keeps what it has between steps, at one place in those of every kind
}

// Picks is the number of the first of the dispatches that pick tokens, which may be
// started later than those before them; of the first that comes then where none does.
func (s *Step) Picks() int { return s.first(program.SampleRegion, s.Scoring()) }

// Scoring is the number of the first of the dispatches that score tokens, which come last;
// that of all where none does.
func (s *Step) Scoring() int { return s.first(program.ScoreRegion, len(s.Dispatches)) }

func (s *Step) first(region string, none int) int {
	if n := slices.IndexFunc(s.Dispatches, func(d *Dispatch) bool { return d.Region == region }); n >= 0 {
		return n
	}
	return none
}

// List is one of a step's three lists of dispatches.
type List struct {
	Name     string // in words; "" is the step's own
	From, To int    // dispatches
}

// Lists are those that have dispatches, in order.
func (s *Step) Lists() []List {
	return slices.DeleteFunc([]List{{"", 0, s.Picks()}, {"picks tokens", s.Picks(), s.Scoring()}, {"scores tokens, where it is asked to", s.Scoring(), len(s.Dispatches)}},
		func(l List) bool { return l.From == l.To })
}

// HeldBytes is how much of the arena, from its beginning, steps hold.
func (s *Step) HeldBytes() int64 {
	n := int64(0)
	for _, b := range s.Buffers {
		if b.Held {
			n = max(n, b.Offset+b.Size)
		}
	}
	return n
}

// Dispatch is one launch in its place.
type Dispatch struct {
	Kernel  *kernel.Kernel
	Region  string
	Role    string
	Grid    [3]ir.Expr
	Args    []Arg
	Level   int  // number of barriers before it
	Barrier bool // before it
	// CommandBuffer numbers the command buffer it goes into.
	CommandBuffer int
}

// Values are the named values that a dispatch writes: the arena's buffers that are
// no region's own memory; and the areas that it appends to.
func (x *Dispatch) Values() iter.Seq[*Buffer] {
	return func(yield func(*Buffer) bool) {
		for _, a := range x.Args {
			if a.Buffer == nil || a.Param.Access == kernel.Read || a.Buffer.Scratch && (a.Buffer.Area == nil || x.Region == program.RingsRegion) {
				continue
			}
			if !yield(a.Buffer) {
				return
			}
		}
	}
}

// Arg binds one kernel parameter; one of Buffer, Cache, Weight and Scalar is set.
type Arg struct {
	Param         *kernel.Param
	Buffer        *Buffer
	Cache         *Cache
	Weight        *program.WeightArg
	Scalar        *int32
	BytesAccessed ir.Expr // bytes the dispatch needs of it, each counted once
	// AtMost, if not nil, is what it needs of it where that is less: of short texts and
	// few rows.
	AtMost *ir.Expr
}

// Build plans both kinds of steps of a fused module, and tells begin, if not nil, how
// that goes.
func Build(m *ir.Module, params storage.Parameters, o Options, begin progress.Begin) (*Plan, error) {
	p, err := Uncut(m, params, o, begin)
	if err != nil {
		return nil, err
	}
	weights := int64(0)
	for _, q := range params {
		weights += q.Bytes()
	}
	for _, s := range p.Steps {
		if err := s.splitCommandBuffers(p.rows(s), weights, begin); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Uncut is Build with each step in one command buffer: where they end follows
// from what kernels cost, and estimating that takes most of Build's time. What a
// step computes does not depend on it.
func Uncut(m *ir.Module, params storage.Parameters, o Options, begin progress.Begin) (*Plan, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	p := &Plan{Options: o}
	if err := p.layoutCaches(m); err != nil {
		return nil, err
	}
	names := newNamer()
	phases := []program.Phase{program.Decode, program.Prefill}
	done, end := begin.Phase("planning", int64(len(phases)*len(m.Regions)), "regions")
	defer end()
	for _, phase := range phases {
		step, err := p.buildStep(m, params, phase, names, done)
		if err != nil {
			return nil, err
		}
		p.Steps = append(p.Steps, step)
	}
	p.Kernels = names.kernels
	return p, nil
}

// Step returns the plan of a kind of step.
func (p *Plan) Step(phase program.Phase) *Step { return p.Steps[phase] }

// layoutCaches gives every state its place. Rows of a log that is kept whole
// stand at their index; of others a ring holds what a reader may look back to,
// and what decode steps append beside. Prompts run in areas (rings.go).
func (p *Plan) layoutCaches(m *ir.Module) error {
	limits := p.limits(m, program.Prefill)
	for _, s := range m.States {
		name := s.Stored
		if name == "" {
			name = "f32"
		}
		format, err := encoding.ParseRow(name)
		if err != nil {
			return fmt.Errorf("state @%s: %w", s.Name, err)
		}
		width := 1
		for _, d := range s.Row.Shape {
			n, _ := d.Value()
			width *= int(n)
		}
		row, err := format.Layout(width)
		if err != nil {
			return fmt.Errorf("state @%s: %w", s.Name, err)
		}
		keep, err := s.Keep.Eval(env(limits))
		if err != nil {
			return fmt.Errorf("state @%s: keep: %w", s.Name, err)
		}
		c := &Cache{Cache: program.Cache{State: s, Row: row, Slots: p.Slots, Capacity: int(max(keep, 1))}, Offset: p.CacheBytes}
		if _, constant := s.Keep.Value(); constant {
			c.Ring = true
			c.Capacity = program.KeptRows(c.Capacity, p.Context)
		}
		c.Bytes = align(int64(c.Capacity) * int64(row.Bytes) * int64(p.Slots))
		p.Caches = append(p.Caches, c)
		p.CacheBytes += c.Bytes
	}
	return nil
}

// align rounds up to what every buffer begins at: 256 bytes.
func align(n int64) int64 { return (n + 255) / 256 * 256 }

func env(values map[string]int64) ir.Env {
	return func(name string) (int64, bool) { v, ok := values[name]; return v, ok }
}

// rows is how many rows a step has at most when texts are generated: a decode step has one
// for each, whose logits are wanted.
func (p *Plan) rows(s *Step) int {
	if s.Phase == program.Decode {
		return min(s.MaxRows, p.Slots, p.Wanted)
	}
	return s.MaxRows
}

// maxRows is the most rows of a kind of step.
func (p *Plan) maxRows(phase program.Phase) int {
	if phase == program.Decode {
		return program.MaxDecodeRows
	}
	return p.Chunk
}

// limits are the largest values of the symbols in steps of a kind: a run of n rows of one
// text closes n/R blocks, or one more.
func (p *Plan) limits(m *ir.Module, phase program.Phase) map[string]int64 {
	out, rows, texts := map[string]int64{}, p.maxRows(phase), int64(1)
	if phase == program.Decode {
		texts = int64(p.Slots)
	}
	for _, s := range m.Symbols {
		switch s.Def {
		case ir.Rows:
			out[s.Name] = int64(rows)
		case ir.Wanted:
			out[s.Name] = int64(min(p.Wanted, rows))
		case ir.Reach:
			out[s.Name] = int64(p.Context)
		case ir.Closing:
			out[s.Name] = min(int64(rows), int64(rows)/s.Arg+texts)
		}
	}
	return out
}

// Symbols gives the values of the module's symbols for a step of `rows` rows
// that all end a sequence of `context` tokens (decode: rows slots; prefill: the
// last rows of one), with one wanted row for each slot; and "position", the
// middle row's, by which costs are estimated. Of all wanted rows a token is drawn, and
// scored with as many others as can be listed.
func (s *Step) Symbols(context, rows int) map[string]int64 {
	out := map[string]int64{"position": int64(context - 1)}
	if s.Phase == program.Prefill {
		out["position"] = int64(context - 1 - rows/2)
	}
	for _, sym := range s.Params.Symbols {
		switch sym.Def {
		case ir.Rows:
			out[sym.Name] = int64(rows)
		case ir.Wanted:
			out[sym.Name] = 1
			if s.Phase == program.Decode {
				out[sym.Name] = int64(rows)
			}
			out[program.SampledRows], out[program.DrawnRows] = out[sym.Name], out[sym.Name]
			out[program.ScoredTokens], out[program.ScoreTop] = out[sym.Name], program.MaxTop
		case ir.Reach:
			out[sym.Name] = int64(context)
		case ir.Closing:
			if s.Phase == program.Prefill {
				out[sym.Name] = int64(context)/sym.Arg - (int64(context)-int64(rows))/sym.Arg
			} else if int64(context)%sym.Arg == 0 {
				out[sym.Name] = int64(rows)
			} else {
				out[sym.Name] = 0
			}
		}
	}
	return out
}
