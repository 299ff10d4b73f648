package bench

import (
	"context"
	"fmt"
	"time"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devmem"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// RunOptions says how long texts are measured.
type RunOptions struct {
	Frontiers []int   // lengths, ascending, at which tokens are generated
	Generate  int     // tokens that each text gets there
	Rows      []int   // texts side by side, a measurement for each number
	Tokens    []int32 // of which texts are made, over and over
	// Progress, if not nil, is told what is done next.
	Progress func(what string)
}

// RunReport holds the measurements of Run.
type RunReport struct {
	Machine   Machine    `json:"machine"`
	Model     Model      `json:"model"`
	Opening   Opening    `json:"opening"`
	Chunk     int        `json:"chunk"` // prompt tokens a step, at most
	Frontiers []Frontier `json:"frontiers"`
	Error     *string    `json:"error"` // what ended the measurements; nil for nothing
}

// Frontier is a length that a text was brought to, and what generating was
// like from there.
type Frontier struct {
	Context int `json:"context"`
	// Prefill is the part of the text since the frontier before.
	PrefillTokens   int      `json:"prefill_tokens"`
	PrefillSeconds  float64  `json:"prefill_seconds"`
	TokensPerSecond float64  `json:"prefill_tokens_per_second"`
	CacheBytes      int64    `json:"cache_bytes"` // filled by one text of this length
	Decode          []Decode `json:"decode"`
}

// Decode holds the times of generating so many texts side by side.
type Decode struct {
	Rows   int     `json:"rows"`
	Tokens int     `json:"tokens"` // of each text
	First  float64 `json:"first_seconds"`
	Step   Spread  `json:"step_seconds"`
	// TokensPerSecond are those of all texts together, the first steps included.
	TokensPerSecond float64 `json:"tokens_per_second"`
	// Steady leaves the first step out; 0 if there was no other.
	Steady float64 `json:"steady_tokens_per_second"`
	Graphs *Graphs `json:"graphs"` // nil where steps are none
	// Idle is the share of the time after the first step in which the device's processor
	// had nothing to do between steps, by its own clock; nil if it has none, or there was
	// no other step.
	Idle *float64 `json:"idle_share"`
}

// Run measures prefill and decode at growing lengths: it extends a text to each
// frontier, remembers the place, generates a fixed number of tokens whatever
// they are, goes back and goes on. Only steps are timed. With an error of a frontier the
// report has those before it.
func Run(ctx context.Context, dev device.Profiled, o RunOptions) (*RunReport, error) {
	if len(o.Tokens) == 0 {
		return nil, errNoTokens
	}
	if err := o.fits(dev); err != nil {
		return nil, err
	}
	b := &bench{dev: dev, ctx: ctx, tokens: o.Tokens}
	defer b.reset()
	b.reset()
	if err := b.warm(); err != nil {
		return nil, err
	}
	r := &RunReport{Chunk: dev.Bundle().Plan.Chunk, Frontiers: []Frontier{}}
	before := 0
	for _, at := range o.Frontiers {
		if o.Progress != nil {
			o.Progress(fmt.Sprintf("tokens %d to %d", before+1, at))
		}
		f, err := b.frontier(before, at, o)
		if err != nil {
			return r, err
		}
		r.Frontiers = append(r.Frontiers, *f)
		before = at
	}
	return r, nil
}

// fits refuses what the device's plan has no room for.
func (o *RunOptions) fits(dev device.Profiled) error {
	p := dev.Bundle().Plan
	if len(o.Frontiers) == 0 || len(o.Rows) == 0 || o.Generate < 1 {
		return fmt.Errorf("nothing to measure: %d frontiers, %d numbers of rows, %d tokens to generate", len(o.Frontiers), len(o.Rows), o.Generate)
	}
	before := 0
	for _, at := range o.Frontiers {
		if at <= before {
			return fmt.Errorf("frontiers are to ascend from 1 on, found %d after %d", at, before)
		}
		before = at
	}
	if before+o.Generate > p.Context {
		return option.Errorf("a frontier of %d tokens and %d more exceed the context of %d: compile the bundle with %s %d, or end at a lower frontier", before, o.Generate, p.Context, option.Name("Context"), before+o.Generate)
	}
	for _, rows := range o.Rows {
		if err := (Shape{program.Decode, rows, p.Context}).fits(&p.Options); err != nil {
			return err
		}
	}
	return nil
}

// warm runs a step of each kind, so that none of the measured ones is the first.
func (b *bench) warm() error {
	p := b.dev.Bundle().Plan
	n := min(p.Chunk, p.Context-1)
	if _, err := b.extend(0, n); err != nil {
		return err
	}
	_, err := b.dev.Decode(b.rows(0, n, 1), []int{0})
	b.dev.Reset(0)
	return err
}

func (b *bench) reset() {
	for slot := range b.dev.Bundle().Plan.Slots {
		b.dev.Reset(int32(slot))
	}
}

// frontier goes on from one length to the next and measures there.
func (b *bench) frontier(from, to int, o RunOptions) (*Frontier, error) {
	took, err := b.extend(from, to)
	if err != nil {
		return nil, err
	}
	f := &Frontier{Context: to, PrefillTokens: to - from, PrefillSeconds: took.Seconds(), TokensPerSecond: float64(to-from) / took.Seconds()}
	caches := b.dev.Caches()
	if f.CacheBytes, err = caches.Bytes(to); err != nil {
		return nil, err
	}
	mark, err := caches.Mark(0)
	if err != nil {
		return nil, err
	}
	for _, rows := range o.Rows {
		for slot := 1; slot < rows; slot++ {
			if err := caches.Copy(int32(slot), 0); err != nil {
				return nil, err
			}
		}
		d, err := b.generate(mark, rows, o.Generate)
		if err != nil {
			return nil, fmt.Errorf("decode of %d rows from %d tokens on: %w", rows, to, err)
		}
		f.Decode = append(f.Decode, *d)
		if err := caches.Rewind(mark); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// generate makes n tokens of each of the first slots' texts. The first tokens
// differ, so that the texts do: equal ones would share their experts.
func (b *bench) generate(mark *devmem.Mark, rows, n int) (*Decode, error) {
	step := make([]ir.Row, rows)
	wanted := make([]int, rows)
	for i, t := range b.next(rows) {
		step[i], wanted[i] = ir.Row{Token: t, Position: int32(mark.Tokens()), Slot: int32(i)}, i
	}
	before, _ := b.graphs()
	times, err := b.oneByOne(step, wanted, 1)
	if err != nil {
		return nil, err
	}
	idle, err := b.watch()
	if err != nil {
		return nil, err
	}
	rest := b.oneByOne
	if r, ok := b.dev.(device.Runner); ok && r.Ahead() {
		rest = func(step []ir.Row, wanted []int, n int) ([]time.Duration, error) {
			return b.generateAhead(r, step, wanted, n)
		}
	}
	var share *float64
	if n > 1 {
		more, err := rest(step, wanted, n-1)
		if err != nil {
			return nil, err
		}
		times = append(times, more...)
		if share, err = idle.share(); err != nil {
			return nil, err
		}
	}
	total := time.Duration(0)
	for _, t := range times {
		total += t
	}
	d := &Decode{Idle: share, Rows: rows, Tokens: n, First: times[0].Seconds(), TokensPerSecond: float64(n*rows) / total.Seconds()}
	if rest := total - times[0]; n > 1 {
		d.Steady = float64((n-1)*rows) / rest.Seconds()
	}
	d.Step, d.Graphs = spread(times), b.graphsSince(before)
	return d, nil
}

// oneByOne runs n steps, each after the tokens of the one before are known, and returns
// their times.
func (b *bench) oneByOne(step []ir.Row, wanted []int, n int) (times []time.Duration, err error) {
	for range n {
		if err := b.ctx.Err(); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := b.choose(step, wanted); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	return times, nil
}

// choose runs a step and puts the likeliest next tokens into its rows.
func (b *bench) choose(rows []ir.Row, wanted []int) error {
	picked := make([]int32, len(rows))
	if err := b.decode(rows, wanted, picked); err != nil {
		return err
	}
	for i, t := range picked {
		if t < 0 {
			return sampling.ErrNoLogits
		}
		rows[i].Token = t
		rows[i].Position++
	}
	return nil
}

// decode runs a step that picks tokens, on the device where that can.
func (b *bench) decode(rows []ir.Row, wanted []int, picked []int32) error {
	if s, ok := b.dev.(device.Sampler); ok {
		return s.SampleDecode(rows, wanted, make([]sampling.Choice, len(rows)), picked)
	}
	logits, err := b.dev.Decode(rows, wanted)
	if err != nil {
		return err
	}
	var scratch sampling.Scratch
	for i, vocab := 0, b.dev.Vocab(); i < len(rows); i++ {
		if picked[i], err = (sampling.Choice{}).Pick(logits[i*vocab:(i+1)*vocab], &scratch); err != nil {
			return err
		}
	}
	return nil
}
