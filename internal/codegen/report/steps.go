package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/ir"
)

// stepDoc is the plan of one kind of step.
type stepDoc struct {
	Kind           string        `json:"kind"`
	MaxRows        int           `json:"maxRows"`
	Arena          int64         `json:"arena"`
	Levels         int           `json:"levels"`
	Barriers       int           `json:"barriers"`
	CommandBuffers int           `json:"commandBuffers"`
	Buffers        []bufferDoc   `json:"buffers"`
	Dispatches     []dispatchDoc `json:"dispatches"`
	Own            int           `json:"own"` // how many of them: those behind score tokens, in no scenario
	Scenarios      []scenarioDoc `json:"scenarios"`
}

// bufferDoc is a range of the arena; First and Last are levels.
type bufferDoc struct {
	Name    string `json:"name"`
	Bytes   int    `json:"bytes"` // an expression
	Size    int64  `json:"size"`
	Offset  int64  `json:"offset"`
	First   int    `json:"first"`
	Last    int    `json:"last"`
	Scratch bool   `json:"scratch,omitempty"`
	Result  bool   `json:"result,omitempty"`
}

// dispatchDoc is one launch.
type dispatchDoc struct {
	Kernel  int     `json:"k"`
	Region  int     `json:"r"`
	Role    string  `json:"role,omitempty"`
	Grid    [3]int  `json:"grid"` // expressions
	Level   int     `json:"level"`
	Barrier bool    `json:"barrier,omitempty"`
	Buffer  int     `json:"cb,omitempty"` // command buffer
	Args    [][]int `json:"args"`         // what each kernel parameter is bound to, see argBuffer
}

// What an argument is bound to: the kind, the place in its list (a scalar: its
// bits), the expression of the bytes needed, and for weights the plane.
const (
	argBuffer = iota
	argCache
	argWeight
	argScalar
)

// scenarioDoc is a step of given sizes, with the cost of each dispatch.
type scenarioDoc struct {
	Context int       `json:"context"`
	Rows    int       `json:"rows"`
	Minimum int64     `json:"minimum"` // bytes no program can do without
	Costs   [][]int64 `json:"costs"`   // see costRow
}

// costRow is a dispatch's cost: threadgroups along three axes; bytes of
// weights, read and written of caches, read and written of activations; bytes
// its loads and stores ask for; operations.
func costRow(c plan.Cost) []int64 {
	return []int64{c.Grid[0], c.Grid[1], c.Grid[2], c.Weights, c.CacheRead, c.CacheWrite, c.Read, c.Write, c.Traffic, c.Flops}
}

// regionDoc is a region of the fused module. Group is the layer it belongs to.
type regionDoc struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Group string `json:"group"`
	Ops   int    `json:"ops"`
}

var numberedPart = regexp.MustCompile(`^[A-Za-z_]+\.[0-9]+`)

func describeRegions(m *ir.Module) []regionDoc {
	var out []regionDoc
	for _, r := range m.Regions {
		group := numberedPart.FindString(r.Name)
		if group == "" {
			group, _, _ = strings.Cut(r.Name, ".")
		}
		out = append(out, regionDoc{r.Name, r.Kind, group, r.To - r.From})
	}
	return out
}

// planner turns plans into data. Its maps say where things stand in the
// document's lists.
type planner struct {
	bundle  *bundle.Bundle
	doc     *document
	exprs   *table
	kernels map[*kernel.Kernel]int
	regions map[string]int
	weights map[string]int
	caches  map[*plan.Cache]int
}

// newPlanner also adds caches and weights to the document.
func newPlanner(b *bundle.Bundle, doc *document) *planner {
	p := &planner{bundle: b, doc: doc, exprs: newTable(), kernels: map[*kernel.Kernel]int{}, regions: map[string]int{}, weights: map[string]int{}, caches: map[*plan.Cache]int{}}
	for i, k := range b.Plan.Kernels {
		p.kernels[k] = i
	}
	if b.Plan.Step(program.Decode).Tokens != nil {
		for _, name := range []string{program.ScoreRegion, program.SampleRegion} {
			doc.Regions = append(doc.Regions, regionDoc{Name: name, Kind: name, Group: name})
		}
	}
	if slices.ContainsFunc(b.Plan.Caches, func(c *plan.Cache) bool { return c.Ring }) {
		doc.Regions = append(doc.Regions, regionDoc{Name: program.RingsRegion, Kind: program.RingsRegion, Group: program.RingsRegion})
	}
	for i, r := range doc.Regions {
		p.regions[r.Name] = i
	}
	for i, c := range b.Plan.Caches {
		p.caches[c] = i
		doc.Caches = append(doc.Caches, describeCache(c))
	}
	for i, q := range b.Module.Params {
		p.weights[q.Name] = i
		doc.Weights = append(doc.Weights, describeWeight(q, b.Params[q.Name]))
	}
	return p
}

