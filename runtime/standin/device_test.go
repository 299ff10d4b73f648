package standin

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt/codegen/bundle"
	"smelt/codegen/msl/standin"
	"smelt/ir"
	"smelt/ir/encoding"
	"smelt/ir/eval"
	"smelt/ir/tensor"
	"smelt/models/checkpoint/safetensors"
	"smelt/models/deepseekv4"
	"smelt/passes"
)

// limit is what logits may differ by where both sides made the same choices:
// activations and sums are float32 on both, in another order.
const limit = 5e-4

const fixtures = "../../models/deepseekv4/testdata/fixtures"

// pair is a model on the stand-in and in the evaluator, step by step alike.
// The evaluator is given the device's choices (experts, entries, rounded
// codes), and how many differed is counted.
type pair struct {
	t       testing.TB
	m       *deepseekv4.Model
	b       *bundle.Bundle
	d       *Device
	machine *eval.Machine[float32]
	seen    map[string][]byte // the device's named values of this step
	rows    []ir.Row          // of this step
	flips   map[string]int    // differing choices, by kind
	count   map[string]int    // choices compared
	worst   float64
}

func newPair(t testing.TB, dir string, f passes.Formats, o bundle.Options, d Options) *pair {
	t.Helper()
	if _, err := standin.Find(); err != nil {
		t.Skip(err)
	}
	m, err := deepseekv4.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	o.Formats = f
	p := &pair{t: t, m: m, flips: map[string]int{}, count: map[string]int{}}
	p.b, _, err = bundle.Compile(bundle.Source{Name: filepath.Base(dir), Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, o)
	if err != nil {
		t.Fatal(err)
	}
	d.Poison = true
	d.Observe = func(name string, data []byte) []byte {
		p.seen[strings.TrimPrefix(name, "%")] = data
		return nil
	}
	p.d, err = Open(p.b, m.Checkpoint, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.d.Close(); err != nil {
			t.Error(err)
		}
	})
	if p.machine, err = eval.New[float32](p.b.Module, m.Weights); err != nil {
		t.Fatal(err)
	}
	p.machine.Replace = p.replace
	return p
}

// step runs rows on both and compares the wanted rows' logits.
func (p *pair) step(decode bool, rows []ir.Row, wanted []int) []float32 {
	p.t.Helper()
	p.seen, p.rows = map[string][]byte{}, rows
	run := p.d.Prefill
	if decode {
		run = p.d.Decode
	}
	got, err := run(rows, wanted)
	if err != nil {
		p.t.Fatal(err)
	}
	want, err := p.machine.Step(rows, wanted)
	if err != nil {
		p.t.Fatal(err)
	}
	for i, w := range want[0].F {
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= p.worst) {
			p.worst = d
		}
	}
	if !(p.worst <= limit) {
		p.t.Fatalf("rows at %d: logits differ by %g from the evaluator's with the same choices, at most %g are allowed; flips so far %v", rows[0].Position, p.worst, limit, p.flips)
	}
	return got
}

// replace puts the device's choices in the place of the evaluator's.
func (p *pair) replace(name string, v tensor.Value[float32]) tensor.Value[float32] {
	switch {
	case v.I != nil && p.seen[name] != nil:
		out := slices.Clone(v.I)
		for i := range out {
			out[i] = int32(binary.LittleEndian.Uint32(p.seen[name][4*i:]))
		}
		kind := name[strings.LastIndexByte(name, '.')+1:]
		p.tally(kind, differing(v.I, out), len(out))
		v.I = out
	case strings.HasSuffix(name, ".query"):
		data := p.seen[name]
		out := make([]float32, len(v.F))
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		p.tally("query codes", differing(v.F, out), len(out))
		v.F = out
	case strings.HasSuffix(name, ".row"):
		out := p.cacheRows(strings.TrimSuffix(name, ".row"), len(v.F))
		p.tally("row codes", differing(v.F, out), len(out))
		v.F = out
	}
	return v
}

func (p *pair) tally(kind string, differ, of int) {
	p.flips[kind] += differ
	p.count[kind] += of
}

