package plan

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// fused is a fixture's module with its parameters, made once.
var fused = sync.OnceValues(func() (*ir.Module, storage.Parameters) {
	m, err := models.Open("../../models/deepseekv4/testdata/fixtures/a-bf16", models.Options{})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	r, err := passes.Run(m.Graph, passes.Options{Formats: passes.Formats{Rows: "fp8", Keys: "fp4"}})
	if err != nil {
		panic(err)
	}
	params, err := storage.Bound(m.Checkpoint, m.Binding, m.Graph)
	if err != nil {
		panic(err)
	}
	return r.Module, params
})

// built plans a fixture, fresh for each caller: tests break it. Command buffers
// are left out: what they need takes longest.
func built(t testing.TB, o Options) *Plan {
	t.Helper()
	module, params := fused()
	o.Target = target.GPU
	p, err := Uncut(module, params, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var small = Options{Context: 512, Chunk: 32, Slots: 2, Wanted: 4}

// TestCheck breaks a good plan in every way the checker is for.
func TestCheck(t *testing.T) {
	module, _ := fused()
	if err := built(t, small).Check(module); err != nil {
		t.Fatal(err)
	}
	// live finds two buffers of a step that are alive together.
	live := func(s *Step) (a, b *Buffer) {
		for _, a := range s.Buffers {
			for _, b := range s.Buffers {
				if a != b && a.First < b.First && b.First <= a.Last {
					return a, b
				}
			}
		}
		t.Fatal("no two buffers live together")
		return nil, nil
	}
	for _, c := range sample.Short(t, []struct {
		name  string
		spoil func(p *Plan, s *Step)
		want  string
	}{
		{"a barrier is missing", func(_ *Plan, s *Step) {
			for _, d := range s.Dispatches {
				d.Barrier = false
			}
		}, "without a barrier between them"},
		{"a buffer lies on a live one", func(_ *Plan, s *Step) { a, b := live(s); b.Offset = a.Offset }, ""},
		{"the arena is short", func(_ *Plan, s *Step) { s.ArenaBytes -= 256 }, "does not fit"},
		{"a buffer is short", func(_ *Plan, s *Step) { s.Buffers[0].Size = 0 }, "does not fit"},
		{"sampling has no barrier before it", func(_ *Plan, s *Step) { s.Dispatches[s.Picks()].Barrier = false }, "without a barrier between them"},
		{"scoring has no barrier before it", func(_ *Plan, s *Step) { s.Dispatches[s.Scoring()].Barrier = false }, "without a barrier between them"},
		{"nobody samples", func(_ *Plan, s *Step) {
			s.Dispatches = slices.Delete(s.Dispatches, s.Scoring()-1, s.Scoring())
		}, "no dispatch picks tokens"},
		{"nobody scores", func(_ *Plan, s *Step) { s.Dispatches = s.Dispatches[:len(s.Dispatches)-1] }, "no dispatch scores tokens"},
		{"scoring comes before sampling", func(_ *Plan, s *Step) {
			at := s.Scoring()
			s.Dispatches = slices.Concat(s.Dispatches[:s.Picks()], s.Dispatches[at:], s.Dispatches[s.Picks():at])
		}, "is among those of another list"},
		{"a dispatch of the step comes last", func(_ *Plan, s *Step) {
			s.Dispatches = append(s.Dispatches[1:], s.Dispatches[0])
		}, "is among those of another list"},
		{"the scores lie elsewhere in the other step", func(p *Plan, _ *Step) { p.Steps[1].Scores.Offset += 256 }, ""},
		{"the scores have no room", func(_ *Plan, s *Step) { s.Scores.Size = 4 * 42 * 2 * 15 }, "do not fit"},
		{"what is held lies elsewhere in the other step", func(p *Plan, _ *Step) { p.Steps[1].Tokens.Offset += 256 }, ""},
		{"the tokens are not held", func(_ *Plan, s *Step) { s.Tokens.Held = false }, "are not held"},
		{"something lies on what is held", func(_ *Plan, s *Step) { s.Results[0].Offset = s.Tokens.Offset }, "lies where tokens is held"},
		{"the tokens are another buffer", func(_ *Plan, s *Step) { s.Tokens = &Buffer{Name: "x"} }, "do not fit"},
		{"two dispatches change places", func(_ *Plan, s *Step) { s.Dispatches[0], s.Dispatches[1] = s.Dispatches[1], s.Dispatches[0] }, ""},
		{"a command buffer begins without a barrier", func(_ *Plan, s *Step) {
			for i, d := range s.Dispatches {
				if i > 0 && !d.Barrier {
					for _, later := range s.Dispatches[i:] {
						later.CommandBuffer++
					}
					return
				}
			}
		}, "begins a command buffer without a barrier"},
		{"command buffers begin at 1", func(_ *Plan, s *Step) {
			for _, d := range s.Dispatches {
				d.CommandBuffer++
			}
		}, "is in command buffer 1, expected 0"},
		{"a command buffer is left out", func(_ *Plan, s *Step) { s.Dispatches[len(s.Dispatches)-1].CommandBuffer += 2 }, "expected 0 or the next"},
		{"the steps change places", func(p *Plan, _ *Step) { p.Steps[0], p.Steps[1] = p.Steps[1], p.Steps[0] }, "a prefill step of 32 rows, expected decode of 16"},
		{"a step is missing", func(p *Plan, _ *Step) { p.Steps = p.Steps[:1] }, "1 steps"},
		{"one row", func(_ *Plan, s *Step) { s.MaxRows = 1 }, "of 1 rows, expected decode of 16"},
		{"more slots", func(p *Plan, _ *Step) { p.Slots = 3 }, "3 slots, context 512"},
		{"a longer context", func(p *Plan, _ *Step) { p.Context = 1024 }, ""},
		{"a longer chunk", func(p *Plan, _ *Step) { p.Chunk = 64 }, ""},
		{"no context", func(p *Plan, _ *Step) { p.Context = 0 }, "Context is 0"},
		{"a symbol of no limit", func(_ *Plan, s *Step) { clear(s.Limits) }, "limits are"},
		{"a symbol of another limit", func(_ *Plan, s *Step) { s.Limits["T"] = 1 }, "limits are"},
		{"a region is left out", func(_ *Plan, s *Step) {
			left := s.Dispatches[3].Region
			for _, d := range s.Dispatches {
				if d.Region == left {
					d.Region = s.Dispatches[0].Region
				}
			}
		}, "no dispatch is of region"},
		{"a region of no module", func(_ *Plan, s *Step) { s.Dispatches[3].Region = "x" }, "which the module does not have"},
		{"a state is left out", func(_ *Plan, s *Step) {
			for _, d := range s.Dispatches {
				for i, a := range d.Args {
					if a.Cache != nil && a.Param.Access != kernel.Read {
						read := *a.Param
						read.Access = kernel.Read
						d.Args[i].Param = &read
					}
				}
			}
		}, "no dispatch appends to state"},
		{"a result is left out", func(_ *Plan, s *Step) { s.Results = nil }, "0 results"},
		{"a cache is left out", func(p *Plan, _ *Step) { p.Caches = p.Caches[1:] }, "caches for the"},
		{"two caches change places", func(p *Plan, _ *Step) { p.Caches[0], p.Caches[1] = p.Caches[1], p.Caches[0] }, "cache 0 is of state"},
		{"two caches at one place", func(p *Plan, _ *Step) { p.Caches[1].Offset = p.Caches[0].Offset }, "begins before the end of"},
		{"a cache askew", func(p *Plan, _ *Step) {
			last := p.Caches[len(p.Caches)-1]
			last.Offset += 8
			last.Bytes -= 8
		}, "a multiple of 256"},
		{"a cache of fewer rows", func(p *Plan, _ *Step) { p.Caches[0].Capacity-- }, "expected 2 slots of"},
		{"a cache of less memory", func(p *Plan, _ *Step) { p.Caches[0].Bytes = 256 }, "in 256 bytes"},
		{"a ring that is none", func(p *Plan, _ *Step) { p.Caches[0].Ring = !p.Caches[0].Ring }, "ring: "},
		{"a dispatch on a cache of its own", func(_ *Plan, s *Step) {
			for _, d := range s.Dispatches {
				for i := range d.Args {
					if d.Args[i].Cache != nil {
						other := *d.Args[i].Cache
						d.Args[i].Cache = &other
					}
				}
			}
		}, "none of the plan's"},
		{"kernels for one row and for more at once", func(_ *Plan, s *Step) {
			for _, d := range s.Dispatches {
				if d.Role == "row" {
					d.Grid[0] = ir.Const(1)
				}
			}
		}, "without a barrier between them"},
		{"a kernel for one row beside one that depends on more", func(_ *Plan, s *Step) {
			for _, d := range s.Dispatches {
				if d.Role == "row" {
					d.Grid[2] = ir.Sym("P").Sub(ir.Sym("P")).Add(ir.Sym("P")).Min(ir.Const(1))
				}
			}
		}, "without a barrier between them"},
		{"a dispatch is left out", func(_ *Plan, s *Step) { s.Dispatches = s.Dispatches[1:] }, "were written"},
		{"caches lie on each other", func(p *Plan, _ *Step) {
			for _, c := range p.Caches {
				c.Offset = 0
			}
		}, "begins before the end of"},
		{"a cache lies outside", func(p *Plan, _ *Step) { p.Caches[len(p.Caches)-1].Offset += 256 }, "lies at"},
		{"the result is written over", func(_ *Plan, s *Step) {
			s.Results[0].Offset = 0
			s.Buffers[0].Offset = 0
			last := *s.Dispatches[0]
			last.Barrier, last.CommandBuffer = true, s.Dispatches[len(s.Dispatches)-1].CommandBuffer
			s.Dispatches = append(s.Dispatches, &last)
		}, ""},
	}, 8) {
		t.Run(c.name, func(t *testing.T) {
			p := built(t, small)
			c.spoil(p, p.Steps[0])
			if err := p.Check(module); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected %q", err, c.want)
			}
		})
	}
}

// TestPlace packs random intervals: none that live together overlap, each
// begins at a multiple of 256, and the arena is never below what lives at once.
func TestPlace(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	worst := 0.0
	for range 200 {
		s := &Step{Limits: map[string]int64{}}
		levels := 2 + rng.IntN(40)
		for level := range levels {
			d := &Dispatch{Level: level}
			for _, b := range s.Buffers { // read some of what there is
				if rng.IntN(8) == 0 {
					d.Args = append(d.Args, Arg{Buffer: b, Param: &kernel.Param{Access: kernel.Read}})
				}
			}
			for range rng.IntN(3) {
				b := &Buffer{Bytes: ir.Const(int64(rng.IntN(5000)))}
				s.Buffers = append(s.Buffers, b)
				d.Args = append(d.Args, Arg{Buffer: b, Param: &kernel.Param{Access: kernel.Write}})
			}
			s.Dispatches = append(s.Dispatches, d)
		}
		s.place()
		peak := int64(0)
		for level := range levels {
			alive := int64(0)
			for _, b := range s.Buffers {
				if b.First <= level && level <= b.Last {
					alive += b.Size
				}
			}
			peak = max(peak, alive)
		}
		if s.ArenaBytes < peak {
			t.Fatalf("an arena of %d for %d that live at once", s.ArenaBytes, peak)
		}
		worst = max(worst, float64(s.ArenaBytes)/float64(max(peak, 1)))
		for i, a := range s.Buffers {
			if a.Offset%256 != 0 || a.Offset+a.Size > s.ArenaBytes {
				t.Fatalf("buffer %d lies at %d of %d", i, a.Offset, s.ArenaBytes)
			}
			for _, b := range s.Buffers[:i] {
				if a.First <= b.Last && b.First <= a.Last && a.Offset < b.Offset+b.Size && b.Offset < a.Offset+a.Size {
					t.Fatalf("buffers that live together overlap: [%d, %d) and [%d, %d)", a.Offset, a.Offset+a.Size, b.Offset, b.Offset+b.Size)
				}
			}
		}
	}
	t.Logf("at worst the arena is %.2f of what lives at once", worst)
}

// TestClosing: a token that closes blocks takes the same dispatches; only the
// values of symbols differ.
func TestClosing(t *testing.T) {
	s := built(t, small).Step(program.Decode)
	at := func(context int) map[string]int64 { return s.Symbols(context, 1) }
	if at(256)["E4"] != 1 || at(256)["E128"] != 1 || at(257)["E4"] != 0 {
		t.Fatalf("symbols %v, %v", at(256), at(257))
	}
	more := 0
	for _, d := range s.Dispatches {
		for axis := range d.Grid {
			a, err := d.Grid[axis].Eval(env(at(256)))
			if err != nil {
				t.Fatal(err)
			}
			b, err := d.Grid[axis].Eval(env(at(257)))
			if err != nil {
				t.Fatal(err)
			}
			if a > b {
				more++
			}
		}
	}
	if more != 2 {
		t.Errorf("%d grids grow where a block closes, expected those of two layers' caches", more)
	}
}

// TestSame: building twice gives the same plan.
func TestSame(t *testing.T) {
	a, b := built(t, small), built(t, small)
	for kind := range a.Steps {
		x, y := a.Steps[kind], b.Steps[kind]
		if !slices.EqualFunc(x.Buffers, y.Buffers, func(p, q *Buffer) bool {
			return p.Name == q.Name && p.Offset == q.Offset && p.Size == q.Size
		}) {
			t.Errorf("%s: buffers differ", x.Phase)
		}
		if !slices.EqualFunc(x.Dispatches, y.Dispatches, func(p, q *Dispatch) bool {
			return p.Kernel.Digest() == q.Kernel.Digest() && p.Region == q.Region && p.Barrier == q.Barrier
		}) {
			t.Errorf("%s: dispatches differ", x.Phase)
		}
	}
}

// TestCosts: what a step must move, counted by hand for the last product: its
// weights, the row it reads, the logits it writes. Sampling after it makes keys of them,
// ranks those, and writes a token; scoring writes how probable tokens are.
func TestCosts(t *testing.T) {
	s := built(t, small).Step(program.Decode)
	costs, err := s.Costs(s.Symbols(100, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	// Of the only part: its best key and token; of its tokens key, id and weight by bucket;
	// and 3 sums through each of 32 buckets.
	const best, ranked, sums = 2 * 4, 3 * 256 * 4, 3 * 32 * 8
	for i, want := range []Cost{
		{Read: 256 * 4, Write: 256*4 + best},
		{Read: 256*4 + best, Write: ranked + sums},
		{Read: best + 256*4 + ranked + sums, Write: 4},
	} {
		if c := costs[s.Picks()+i]; c.Read != want.Read || c.Write != want.Write || c.Weights+c.CacheRead+c.CacheWrite != 0 {
			t.Errorf("sampling's %d costs %+v, expected %+v", i, c, want)
		}
	}
	// Of the only part: its largest key and its sum; keys and ids of 20 tokens; then pairs of
	// words of those, and of one more, which is read.
	const part, pairs = 2*4 + 20*2*4, 21 * 2 * 4
	for i, want := range []Cost{{Read: 256 * 4, Write: part}, {Read: 4 + part + 4, Write: pairs}} {
		if c := costs[s.Scoring()+i]; c.Read != want.Read || c.Write != want.Write || c.Weights+c.CacheRead+c.CacheWrite != 0 {
			t.Errorf("scoring's %d costs %+v, expected %+v", i, c, want)
		}
	}
	c := costs[s.Picks()-2] // of one row; that of more has none
	if more := costs[s.Picks()-1]; more.Flops != 0 || !more.idle() {
		t.Errorf("the head for several rows costs %+v", more)
	}
	if c.Weights != 256*128*2 || c.Read != 128*4 || c.Write != 256*4 || c.CacheRead+c.CacheWrite != 0 {
		t.Errorf("the head costs %+v", c)
	}
	if c.Flops < 2*256*128 || c.Flops > 4*256*128 {
		t.Errorf("the head takes %d operations, its product %d", c.Flops, 2*256*128)
	}
	least, err := s.Minimum(s.Symbols(100, 1))
	if err != nil {
		t.Fatal(err)
	}
	all := int64(0)
	for _, c := range costs {
		all += c.Bytes()
	}
	if least <= 0 || least > all {
		t.Errorf("minimum %d of %d bytes", least, all)
	}
}