func (p *planner) expr(e ir.Expr) int { return p.exprs.add(e.String()) }

func (p *planner) step(s *plan.Step) (stepDoc, error) {
	d := stepDoc{Kind: s.Phase.String(), MaxRows: s.MaxRows, Arena: s.ArenaBytes, Barriers: s.Barriers(), CommandBuffers: s.CommandBuffers(), Own: s.Scoring()}
	buffers := map[*plan.Buffer]int{}
	for i, b := range s.Buffers {
		buffers[b] = i
		d.Buffers = append(d.Buffers, bufferDoc{b.Name, p.expr(b.Bytes), b.Size, b.Offset, b.First, b.Last, b.Scratch, slices.Contains(s.Results, b)})
	}
	for _, x := range s.Dispatches {
		d.Levels = max(d.Levels, x.Level+1)
		d.Dispatches = append(d.Dispatches, p.dispatch(x, buffers))
	}
	for _, z := range sizes(p.bundle.Plan, s) {
		scenario, err := describeScenario(s, z.context, z.rows, p.bundle.Begin)
		if err != nil {
			return d, fmt.Errorf("%s step of %d rows at %d: %w", s.Phase, z.rows, z.context, err)
		}
		d.Scenarios = append(d.Scenarios, scenario)
	}
	return d, nil
}

func (p *planner) dispatch(x *plan.Dispatch, buffers map[*plan.Buffer]int) dispatchDoc {
	d := dispatchDoc{Kernel: p.kernels[x.Kernel], Region: p.regions[x.Region], Role: x.Role, Level: x.Level, Barrier: x.Barrier, Buffer: x.CommandBuffer}
	for i, g := range x.Grid {
		d.Grid[i] = p.expr(g)
	}
	for _, a := range x.Args {
		switch {
		case a.Buffer != nil:
			d.Args = append(d.Args, []int{argBuffer, buffers[a.Buffer], p.expr(a.BytesAccessed)})
		case a.Cache != nil:
			d.Args = append(d.Args, []int{argCache, p.caches[a.Cache], p.expr(a.BytesAccessed)})
		case a.Weight != nil:
			d.Args = append(d.Args, []int{argWeight, p.weights[a.Weight.Param], p.expr(a.BytesAccessed), p.exprs.add(plane(a.Weight))})
		case a.Scalar != nil:
			d.Args = append(d.Args, []int{argScalar, int(*a.Scalar)})
		}
	}
	return d
}

// plane names the plane of a parameter that an argument points at.
func plane(w *program.WeightArg) string {
	if w.Table {
		return fmt.Sprintf("%s, table of pieces", w.Role)
	}
	return w.Role.String()
}

// size is a step's number of rows and the context they end.
type size struct{ context, rows int }

// sizes are those of the steps the page shows. Decoding: one row, at contexts
// 16 times apart and at the longest. Prefill: a prompt's first chunk, and the
// last one of the longest context.
func sizes(p *plan.Plan, s *plan.Step) []size {
	var out []size
	if s.Phase == program.Prefill {
		rows := min(p.Chunk, p.Context)
		out = append(out, size{rows, rows})
		if p.Context > rows {
			out = append(out, size{p.Context, rows})
		}
		return out
	}
	for _, context := range []int{1 << 10, 1 << 12, 1 << 16, 1 << 20} {
		if context < p.Context {
			out = append(out, size{context, 1})
		}
	}
	return append(out, size{p.Context, 1})
}

// scenarioOf are the sizes of a step that nobody asks for scores.
func scenarioOf(s *plan.Step, context, rows int) map[string]int64 {
	symbols := s.Symbols(context, rows)
	symbols[program.ScoredTokens] = 0
	return symbols
}

func describeScenario(s *plan.Step, context, rows int, begin progress.Begin) (scenarioDoc, error) {
	symbols := scenarioOf(s, context, rows)
	minimum, err := s.Minimum(symbols)
	if err != nil {
		return scenarioDoc{}, err
	}
	d := scenarioDoc{Context: context, Rows: rows, Minimum: minimum}
	costs, err := s.Costs(symbols, begin)
	if err != nil {
		return d, err
	}
	for _, c := range costs {
		d.Costs = append(d.Costs, costRow(c))
	}
	return d, nil
}
