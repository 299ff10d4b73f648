package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
)

// costReport is the output of `smelt inspect BUNDLE --cost --json`. Field names
// are stable; docs/json.md explains them. Lists are never null.
type costReport struct {
	Path           string         `json:"path"`
	Model          string         `json:"model"`
	Step           string         `json:"step"`
	Context        int            `json:"context"`
	Rows           int            `json:"rows"`
	Total          costNumbers    `json:"total"`
	Barriers       int            `json:"barriers"`
	CommandBuffers int            `json:"command_buffers"`
	Minimum        int64          `json:"minimum_bytes"`
	Ratio          float64        `json:"ratio"` // of the total's bytes to the minimum
	Layers         []layerKind    `json:"layers"`
	Dispatches     []dispatchCost `json:"dispatches"`
	// Scoring are those behind a step whose tokens are all scored, with as many of the most
	// probable ones as can be listed, and ScoringTotal what they add up to.
	Scoring      []dispatchCost `json:"scoring"`
	ScoringTotal costNumbers    `json:"scoring_total"`
}

// costNumbers says what dispatches move and compute. Bytes counts each byte that
// a dispatch needs once, Traffic what its loads and stores ask for in all.
type costNumbers struct {
	Weights    int64 `json:"weights"`
	CacheRead  int64 `json:"cache_read"`
	CacheWrite int64 `json:"cache_written"`
	Read       int64 `json:"activations_read"`
	Write      int64 `json:"activations_written"`
	Bytes      int64 `json:"bytes"`
	Traffic    int64 `json:"traffic"`
	Flops      int64 `json:"flops"`
}

func numbersOf(c plan.Cost) costNumbers {
	return costNumbers{c.Weights, c.CacheRead, c.CacheWrite, c.Read, c.Write, c.Bytes(), c.Traffic, c.Flops}
}

// dispatchCost is one dispatch in its place.
type dispatchCost struct {
	Index   int      `json:"index"`
	Barrier bool     `json:"barrier"` // before it
	Buffer  int      `json:"command_buffer"`
	Kernel  string   `json:"kernel"`
	Region  string   `json:"region"`
	Role    string   `json:"role"`
	Layer   string   `json:"layer"` // of the region, "" outside layers
	Grid    [3]int64 `json:"grid"`  // threadgroups
	costNumbers
}

// costOf evaluates every dispatch of the step that the flags describe.
func costOf(b *bundle.Bundle, o inspectOptions) (*costReport, error) {
	s := b.Plan.Step(program.Decode)
	if o.step == program.Prefill.String() {
		s = b.Plan.Step(program.Prefill)
	}
	if err := o.stepSize(b.Plan, s); err != nil {
		return nil, err
	}
	symbols := s.Symbols(o.context, o.rows)
	r := &costReport{Path: b.Dir, Model: b.Name, Step: s.Phase.String(), Context: o.context, Rows: o.rows, Barriers: s.Barriers(), CommandBuffers: s.CommandBuffers(), Scoring: []dispatchCost{}}
	costs, err := s.Costs(symbols, b.Begin)
	if err != nil {
		return nil, err
	}
	list := func(from, to int) (list []dispatchCost, total plan.Cost) {
		for i, d := range s.Dispatches[from:to] {
			c := costs[from+i]
			total.Add(c)
			layer, _ := splitLayer(d.Region)
			list = append(list, dispatchCost{from + i, d.Barrier, d.CommandBuffer, d.Kernel.Name, d.Region, d.Role, layer, c.Grid, numbersOf(c)})
		}
		return list, total
	}
	var total plan.Cost
	r.Dispatches, total = list(0, s.Scoring())
	r.Total = numbersOf(total)
	if s.Scoring() < len(s.Dispatches) {
		r.Scoring, total = list(s.Scoring(), len(s.Dispatches))
		r.ScoringTotal = numbersOf(total)
	}
	if r.Minimum, err = s.Minimum(symbols); err != nil {
		return nil, err
	}
	if r.Minimum > 0 {
		r.Ratio = float64(r.Total.Bytes) / float64(r.Minimum)
	}
	r.Layers, err = layerKinds(b, r.Dispatches)
	return r, err
}

