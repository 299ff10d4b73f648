package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/models"
)

// mixed has experts, entries that an indexer chooses, and such that all rows see.
const mixed = "../internal/models/deepseekv4/testdata/fixtures/b-official-fp8fp4"

func compiled(t *testing.T, o bundle.Options) *bundle.Bundle {
	t.Helper()
	m, err := models.Open(mixed, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	o.Lean = true
	b, _, err := bundle.Compile(bundle.SourceOf(m), o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCounts: of drawn plans and steps, what is skipped is not counted: of the sampler what
// the likeliest token needs, of experts those that rows can choose, of caches what a text
// has, of splits those with keys.
func TestCounts(t *testing.T) {
	to := []target.Target{target.GPU, target.CPU8}[rand.IntN(2)]
	o := bundle.Options{Context: 256 << rand.IntN(3), Chunk: 32 << rand.IntN(3), Slots: 1 + rand.IntN(8), Target: to}
	b := compiled(t, o)
	// Few rows choose few experts, and short texts have few rows.
	for _, s := range []Shape{{program.Prefill, 1, 1 + rand.IntN(200)}, {program.Prefill, 2, 2 + rand.IntN(20)}, {program.Decode, 1, 2 + rand.IntN(20)}} {
		checkCounts(t, b, s)
	}
	for range 4 {
		s := Shape{Phase: program.Phase(rand.IntN(2)), Rows: 1 + rand.IntN(o.Slots)}
		if s.Phase == program.Prefill {
			s.Rows = 1 + rand.IntN(o.Chunk)
		}
		s.Context = max(2, s.Rows) + rand.IntN(o.Context-max(2, s.Rows))
		checkCounts(t, b, s)
	}
}

func checkCounts(t *testing.T, b *bundle.Bundle, s Shape) {
	t.Helper()
	p := b.Plan.Step(s.Phase)
	costs, err := Costs(p, s, true)
	if err != nil {
		t.Fatal(err)
	}
	first := p.Picks()
	for i, d := range p.Dispatches[:first] {
		checkArguments(t, b, s, d, costs[i], fmt.Sprintf("%s, %s, %s", b.Plan.Target.Name, s, d.Kernel.Name))
	}
	// The sampler, which comes last: without tokens to pick it does nothing, for the
	// likeliest a pass over the logits; filters take more.
	sampler := &plan.Step{Phase: s.Phase, Params: p.Params, Dispatches: p.Dispatches[first:p.Scoring()]}
	all, err := sampler.Costs(p.Symbols(s.Context, s.Rows), nil)
	if err != nil {
		t.Fatal(err)
	}
	nothing, err := Costs(sampler, s, false)
	if err != nil {
		t.Fatal(err)
	}
	c, filters, none := sumOf(costs[first:]), sumOf(all), sumOf(nothing)
	wanted, vocab := int64(1), int64(323)
	if s.Phase == program.Decode {
		wanted = int64(s.Rows)
	}
	logits := 4 * wanted * vocab // and as many bytes of what they are ranked by
	if c.Read < logits || c.Read > 2*logits || c.Write < 4*wanted || c.Write > logits+4*wanted || c.Flops > 64*wanted {
		t.Errorf("%s, %s: the likeliest of %d rows counts %+v", b.Plan.Target.Name, s, wanted, c)
	}
	if none.Bytes() != 0 || none.Flops != 0 || none.Traffic != 0 || filters.Traffic < 2*c.Traffic || filters.Flops < 16*wanted*vocab || filters.Bytes() < c.Bytes() {
		t.Errorf("%s, %s: where no token is picked %+v is counted, and with filters %+v", b.Plan.Target.Name, s, none, filters)
	}
}

func sumOf(costs []plan.Cost) (sum plan.Cost) {
	for _, c := range costs {
		sum.Add(c)
	}
	return sum
}

// checkArguments bounds what a dispatch is said to need.
func checkArguments(t *testing.T, b *bundle.Bundle, s Shape, d *plan.Dispatch, c plan.Cost, at string) {
	t.Helper()
	weights, rows, counted := int64(0), int64(0), map[string]bool{}
	texts := int64(1)
	if s.Phase == program.Decode {
		texts = int64(s.Rows)
	}
	for _, a := range d.Args {
		switch {
		case a.Weight != nil && !a.Weight.Table:
			p, err := b.Params.Get(a.Weight.Param)
			if err != nil {
				t.Fatal(err)
			}
			share := 1.0
			if p.Lead > 1 { // experts, of which each row chooses three
				share = min(1, float64(3*s.Rows)/float64(p.Lead))
			}
			if !counted[p.Name] { // its planes are arguments of their own
				weights += int64(math.Ceil(share * float64(p.Bytes())))
			}
			counted[p.Name] = true
		case a.Weight != nil:
			table, _ := a.BytesAccessed.Value()
			weights += table
		case a.Cache != nil:
			// A window and a chunk share a row, which is counted twice.
			rows += texts * int64(min(s.Context, a.Cache.Capacity+1)) * int64(a.Cache.Row.Bytes)
		case a.Buffer != nil && a.Buffer.Area != nil:
			rows += int64(min(s.Context, a.Buffer.Area.Capacity+1)) * int64(a.Buffer.Area.Row.Bytes)
		}
	}
	if c.Weights > weights {
		t.Errorf("%s: %d bytes of weights, of the experts that %d rows choose there are %d", at, c.Weights, s.Rows, weights)
	}
	if c.CacheRead > rows || c.CacheWrite > rows {
		t.Errorf("%s: %d bytes of cached rows read and %d written, texts have %d", at, c.CacheRead, c.CacheWrite, rows)
	}
	if c.Grid[0]*c.Grid[1]*c.Grid[2] > 0 && c.Traffic == 0 && c.Bytes() != 0 {
		t.Errorf("%s: nothing is read or written, and %d bytes are needed", at, c.Bytes())
	}
}

// TestShares: every share is of its own runs and of rates measured beside them; what is
// above them is measured again, and then marked, with the reason.
func TestShares(t *testing.T) {
	slow, fast := roofline.Rates{Read: 1e6, Copy: 1e6, Flops: 1e6}, roofline.Rates{Read: 1e15, Copy: 1e15, Flops: 1e15}
	f := newFake(t, bundle.Options{Context: 64, Chunk: 16})
	for _, c := range []struct {
		name     string
		rates    []roofline.Rates
		measured int // times
		above    bool
	}{
		{"fast", []roofline.Rates{fast}, 2, false},
		{"fast before", []roofline.Rates{fast, slow}, 2, false},
		{"fast after", []roofline.Rates{slow, fast}, 2, false},
		{"fast when measured again", []roofline.Rates{slow, slow, slow, fast}, 4, false},
		{"slow", []roofline.Rates{slow}, 2 + again, true},
	} {
		f.rates, f.log = c.rates, nil
		shape := Shape{program.Decode, 1, 50}
		r, err := Kernels(context.Background(), f, KernelOptions{Steps: []Shape{shape}, Repeat: 1, Tokens: []int32{1}})
		if err != nil {
			t.Fatal(err)
		}
		s := r.Steps[0]
		measured := 0
		for _, line := range f.log {
			if line == "roofline" {
				measured++
			}
		}
		if measured != c.measured || s.above() != c.above || strings.Contains(strings.Join(s.Marks(), "\n"), "+: ") != c.above {
			t.Errorf("%s: measured %d times, above %v, marks %q", c.name, measured, s.above(), s.Marks())
		}
		for _, k := range append(slices.Clone(s.Kernels), s.All) {
			if over := k.OfPeak > 1 || k.OfRead > 1; over && k.Mark() == "" {
				t.Errorf("%s: %s has %v of the reads and %v of the operations, and no mark", c.name, k.Name, k.OfRead, k.OfPeak)
			}
			if k.OfRead != k.BytesPerSecond/s.Machine.Read || k.OfPeak != k.FlopsPerSecond/s.Machine.Flops {
				t.Errorf("%s: %s: shares of other rates", c.name, k.Name)
			}
		}
	}
}

// TestCached: what was written just before is in caches, unless other memory was read
// since; what is written is until it has to go.
func TestCached(t *testing.T) {
	for _, c := range []struct {
		name string
		cost plan.Cost
		cold bool
		want bool
	}{
		{"weights", plan.Cost{Weights: 10, Read: 4, Write: 4}, false, false},
		{"activations", plan.Cost{Weights: 10, Read: 6, Write: 4}, false, true},
		{"activations after other memory", plan.Cost{Weights: 10, Read: 6, Write: 4}, true, false},
		{"rows of caches", plan.Cost{CacheRead: 10, Read: 2}, false, false},
		{"a row for a cache", plan.Cost{CacheWrite: 10, Read: 2}, true, true},
		{"written after other memory", plan.Cost{Read: 10, Write: 10}, true, true},
		{"nothing", plan.Cost{}, false, false},
	} {
		k := Kernel{Seconds: Spread{Median: 1}}
		k.add(c.cost, c.cold)
		k.rates(roofline.Rates{Read: 1, Copy: 1, Flops: 1})
		if k.Cached != c.want || k.Above != (c.cost.Bytes() > 1 && !c.want) {
			t.Errorf("%s: cached %v, above %v", c.name, k.Cached, k.Above)
		}
	}
}

// TestKernelChoice: parts of names, patterns, and names that are none.
func TestKernelChoice(t *testing.T) {
	f := newFake(t, bundle.Options{Context: 64, Chunk: 16})
	ctx, both := context.Background(), []Shape{{program.Decode, 1, 50}, {program.Prefill, 8, 20}}
	measure := func(name string, steps []Shape) (kinds, names []string, err error) {
		r, err := Kernels(ctx, f, KernelOptions{Steps: steps, Repeat: 1, Tokens: []int32{1}, Kernel: name})
		if err != nil {
			return nil, nil, err
		}
		for _, s := range r.Steps {
			kinds = append(kinds, s.Kind)
			share := 0.0
			for _, k := range s.Kernels {
				names = append(names, k.Name)
				share += k.Share
			}
			if name != "" && (share >= 1 || s.All.Share != 1) || s.All.Dispatches <= len(s.Kernels) {
				t.Errorf("%s: shares add up to %v, of %d dispatches", name, share, s.All.Dispatches)
			}
		}
		return kinds, names, nil
	}
	for _, c := range []struct{ name, kinds, names string }{
		{"head_row_decode", "decode", "head_row_decode"},
		{"hc_head", "decode prefill", "hc_head_hyper_read_decode hc_head_hyper_read_prefill hc_head_hyper_write_decode hc_head_hyper_write_prefill"},
		{"hc_*_read_*", "decode prefill", "hc_head_hyper_read_decode hc_head_hyper_read_prefill"},
		{"sample", "decode prefill", ""}, // the fake picks no tokens
		{"?ead_*fill", "prefill", "head_prefill"},
		{"[hs]*ad_prefill", "prefill", "head_prefill"},
	} {
		kinds, names, err := measure(c.name, both)
		if slices.Sort(names); err != nil || strings.Join(kinds, " ") != c.kinds || strings.Join(names, " ") != c.names && c.name != "[hs]*ad_prefill" {
			t.Errorf("%s: %v, %v, %v", c.name, kinds, names, err)
		}
	}
	f.log = nil
	for name, want := range map[string]string{
		"haed_decode":     "near it are head_decode",
		"Sample_decode":   "near it are sample_decode",
		"[":               "expected a part of a name, or a pattern",
		"nothing like it": "the plan has no kernel of that name",
		"x\x1b[31m":       `"x\x1b[31m"`,
	} {
		if _, _, err := measure(name, both); err == nil || !strings.Contains(err.Error(), want) || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, _, err := measure("head_prefill", both[:1]); err == nil || !strings.Contains(err.Error(), "no step that is asked for has such a kernel") {
		t.Errorf("of another step: %v", err)
	}
	if len(f.log) > 0 {
		t.Errorf("steps were run: %q", f.log)
	}
}

func TestChanges(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "axc", 1}, {"abc", "ac", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 2}} {
		if got := changes(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, expected %d", c.a, c.b, got, c.want)
		}
	}
}
