package lockstep_test

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir/ops"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// fixture has layers of all kinds.
const fixture = "b-official-fp8fp4"

// compiled is the fixture, ready to be run.
type compiled struct {
	*bundle.Bundle
	model *models.Model
}

func compile(t *testing.T) compiled {
	t.Helper()
	dir := devicetest.Fixture(fixture)
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	b, _, err := bundle.Compile(bundle.Source{Name: filepath.Base(dir), Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Lean: true, Formats: passes.Formats{Rows: "f32", Keys: "f32"}, Context: 60, Chunk: 40, Slots: 3, Wanted: 4})
	if err != nil {
		t.Fatal(err)
	}
	return compiled{b, m}
}

// open pairs the fixture with a mirror of itself.
func (c compiled) open(t *testing.T, f lockstep.Follow) (*lockstep.Pair, *devicetest.Mirror) {
	t.Helper()
	m, err := devicetest.NewMirror(c.Bundle, c.model.Weights)
	if err != nil {
		t.Fatal(err)
	}
	p := lockstep.New(f)
	m.Observe = p.See
	if err := p.Attach(m, c.model.Weights); err != nil {
		t.Fatal(err)
	}
	return p, m
}

// appended names the value whose rows a state gets.
func appended(t *testing.T, b *bundle.Bundle, state string) string {
	for _, n := range b.Module.Nodes {
		if n.Op == ops.Append && lockstep.StateOf(n) == state {
			return n.Args[3].Ref()
		}
	}
	t.Fatalf("nothing is appended to %s", state)
	return ""
}

// run runs the first steps of the script.
func run(t *testing.T, p *lockstep.Pair, steps int) (worst float64, err error) {
	t.Helper()
	script := lockstep.Script(p.Plan(), p.Vocab())
	for _, act := range script[:min(steps, len(script))] {
		r, err := p.Run(act)
		if err != nil {
			return worst, err
		}
		worst = lockstep.Worse(worst, r.Difference())
	}
	return worst, nil
}

// wrong names the kernels that were found wrong.
func wrong(p *lockstep.Pair) (names []string) {
	for _, k := range p.Kernels() {
		if k.Trouble() != "" {
			names = append(names, k.Name)
		}
	}
	return names
}

func TestHealthy(t *testing.T) {
	fixture := compile(t)
	for _, f := range sample.Short(t, []lockstep.Follow{lockstep.Choices, lockstep.Values}, 1) {
		p, _ := fixture.open(t, f)
		if worst, err := run(t, p, 99); err != nil || worst != 0 || wrong(p) != nil {
			t.Errorf("differs by %g, wrong are %v (%v)", worst, wrong(p), err)
		}
		for _, k := range p.Kernels() {
			if !k.Ran || f == lockstep.Values && k.Values == 0 && len(k.Through) == 0 {
				t.Errorf("kernel %s: ran %v, %d values compared, read by %v", k.Name, k.Ran, k.Values, k.Through)
			}
		}
		p.Clear()
		for _, k := range p.Kernels() {
			if k.Ran || k.Values != 0 {
				t.Errorf("kernel %s: found %+v after everything was forgotten", k.Name, k)
			}
		}
	}
}

// add changes a float32 by a share of it.
func add(data []byte, at int, share float32) {
	x := math.Float32frombits(binary.LittleEndian.Uint32(data[4*at:]))
	binary.LittleEndian.PutUint32(data[4*at:], math.Float32bits(x+share*float32(math.Abs(float64(x)))+share))
}

// TestFaults has one kernel at a time be wrong, and each is named, alone: what
// follows from its values is right.
func TestFaults(t *testing.T) {
	fixture := compile(t)
	nan := func(d []byte) { binary.LittleEndian.PutUint32(d, 0x7fc00000) }
	for _, c := range sample.Short(t, []struct {
		name, value string
		fault       func(data []byte)
		want        string // the kernel
		says        string
	}{
		{"a number", "%layer1.after_attn", func(d []byte) { add(d, 5, 0.2) }, "attn_hyper_write_prefill", "%layer1.after_attn[row 0, element 5] is "},
		{"not a number", "%layer1.after_ffn", nan, "ffn_hyper_write_prefill", "[row 0, element 0] is NaN, expected "},
		{"logits", "%logits", func(d []byte) { add(d, len(d)/4-1, 0.5) }, "head_prefill", "%logits[row "},
		{"an expert that is none", "%layer1.experts", func(d []byte) { d[0], d[1] = 0xff, 0x7f }, "ffn_experts_route_prefill", "%layer1.experts[row 0] is [32767 "},
		{"an entry that was not seen", "%layer2.index_topk", func(d []byte) { d[0] = 60 }, "attn_indexer_topk_merge_prefill", "%layer2.index_topk[row 0] is ["},
		{"a cache", "@layers.1.attn.window", func(d []byte) { add(d, 0, 0.5) }, "attn_cache_prefill", "[row 0, element 0] is "},
		{"not a number in a cache", "@layers.1.attn.window", nan, "attn_cache_prefill", "[row 0, element 0] is NaN, expected "},
		{"a token", "tokens", func(d []byte) { d[0] ^= 1 }, "sample_prefill", "was picked, expected "},
		{"a score", "scores", func(d []byte) { add(d, 0, 0.01) }, "score_prefill", " scores "},
		{"a score that is no number", "scores", nan, "score_prefill", " scores NaN, expected "},
	}, 3) {
		t.Run(c.name, func(t *testing.T) {
			p, m := fixture.open(t, lockstep.Values)
			if state, is := strings.CutPrefix(c.value, "@"); is {
				c.value = appended(t, m.Bundle(), state)
			}
			m.Fault = func(step int, name string, data []byte) {
				if name == c.value && (step == 2 || c.value == "scores") { // asked for once in a few steps
					c.fault(data)
				}
			}
			if _, err := run(t, p, 3); err != nil {
				t.Fatal(err)
			}
			names := wrong(p)
			if len(names) != 1 || !strings.HasPrefix(names[0], c.want) {
				t.Fatalf("wrong are %v, expected %s alone", names, c.want)
			}
			for _, k := range p.Kernels() {
				if k.Name == names[0] && !strings.Contains(k.Trouble(), c.says) {
					t.Errorf("it says %q, expected %q", k.Trouble(), c.says)
				}
			}
		})
	}
}