// stepSize fills in and checks the size of the step to count.
func (o *inspectOptions) stepSize(p *plan.Plan, s *plan.Step) error {
	if o.context > p.Context {
		return fmt.Errorf("--context %d: the bundle was compiled for at most %d tokens; compile it with --context %d", o.context, p.Context, o.context)
	}
	if o.context == 0 {
		o.context = p.Context
	}
	most, flag := min(p.Slots, s.MaxRows), "slots"
	if s.Phase == program.Prefill {
		most, flag = p.Chunk, "chunk"
	}
	switch {
	case o.rows > most:
		return fmt.Errorf("--rows %d: a %s step of this bundle has at most %s; compile it with --%s %d", o.rows, s.Phase, plural(most, "row"), flag, o.rows)
	case s.Phase == program.Prefill && o.rows > o.context:
		return fmt.Errorf("--rows %d: a text of %s has no more rows", o.rows, plural(o.context, "token"))
	case o.rows > 0:
	case s.Phase == program.Prefill:
		o.rows = min(most, o.context)
	default:
		o.rows = 1
	}
	return nil
}

// splitLayer cuts a region's name behind its first number: layers.3.attn.q is
// q of the layer layers.3. A name without a number is of no layer.
func splitLayer(region string) (layer, rest string) {
	parts := strings.Split(region, ".")
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err == nil {
			return strings.Join(parts[:i+1], "."), strings.Join(parts[i+1:], ".")
		}
	}
	return "", region
}

// write prints the dispatches, what they add up to, and the layers by kind; wide is with
// grids and every byte.
func (r *costReport) write(w io.Writer, st style, wide bool) error {
	p := page{w: w, st: st}
	p.printf("%s  %s, context %s, %s\n\n", st.bold(r.Step+" step"), r.Path, grouped(r.Context), plural(r.Rows, "row"))
	if wide {
		p.table(r.wideTable())
	} else {
		p.table(r.table())
	}
	p.heading("Step")
	p.line("dispatches", "%s, %s, %s", grouped(len(r.Dispatches)), plural(r.Barriers, "barrier"), plural(r.CommandBuffers, "command buffer"))
	p.line("bytes", "%s, each once for a dispatch that needs it", bytesInWords(r.Total.Bytes))
	p.line("minimum", "%s, weights and caches once; %.4f times as much is moved", bytesInWords(r.Minimum), r.Ratio)
	p.line("traffic", "%s that loads and stores ask for, caches of the GPU aside", bytesInWords(r.Total.Traffic))
	p.line("operations", "%s (%s)", grouped(r.Total.Flops), countInWords(r.Total.Flops))
	if n := len(r.Scoring); n > 0 {
		p.line("log-probabilities", "%s more behind a step whose tokens are scored, %s, %s operations", dispatches(n), bytesInWords(r.ScoringTotal.Bytes), countInWords(r.ScoringTotal.Flops))
	}
	p.layers(r.Layers)
	return p.err
}

// table lists the dispatches in words.
func (r *costReport) table() *table {
	t := &table{columns: []column{{"", true}, {"", false}, {"kernel", false}, {"region", false}, {"weights", true}, {"caches", true}, {"arena", true}, {"operations", true}}, width: lineWidth}
	unless0 := func(n int64, words func(int64) string) string {
		if n == 0 {
			return ""
		}
		return words(n)
	}
	row := func(index, mark, kernel, region string, c costNumbers) {
		t.add(index, mark, kernel, region, unless0(c.Weights, bytesInWords), unless0(c.CacheRead+c.CacheWrite, bytesInWords), unless0(c.Read+c.Write, bytesInWords), unless0(c.Flops, countInWords))
	}
	for i, d := range r.Dispatches {
		row(strconv.Itoa(d.Index), r.mark(i), d.Kernel, d.Region, d.costNumbers)
	}
	row("", "", "all", "", r.Total)
	return t
}

// wideTable lists the dispatches with all that is known.
func (r *costReport) wideTable() *table {
	t := &table{columns: []column{{"", true}, {"", false}, {"kernel", false}, {"region", false}, {"role", false}, {"grid", false}}}
	for _, title := range []string{"weights", "cache read", "written", "act. read", "written", "traffic", "operations"} {
		t.columns = append(t.columns, column{title, true})
	}
	row := func(index, mark, kernel, region, role, grid string, c costNumbers) {
		t.add(index, mark, kernel, region, role, grid, bytesInWords(c.Weights), bytesInWords(c.CacheRead), bytesInWords(c.CacheWrite), bytesInWords(c.Read), bytesInWords(c.Write), bytesInWords(c.Traffic), grouped(c.Flops))
	}
	for i, d := range r.Dispatches {
		row(strconv.Itoa(d.Index), r.mark(i), d.Kernel, d.Region, d.Role, fmt.Sprintf("%d x %d x %d", d.Grid[0], d.Grid[1], d.Grid[2]), d.costNumbers)
	}
	row("", "", "all", "", "", "", r.Total)
	return t
}

// mark stands before a dispatch.
func (r *costReport) mark(i int) string {
	return barrierMark(r.Dispatches[i].Barrier, i > 0 && r.Dispatches[i].Buffer != r.Dispatches[i-1].Buffer)
}
