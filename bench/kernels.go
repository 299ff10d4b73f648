package bench

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devmem"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// KernelOptions says which steps to take apart.
type KernelOptions struct {
	Steps  []Shape
	Repeat int // times each step is run in each way, 1 to MaxRepeat
	// Kernel, if not empty, says which kernels are reported: a part of their names, or a
	// pattern of path.Match.
	Kernel string
	Tokens []int32 // of which texts are made, over and over
	// Progress, if not nil, is told what is done next.
	Progress func(what string)
}

// MaxRepeat bounds KernelOptions.Repeat: each time is kept.
const MaxRepeat = 10_000

// Shape is the size of a step.
type Shape struct {
	Phase program.Phase
	Rows  int // decode: texts with a token each; prefill: tokens of one text
	// Context is the length of the texts after the step.
	Context int
}

func (s Shape) String() string {
	if s.Phase == program.Prefill {
		return fmt.Sprintf("prefill of %d tokens, up to %d", s.Rows, s.Context)
	}
	return fmt.Sprintf("decode of %d rows at %d tokens", s.Rows, s.Context)
}

// KernelReport holds the measurements of Kernels.
type KernelReport struct {
	Machine Machine `json:"machine"`
	Model   Model   `json:"model"`
	Opening Opening `json:"opening"`
	Steps   []Step  `json:"steps"`
	Error   *string `json:"error"` // what ended the measurements; nil for nothing
}

// Step is one step taken apart. It is run in two or three ways, and what is measured in
// one is compared with nothing of another: Whole as it usually runs, OneByOne with its
// dispatches timed one by one, and, if it is Cold, a third time for Kernels, which else
// are of the second.
type Step struct {
	Kind    string `json:"kind"`
	Rows    int    `json:"rows"`
	Context int    `json:"context"`
	Repeat  int    `json:"repeat"`
	// Machine has the best rates that were measured: right before the step, right after,
	// and some times more where a kernel was faster. Before and After are the first two.
	Machine roofline.Rates `json:"machine"`
	Before  roofline.Rates `json:"machine_before"`
	After   roofline.Rates `json:"machine_after"`
	// Whole is the time of a step as it usually runs.
	Whole Spread `json:"whole_seconds"`
	// Floor is the time of a decode step whose kernels do nothing; 0 where the device
	// cannot tell.
	Floor float64 `json:"launch_floor_seconds"`
	// OneByOne is the time of a step whose dispatches are timed one by one and right
	// after each other, and Outside the share of it that passes outside of them.
	OneByOne Spread  `json:"one_by_one_seconds"`
	Outside  float64 `json:"outside_share"`
	// Cold: for Kernels, memory larger than the caches was read before each dispatch,
	// because the step's own weights would stay in them.
	Cold    bool     `json:"cold"`
	Kernels []Kernel `json:"kernels"` // by time, the longest first
	// All are the step's kernels together, those that are not in Kernels too.
	All Kernel `json:"all_kernels"`
}

// Kernel sums up a step's dispatches of one kernel. Bytes count what they need, each
// byte once; operations count what they execute. What a step of this size and with the
// likeliest token picked skips is not counted.
type Kernel struct {
	Name       string  `json:"name"`
	Dispatches int     `json:"dispatches"`
	Seconds    Spread  `json:"seconds"` // of all its dispatches in a step
	Share      float64 `json:"share"`   // of the time in kernels of the same runs
	Bytes      int64   `json:"bytes"`
	Flops      int64   `json:"flops"`
	// The rates at the median, per second, and as shares of the machine's.
	BytesPerSecond float64 `json:"bytes_per_second"`
	FlopsPerSecond float64 `json:"flops_per_second"`
	OfRead         float64 `json:"share_of_read"`
	OfCopy         float64 `json:"share_of_copy"`
	OfPeak         float64 `json:"share_of_peak"`
	// Threadgroups are those of its largest dispatch, of so many Threads each.
	Threadgroups int64 `json:"threadgroups"`
	Threads      int   `json:"threads"`
	// Registers of a thread, and bytes that found none; 0 where the device does not tell.
	Registers int `json:"registers"`
	Spilled   int `json:"spilled_bytes"`
	// Cached: half of the bytes or more may stand in caches, so that rates of bytes are
	// rates of these: what was written just before, or what is written and need not have
	// reached memory yet.
	Cached bool `json:"cached"`
	// Above: a share is above 1 that caches do not explain, as the machine was slower
	// when its own rates were measured.
	Above bool `json:"above"`

	cached int64 // bytes
}