// TestNoise: what rounding does is not taken for an error, and is not hidden.
func TestNoise(t *testing.T) {
	p, m := compile(t).open(t, lockstep.Values)
	m.Fault = func(_ int, name string, data []byte) {
		if name == "%layer1.after_attn" || name == "%layer0.after_ffn" {
			add(data, 3, 1e-6)
		}
	}
	if _, err := run(t, p, 3); err != nil || wrong(p) != nil {
		t.Errorf("wrong are %v (%v)", wrong(p), err)
	}
	worst := 0.0
	for _, k := range p.Kernels() {
		worst = lockstep.Worse(worst, k.Difference)
	}
	if worst <= 0 || worst > 1e-4 {
		t.Errorf("the largest difference is %g", worst)
	}
}

// TestChoices: with the choices alone taken over, an error in a value is seen in
// the logits, and no kernel is blamed.
func TestChoices(t *testing.T) {
	p, m := compile(t).open(t, lockstep.Choices)
	m.Fault = func(step int, name string, data []byte) {
		if step == 2 && name == "%final_normed" {
			add(data, 0, 1)
		}
	}
	if worst, err := run(t, p, 3); err != nil || worst < lockstep.Logits || wrong(p) != nil {
		t.Errorf("logits differ by %g, wrong are %v (%v)", worst, wrong(p), err)
	}
}

func TestDeviceFails(t *testing.T) {
	p, m := compile(t).open(t, lockstep.Values)
	m.Fail = 3
	if _, err := run(t, p, 3); err == nil || err.Error() != "the device is on fire" {
		t.Errorf("got %v", err)
	}
}

// TestScript: a plan with little room gets what fits.
func TestScript(t *testing.T) {
	p, _ := compile(t).open(t, lockstep.Values)
	plan := *p.Plan()
	for _, c := range []struct{ context, chunk, slots, wanted int }{{64, 40, 5, 4}, {1, 1, 1, 1}, {3, 1, 1, 1}, {4, 2, 2, 1}, {256, 256, 5, 16}, {1000, 7, 3, 2}} {
		plan.Context, plan.Chunk, plan.Slots, plan.Wanted = c.context, c.chunk, c.slots, c.wanted
		next, kinds := map[int32]int32{}, map[program.Phase]int{}
		for _, act := range lockstep.Script(&plan, 100) {
			kinds[act.Phase]++
			if len(act.Rows) > c.chunk && act.Phase == program.Prefill || len(act.Wanted) > c.wanted || len(act.Choices)%len(act.Wanted) != 0 || len(act.Choices)+len(act.Asks) == 0 {
				t.Errorf("%+v: a step of %d rows, %d wanted, %d choices", c, len(act.Rows), len(act.Wanted), len(act.Choices))
			}
			for _, a := range act.Asks {
				if int(a.Row) >= len(act.Wanted) || a.Token < 0 && act.Choices == nil || a.Top > program.MaxTop {
					t.Errorf("%+v: %+v, of %d wanted rows and %d choices", c, a, len(act.Wanted), len(act.Choices))
				}
			}
			for _, r := range act.Rows {
				if int(r.Slot) >= c.slots || int(r.Position) >= c.context || r.Position != next[r.Slot] {
					t.Errorf("%+v: row %+v, slot goes on at %d", c, r, next[r.Slot])
				}
				next[r.Slot]++
			}
		}
		if kinds[program.Decode] == 0 && c.context > 1 {
			t.Errorf("%+v: steps %v", c, kinds)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		n, most int
		want    []int
	}{{1, 16, []int{0}}, {3, 3, []int{0, 1, 2}}, {5, 1, []int{4}}, {10, 2, []int{0, 9}}, {129, 3, []int{0, 64, 128}}} {
		if got := lockstep.SampleRows(c.n, c.most); !slices.Equal(got, c.want) {
			t.Errorf("%d of %d rows: %v, want %v", c.most, c.n, got, c.want)
		}
	}
}