func differing[T comparable](a, b []T) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// cacheRows reads what the device appended to a state in this step, decoded:
// a row for each of the step's rows, or for each that closes a block.
func (p *pair) cacheRows(state string, elements int) (out []float32) {
	for _, c := range p.b.Plan.Caches {
		if c.State.Name != state {
			continue
		}
		ratio := 1
		if !c.Ring {
			ratio = p.b.Plan.Context / c.Capacity
		}
		for _, r := range p.rows {
			if (int(r.Position)+1)%ratio != 0 {
				continue
			}
			index := int(r.Position) / ratio % c.Capacity
			at := p.d.caches + standin.Addr(c.Offset) + standin.Addr((int(r.Slot)*c.Capacity+index)*c.Row.Bytes)
			data, err := p.d.host.Read(at, c.Row.Bytes)
			if err != nil {
				p.t.Fatal(err)
			}
			row := make([]float32, c.Row.Width)
			encoding.DecodeRow(c.Row, row, data)
			out = append(out, row...)
		}
	}
	if len(out) != elements {
		p.t.Fatalf("state @%s: %d elements appended, the evaluator appends %d", state, len(out), elements)
	}
	return out
}

// report prints what was compared.
func (p *pair) report() {
	p.t.Helper()
	line := fmt.Sprintf("largest difference of logits %.2g", p.worst)
	for _, kind := range []string{"experts", "index_topk", "query codes", "row codes"} {
		if p.count[kind] > 0 {
			line += fmt.Sprintf("; %s: %d of %d flipped", kind, p.flips[kind], p.count[kind])
		}
	}
	p.t.Log(line)
}

// clean reports whether both sides made the same choices throughout.
func (p *pair) clean() bool {
	for _, n := range p.flips {
		if n > 0 {
			return false
		}
	}
	return true
}

// feed runs tokens of a slot from position `from` on: prefill in chunks, or
// one by one. Every row's logits are compared.
func (p *pair) feed(decode bool, slot int32, from int, tokens []int32) (logits []float32) {
	p.t.Helper()
	chunk := p.b.Plan.Chunk
	if decode {
		chunk = 1
	}
	for len(tokens) > 0 {
		n := min(chunk, len(tokens))
		var rows []ir.Row
		var wanted []int
		for i, tok := range tokens[:n] {
			rows = append(rows, ir.Row{Token: tok, Position: int32(from + i), Slot: slot})
			if i >= n-p.b.Plan.Wanted {
				wanted = append(wanted, i)
			}
		}
		logits = append(logits, p.step(decode, rows, wanted)...)
		from += n
		tokens = tokens[n:]
	}
	return logits
}

// golden reads a tensor of a fixture's reference outputs.
func golden(t testing.TB, dir, name string) []uint32 {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, x := range f.Tensors() {
		if x.Name == name {
			out := make([]uint32, x.Bytes/4)
			for i := range out {
				out[i] = binary.LittleEndian.Uint32(x.Data()[4*i:])
			}
			return out
		}
	}
	t.Fatalf("%s has no %s", f.Path(), name)
	return nil
}

func tokensOf(words []uint32) []int32 {
	out := make([]int32, len(words))
	for i, w := range words {
		out[i] = int32(w)
	}
	return out
}

// list names the repository's fixtures, and all of SMELT_SHARED when it is set.
func list(t *testing.T) []string {
	names, err := filepath.Glob(fixtures + "/*/golden.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for i, n := range names {
		names[i] = filepath.Dir(n)
		have[filepath.Base(names[i])] = true
	}
	more, _ := filepath.Glob(filepath.Join(os.Getenv("SMELT_SHARED"), "fixtures/*/golden.safetensors")) // the pattern is valid
	for _, n := range more {
		if dir := filepath.Dir(n); !have[filepath.Base(dir)] && os.Getenv("SMELT_SHARED") != "" {
			names = append(names, dir)
		}
	}
	return names
}

// TestGoldens runs the three prompts of every fixture through the emitted
// Metal kernels with float32 caches: 5 tokens decoded one by one, 37 and 300 in
// prefill chunks, against the evaluator and the recorded logits. Fixtures of
// SMELT_SHARED that the repository does not have run the first two.
func TestGoldens(t *testing.T) {
	for _, dir := range list(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			prompts := []string{"p0", "p1", "p2"}
			if !strings.HasPrefix(dir, fixtures) {
				prompts = prompts[:2] // other layouts of the same weights: the short ones
			}
			p := newPair(t, dir, passes.Formats{Rows: "f32", Keys: "f32"}, bundle.Options{Context: 512, Chunk: 64, Wanted: 64, Slots: 3}, Options{})
			for slot, prompt := range prompts {
				got := p.feed(slot == 0, int32(slot), 0, tokensOf(golden(t, dir, prompt+".input_ids")))
				if !p.clean() {
					continue // the recorded logits follow the reference's choices
				}
				for i, w := range golden(t, dir, prompt+".logits") {
					if d := math.Abs(float64(got[i]) - float64(math.Float32frombits(w))); !(d <= limit) {
						t.Fatalf("%s: logit %d is %v, recorded %v", prompt, i, got[i], math.Float32frombits(w))
					}
				}
			}
			p.report()
		})
	}
}