// rotates is how many bytes of weights a step must go through so that none are
// left in caches when it comes round again: several times the largest there are.
const rotates = 1 << 30

// Kernels takes steps apart. The device's slots are used, and empty afterwards. After
// an error of a step the report has the steps before.
func Kernels(ctx context.Context, dev device.Profiled, o KernelOptions) (*KernelReport, error) {
	if len(o.Tokens) == 0 {
		return nil, errNoTokens
	}
	if o.Repeat < 1 || o.Repeat > MaxRepeat {
		return nil, fmt.Errorf("each step %d times: expected 1 to %d", o.Repeat, MaxRepeat)
	}
	b := &bench{dev: dev, ctx: ctx, tokens: o.Tokens}
	r := &KernelReport{Steps: []Step{}}
	for _, s := range o.Steps {
		if err := s.fits(&dev.Bundle().Plan.Options); err != nil {
			return nil, err
		}
	}
	var err error
	if b.chosen, err = choose(dev.Bundle().Plan, o.Kernel); err != nil {
		return nil, err
	}
	for _, s := range o.Steps {
		if !b.hasChosen(s) {
			continue
		}
		if o.Progress != nil {
			o.Progress(s.String())
		}
		step, err := b.step(s, o.Repeat)
		if err != nil {
			return r, fmt.Errorf("%s: %w", s, err)
		}
		r.Steps = append(r.Steps, *step)
	}
	if len(r.Steps) == 0 && len(o.Steps) > 0 {
		return nil, option.Errorf("%s %s: no step that is asked for has such a kernel", option.Name("Kernel"), message.Quote(o.Kernel))
	}
	return r, nil
}

// fits refuses steps that a plan has no room for.
func (s Shape) fits(p *plan.Options) error {
	most, slots := p.Chunk, 1
	if s.Phase == program.Decode {
		most, slots = program.MaxDecodeRows, s.Rows
	}
	switch {
	case s.Rows < 1 || s.Rows > most:
		return option.Errorf("%s: expected 1 to %d rows (for prefill: compile with a larger %s)", s, most, option.Name("Chunk"))
	case slots > p.Slots || s.Phase == program.Decode && slots > p.Wanted:
		return option.Errorf("%s: the bundle has %d slots and gives logits of %d rows; compile it with %s %d %s %d", s, p.Slots, p.Wanted, option.Name("Slots"), slots, option.Name("Wanted"), max(slots, p.Wanted))
	case s.Context > p.Context:
		return option.Errorf("%s: the bundle takes contexts of %d; compile it with %s %d", s, p.Context, option.Name("Context"), s.Context)
	case s.Phase == program.Decode && s.Context < 2 || s.Context < s.Rows && s.Phase == program.Prefill:
		return fmt.Errorf("%s: the context is too short for that", s)
	}
	return nil
}

// step measures one shape.
func (b *bench) step(s Shape, repeat int) (*Step, error) {
	m, err := b.prepare(s)
	if err != nil {
		return nil, err
	}
	defer b.reset()
	out := &Step{Kind: s.Phase.String(), Rows: s.Rows, Context: s.Context, Repeat: repeat}
	if out.Before, err = b.dev.Roofline(); err != nil {
		return nil, err
	}
	whole, err := m.times(profile.Off, repeat)
	if err != nil {
		return nil, err
	}
	out.Whole = spread(whole.steps)
	if s.Phase == program.Decode {
		if out.Floor, err = b.floor(); err != nil {
			return nil, err
		}
	}
	timed, err := m.times(profile.Warm, repeat)
	if err != nil {
		return nil, err
	}
	out.Outside = timed.outside()
	out.OneByOne = spread(slices.Clone(timed.steps))
	if m.weights() < rotates {
		out.Cold = true
		if timed, err = m.times(profile.Cold, repeat); err != nil {
			return nil, err
		}
	}
	if out.After, err = b.dev.Roofline(); err != nil {
		return nil, err
	}
	out.Machine = best(out.Before, out.After)
	kernels := m.kernels(timed, out.Cold)
	out.take(kernels, b.chosen)
	for range again {
		if !out.above() {
			break
		}
		more, err := b.dev.Roofline()
		if err != nil {
			return nil, err
		}
		out.Machine = best(out.Machine, more)
		out.take(kernels, b.chosen)
	}
	return out, nil
}

