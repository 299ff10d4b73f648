package devicetest

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/passes"
)

// Float32 caches hold what a model computes; Trained are the formats that
// DeepSeek-V4 was trained with.
var (
	Float32  = passes.Formats{Rows: "f32", Keys: "f32"}
	Trained  = passes.Formats{Rows: "fp8", Keys: "fp4"}
	BFloat16 = passes.Formats{Rows: "bf16", Keys: "bf16"}
)

// fixtures are the repository's, as seen from a device's package.
const fixtures = "../../models/deepseekv4/testdata/fixtures"

// Fixture is the folder of one of the repository's fixtures.
func Fixture(name string) string { return filepath.Join(fixtures, name) }

// Golden reads a tensor of a fixture's reference outputs.
func Golden(t testing.TB, dir, name string) []uint32 {
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

// Tokens are a recorded prompt's.
func Tokens(words []uint32) []int32 {
	out := make([]int32, len(words))
	for i, w := range words {
		out[i] = int32(w)
	}
	return out
}

// Fixtures names the repository's fixtures, and all of SMELT_SHARED when it is set.
func Fixtures(t testing.TB) []string {
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

// Goldens runs the three prompts of a fixture with float32 caches: 5 tokens
// decoded one by one, 37 and 300 in prefill chunks, against the evaluator and
// the recorded logits.
func Goldens(t *testing.T, dir string, prompts []string, open Open) {
	p := New(t, dir, Float32, bundle.Options{Context: 512, Chunk: 64, Wanted: 64, Slots: 3}, open)
	for slot, prompt := range prompts {
		got := p.Feed(slot == 0, int32(slot), 0, Tokens(Golden(t, dir, prompt+".input_ids")))
		if !p.Clean() {
			continue // the recorded logits follow the reference's choices
		}
		for i, w := range Golden(t, dir, prompt+".logits") {
			if d := math.Abs(float64(got[i]) - float64(math.Float32frombits(w))); !(d <= Limit) {
				t.Fatalf("%s: logit %d is %v, recorded %v", prompt, i, got[i], math.Float32frombits(w))
			}
		}
	}
	p.Report()
}

// Mixed runs the longest prompt of a fixture in prefill and decode steps with
// caches of a format.
func Mixed(t *testing.T, dir string, f passes.Formats, open Open) {
	p := New(t, dir, f, bundle.Options{Context: 512, Chunk: 64, Wanted: 64, Slots: 2}, open)
	tokens := Tokens(Golden(t, dir, "p2.input_ids"))
	p.Feed(false, 1, 0, tokens[:133])
	p.Feed(true, 1, 133, tokens[133:142])
	p.Report()
}

// Edge is a run of lengths.
type Edge struct{ From, To int }

// LengthEdges are where blocks and lists end: every length from 3 to 6, around
// 127 tokens and 127 entries, around 511 entries and where a list of entries is
// cut, so that every residue of 4 stands beside each edge.
var LengthEdges = []Edge{{2, 7}, {125, 131}, {505, 519}, {2038, 2060}}

// Edges takes one sequence to the edges, there one token at a time.
func Edges(t *testing.T, dir string, f passes.Formats, edges []Edge, open Open) {
	p := New(t, dir, f, bundle.Options{Context: 4096, Chunk: 128, Wanted: 2, Slots: 1}, open)
	at := 0
	for _, edge := range edges {
		p.Feed(false, 0, at, Random(at, edge.From-at, p.Model.VocabSize))
		p.Feed(true, 0, edge.From, Random(edge.From, edge.To-edge.From, p.Model.VocabSize))
		at = edge.To
	}
	p.Report()
}

// Random are tokens that depend on their positions alone.
func Random(from, n, vocab int) []int32 {
	out := make([]int32, n)
	for i := range out {
		x := uint64(from+i)*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019
		out[i] = int32((x ^ x>>29) * 0xbf58476d1ce4e5b9 >> 33 % uint64(vocab))
	}
	return out
}

// Companions: a row's logits are the same bits alone and beside others. Of a device that
// shows nothing but its slots a chunk has to be short: all rows stay in the slots' rings,
// where the evaluator finds codes that rounding turned.
func Companions(t *testing.T, dir string, together []int32, chunk int, open Open) {
	most := slices.Max(together)
	p := New(t, dir, Trained, bundle.Options{Context: 256, Chunk: chunk, Wanted: 16, Slots: int(most)}, open)
	vocab := p.Model.VocabSize
	reset := func(slot int32) {
		p.both.Reset(slot)
	}
	want := map[int32][]float32{}
	for slot := range most { // alone
		p.Feed(false, slot, 0, Random(int(slot)*31, 9+int(slot), vocab))
		want[slot] = p.Feed(true, slot, 9+int(slot), Random(900+int(slot), 1, vocab))
		reset(slot)
	}
	p.refuseStrangers()
	for _, n := range together {
		var rows []ir.Row
		var wanted []int
		for slot := range n {
			p.Feed(false, slot, 0, Random(int(slot)*31, 9+int(slot), vocab))
			rows = append(rows, ir.Row{Token: Random(900+int(slot), 1, vocab)[0], Position: 9 + slot, Slot: slot})
			wanted = append(wanted, int(slot))
		}
		got := p.Step(true, rows, wanted)
		for slot := range n {
			if !slices.Equal(got[int(slot)*vocab:(int(slot)+1)*vocab], want[slot]) {
				t.Errorf("%d rows together: slot %d's logits are not those it has alone", n, slot)
			}
			reset(slot)
		}
	}
	p.Report()
}

// refuseStrangers gives the device tokens that the model lacks, in both kinds of
// steps: for each there must be an error, and no slot may change.
func (p *Pair) refuseStrangers() {
	p.t.Helper()
	vocab := int32(p.Model.VocabSize)
	for _, token := range []int32{vocab, vocab + 1, math.MaxInt32, -1, math.MinInt32} {
		rows := []ir.Row{{Token: token}}
		for _, step := range []func([]ir.Row, []int) ([]float32, error){p.Device.Prefill, p.Device.Decode} {
			if _, err := step(rows, []int{0}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("token %d; expected 0 to %d", token, vocab-1)) {
				p.t.Errorf("token %d of a vocabulary of %d: %v", token, vocab, err)
			}
		}
	}
}