// TestFormats does the same with caches as they are compiled by default, and
// in bfloat16, with sanitizers.
func TestFormats(t *testing.T) {
	for _, f := range []passes.Formats{{Rows: "fp8", Keys: "fp4"}, {Rows: "bf16", Keys: "bf16"}} {
		t.Run(f.Rows, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(fixtures, "b-official-fp8fp4")
			p := newPair(t, dir, f, bundle.Options{Context: 512, Chunk: 64, Wanted: 64, Slots: 2}, Options{Sanitize: f.Rows == "fp8"})
			tokens := tokensOf(golden(t, dir, "p2.input_ids"))
			p.feed(false, 1, 0, tokens[:133])
			p.feed(true, 1, 133, tokens[133:142])
			p.report()
		})
	}
}

// TestEdges takes one sequence to where blocks and lists end: every length from
// 3 to 6, around 127 tokens and 127 entries, and around 511 entries, one by
// one, so that every residue of 4 stands beside each edge.
func TestEdges(t *testing.T) {
	if testing.Short() {
		t.Skip("2,060 tokens through the stand-in: not with -short")
	}
	for _, f := range []passes.Formats{{Rows: "f32", Keys: "f32"}, {Rows: "fp8", Keys: "fp4"}} {
		t.Run(f.Rows, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(fixtures, "a-bf16")
			p := newPair(t, dir, f, bundle.Options{Context: 4096, Chunk: 128, Wanted: 2, Slots: 1}, Options{})
			edges := []struct{ from, to int }{{2, 7}, {125, 131}, {505, 519}, {2038, 2060}}
			if f.Rows == "f32" {
				edges = edges[:3] // the last takes a minute; quantised caches go there
			}
			at := 0
			for _, edge := range edges {
				p.feed(false, 0, at, random(at, edge.from-at, p.m.Config.VocabSize))
				p.feed(true, 0, edge.from, random(edge.from, edge.to-edge.from, p.m.Config.VocabSize))
				at = edge.to
			}
			p.report()
		})
	}
}

// random are tokens that depend on their positions alone.
func random(from, n, vocab int) []int32 {
	out := make([]int32, n)
	for i := range out {
		x := uint64(from+i)*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019
		out[i] = int32((x ^ x>>29) * 0xbf58476d1ce4e5b9 >> 33 % uint64(vocab))
	}
	return out
}

// TestCompanions: a row's logits are the same bits alone and beside others.
func TestCompanions(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(fixtures, "c-mlx-4bit-stacked")
	p := newPair(t, dir, passes.Formats{Rows: "fp8", Keys: "fp4"}, bundle.Options{Context: 256, Chunk: 32, Wanted: 16, Slots: 9}, Options{SameOrder: true})
	vocab := p.m.Config.VocabSize
	want := map[int32][]float32{}
	for slot := range int32(9) { // alone
		p.feed(false, slot, 0, random(int(slot)*31, 9+int(slot), vocab))
		want[slot] = p.feed(true, slot, 9+int(slot), random(900+int(slot), 1, vocab))
		p.d.Reset(slot)
		p.machine.Reset(slot)
	}
	for _, together := range []int32{2, 5, 9} {
		var rows []ir.Row
		var wanted []int
		for slot := range together {
			p.feed(false, slot, 0, random(int(slot)*31, 9+int(slot), vocab))
			rows = append(rows, ir.Row{Token: random(900+int(slot), 1, vocab)[0], Position: 9 + slot, Slot: slot})
			wanted = append(wanted, int(slot))
		}
		got := p.step(true, rows, wanted)
		for slot := range together {
			if !slices.Equal(got[int(slot)*vocab:(int(slot)+1)*vocab], want[slot]) {
				t.Errorf("%d rows together: slot %d's logits are not those it has alone", together, slot)
			}
			p.d.Reset(slot)
			p.machine.Reset(slot)
		}
	}
	p.report()
}

// TestAddressSpaces lets clang look at every kernel of the repository's fixtures
// with real address spaces, without running it.
func TestAddressSpaces(t *testing.T) {
	c, err := standin.Find()
	if err != nil {
		t.Skip(err)
	}
	for _, dir := range list(t) {
		if !strings.HasPrefix(dir, fixtures) {
			continue // the same shapes and encodings under other names
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			m, err := deepseekv4.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			b, _, err := bundle.Compile(bundle.Source{Name: "m", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, bundle.Options{Context: 512})
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range b.Plan.Kernels {
				source, err := b.Metal(k.Name)
				if err == nil {
					err = c.Check(k.Name+".metal", source)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}