// again is how often the machine's rates are measured once more where a kernel was
// faster: something else may have been using the machine.
const again = 3

// best takes the higher rates.
func best(a, b roofline.Rates) roofline.Rates {
	return roofline.Rates{Read: max(a.Read, b.Read), Copy: max(a.Copy, b.Copy), Flops: max(a.Flops, b.Flops)}
}

// measurement is a step that can be run again and again.
type measurement struct {
	*bench
	shape  Shape
	plan   *plan.Step
	costs  []plan.Cost
	rows   []ir.Row
	wanted []int
	marks  []*devmem.Mark
}

// prepare brings the slots to the length that the step begins at. Texts begin
// with a chunk of real rows, which are then repeated.
func (b *bench) prepare(s Shape) (*measurement, error) {
	p := b.dev.Bundle().Plan
	m := &measurement{bench: b, shape: s, plan: p.Step(s.Phase)}
	slots, start := 1, s.Context-s.Rows
	if s.Phase == program.Decode {
		slots, start = s.Rows, s.Context-1
	}
	b.reset()
	caches := b.dev.Caches()
	if start > 0 {
		if _, err := b.extend(0, min(start, p.Chunk)); err != nil {
			return nil, err
		}
		if err := caches.Stretch(0, start); err != nil {
			return nil, err
		}
	}
	var err error
	if m.costs, err = Costs(m.plan, s, b.picks()); err != nil {
		return nil, err
	}
	for slot := range int32(slots) {
		if slot > 0 {
			if err := caches.Copy(slot, 0); err != nil {
				return nil, err
			}
		}
		mark, err := caches.Mark(slot)
		if err != nil {
			return nil, err
		}
		m.marks = append(m.marks, mark)
		n := s.Rows / slots
		m.rows = append(m.rows, b.rows(slot, start, n)...)
		m.wanted = append(m.wanted, len(m.rows)-1)
	}
	return m, nil
}

func (m *measurement) rewind() error {
	for _, mark := range m.marks {
		if err := m.dev.Caches().Rewind(mark); err != nil {
			return err
		}
	}
	return nil
}

func (m *measurement) weights() (n int64) {
	for _, c := range m.costs {
		n += c.Weights
	}
	return n
}

// timed holds the times of repeated steps.
type timed struct {
	steps      []time.Duration
	dispatches [][]time.Duration // of each step
}

// outside is the median share of steps' times that no dispatch has.
func (t *timed) outside() float64 {
	var shares []float64
	for i, whole := range t.steps {
		inside := time.Duration(0)
		for _, d := range t.dispatches[i] {
			inside += d
		}
		shares = append(shares, 1-inside.Seconds()/whole.Seconds())
	}
	slices.Sort(shares)
	return shares[len(shares)/2]
}

// times runs the step once to warm up, then n times.
func (m *measurement) times(how profile.Mode, n int) (*timed, error) {
	if err := m.dev.Profile(how); err != nil {
		return nil, err
	}
	out := &timed{}
	for i := range n + 1 {
		if err := m.ctx.Err(); err != nil {
			return nil, err
		}
		if err := m.rewind(); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := m.run(); err != nil {
			return nil, err
		}
		if took := time.Since(start); i > 0 {
			out.steps = append(out.steps, took)
			out.dispatches = append(out.dispatches, m.dev.Timings(m.shape.Phase))
		}
	}
	return out, m.dev.Profile(profile.Off)
}

// picks reports whether steps pick the likeliest tokens, as they do where text is made.
func (b *bench) picks() bool {
	_, ok := b.dev.(device.Sampler)
	return ok
}

// Costs counts what the dispatches of a step of some size move and compute, which picks
// the likeliest tokens or none.
func Costs(p *plan.Step, s Shape, likeliest bool) ([]plan.Cost, error) {
	symbols := p.Symbols(s.Context, s.Rows)
	maps.Copy(symbols, program.Picks(likeliest))
	return p.Costs(symbols, nil)
}

func (m *measurement) run() (err error) {
	s, picks := m.dev.(device.Sampler)
	decode := m.shape.Phase == program.Decode
	choices, tokens := make([]sampling.Choice, len(m.wanted)), make([]int32, len(m.wanted))
	switch {
	case picks && decode:
		return s.SampleDecode(m.rows, m.wanted, choices, tokens)
	case picks:
		return s.SamplePrefill(m.rows, m.wanted, choices, tokens)
	case decode:
		_, err = m.dev.Decode(m.rows, m.wanted)
	default:
		_, err = m.dev.Prefill(m.rows, m.wanted)
	}
	return err
}

// kernels adds the dispatches up by kernel, the longest first.
func (m *measurement) kernels(t *timed, cold bool) []Kernel {
	byName, names := map[string]*Kernel{}, []string{}
	times := map[string][]time.Duration{}
	for i, d := range m.plan.Dispatches {
		name := d.Kernel.Name
		k := byName[name]
		if k == nil {
			k = &Kernel{Name: name, Threads: d.Kernel.Schedule.Threads}
			m.examine(k)
			byName[name] = k
			names = append(names, name)
			times[name] = make([]time.Duration, len(t.steps))
		}
		if c := m.costs[i]; c.Grid[0]*c.Grid[1]*c.Grid[2] > 0 {
			k.add(c, cold)
		}
		for step := range t.steps {
			times[name][step] += t.dispatches[step][i]
		}
	}
	var out []Kernel
	for _, name := range names {
		k := byName[name]
		if k.Dispatches == 0 {
			continue // its grid is empty in steps of this size
		}
		k.Seconds = spread(times[name])
		out = append(out, *k)
	}
	slices.SortStableFunc(out, func(a, b Kernel) int { return cmp.Compare(b.Seconds.Median, a.Seconds.Median) })
	return out
}

// add adds a dispatch. Weights and rows of caches are read once in a step, which goes
// through more memory than caches hold; activations are read when they have just been
// written, if nothing else was read in between.
func (k *Kernel) add(c plan.Cost, cold bool) {
	k.Dispatches++
	k.Threadgroups = max(k.Threadgroups, c.Grid[0]*c.Grid[1]*c.Grid[2])
	k.Bytes += c.Bytes()
	k.Flops += c.Flops
	k.cached += c.Write + c.CacheWrite
	if !cold {
		k.cached += c.Read
	}
}

// rates compares with what the machine can do.
func (k *Kernel) rates(machine roofline.Rates) {
	k.BytesPerSecond = float64(k.Bytes) / k.Seconds.Median
	k.FlopsPerSecond = float64(k.Flops) / k.Seconds.Median
	k.OfRead, k.OfCopy = k.BytesPerSecond/machine.Read, k.BytesPerSecond/machine.Copy
	k.OfPeak = k.FlopsPerSecond / machine.Flops
	k.Cached = k.Bytes > 0 && 2*k.cached >= k.Bytes
	k.Above = k.OfPeak > 1 || k.OfRead > 1 && !k.Cached
}

// take sums up all kernels and keeps those that are chosen.
func (s *Step) take(kernels []Kernel, chosen map[string]bool) {
	s.Kernels = nil
	s.All = s.sum("kernels together", kernels)
	s.All.Share = 1
	for _, k := range kernels {
		if chosen[k.Name] {
			k.rates(s.Machine)
			k.Share = k.Seconds.Median / s.All.Seconds.Median
			s.Kernels = append(s.Kernels, k)
		}
	}
}

// sum adds kernels up.
func (s *Step) sum(name string, kernels []Kernel) Kernel {
	t := Kernel{Name: name}
	for _, k := range kernels {
		t.Dispatches += k.Dispatches
		t.Bytes += k.Bytes
		t.Flops += k.Flops
		t.cached += k.cached
		t.Share += k.Share
		t.Seconds.Median += k.Seconds.Median
		t.Seconds.P10 += k.Seconds.P10
		t.Seconds.P90 += k.Seconds.P90
	}
	t.rates(s.Machine)
	return t
}

// above reports whether a share is above 1 that caches do not explain.
func (s *Step) above() bool {
	return s.All.Above || slices.ContainsFunc(s.Kernels, func(k Kernel) bool { return k.Above })
}
