package main

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/tokenizer"
)

// story is the storyteller in one encoding with its reference outputs.
type story struct {
	name, checkpoint, goldens string
}

// stories lists this folder's checkpoint and, when SMELT_SHARED is set, the
// official FP8/FP4 one.
func stories(t *testing.T) []story {
	list := []story{{"mlx-4bit", "checkpoint", "testdata"}}
	if testing.Short() {
		return list
	}
	shared := os.Getenv("SMELT_SHARED")
	if shared == "" {
		t.Log("SMELT_SHARED is unset: the storyteller in official FP8/FP4 did not run")
		return list
	}
	dir := filepath.Join(shared, "storyteller")
	return append(list, story{"official-fp8fp4", filepath.Join(dir, "official-fp8fp4"), dir})
}

func each(t *testing.T, f func(t *testing.T, s story, m *models.Model)) {
	for _, s := range stories(t) {
		t.Run(s.name, func(t *testing.T) {
			m, err := models.Open(s.checkpoint, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			f(t, s, m)
		})
	}
}

func (s story) readJSON(t *testing.T, kind string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.goldens, kind+"-"+s.name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

type goldens struct {
	Greedy []struct {
		Prompt    string
		PromptIDs []int32 `json:"prompt_ids"`
		IDs       []int32
		Text      string
	}
	Recall []example
}

// chunk is how prompts are cut here; the cut does not change a bit.
const chunk = 256

// feed runs tokens through a fresh slot of ma, chunk by chunk, and calls each
// with the logits of the rows asked for.
func feed[F tensor.Float](t testing.TB, ma *eval.Machine[F], tokens []int32, want func(position int) bool, each func(position int, logits []F)) {
	t.Helper()
	ma.Reset(0)
	for from := 0; from < len(tokens); from += chunk {
		var rows []eval.Row
		var wanted []int
		for i, tok := range tokens[from:min(from+chunk, len(tokens))] {
			rows = append(rows, eval.Row{Token: tok, Position: int32(from + i)})
			if want(from + i) {
				wanted = append(wanted, i)
			}
		}
		out, err := ma.Step(rows, wanted)
		if err != nil {
			t.Fatal(err)
		}
		v := out[0].Shape[1]
		for k, i := range wanted {
			each(from+i, out[0].F[k*v:(k+1)*v])
		}
	}
}

func machine[F tensor.Float](t testing.TB, m *models.Model) *eval.Machine[F] {
	t.Helper()
	ma, err := eval.New[F](m.Graph, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	return ma
}

// TestHeldout compares the mean loss of a held-out row, one drawn of eight, with
// the reference's to 1e-4.
func TestHeldout(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a row of 512 tokens in each encoding")
	}
	each(t, func(t *testing.T, s story, m *models.Model) {
		type heldout struct {
			Source string
			IDs    []int32
			Loss   float64 `json:"mean_nll"`
		}
		var held struct{ Rows []heldout }
		s.readJSON(t, "heldout", &held)
		if len(held.Rows) != 8 {
			t.Fatalf("%d held-out rows, expected 8", len(held.Rows))
		}
		ma := machine[float32](t, m)
		for _, row := range sample.Of(t, held.Rows, 1) {
			sum, n := 0.0, len(row.IDs)-1
			feed(t, ma, row.IDs[:n], func(int) bool { return true }, func(p int, logits []float32) {
				sum += surprise(logits, row.IDs[p+1])
			})
			diff := math.Abs(sum/float64(n) - row.Loss)
			t.Logf("%s: loss %.6f, reference %.6f, difference %.1e", row.Source, sum/float64(n), row.Loss, diff)
			if !(diff <= 1e-4) {
				t.Errorf("row %s of %d tokens: loss differs by %.3g, limit 1e-4", row.Source, n, diff)
			}
		}
	})
}

func surprise[F tensor.Float](logits []F, token int32) float64 {
	top := float64(slices.Max(logits))
	sum := 0.0
	for _, x := range logits {
		sum += num.Exp(float64(x) - top)
	}
	return num.Log(sum) + top - float64(logits[token])
}

// TestLogits compares the recorded full logits of the first held-out row:
// float32 within 2e-4 and, of one drawn encoding, float64 within 3e-5 (what the
// reference itself costs).
func TestLogits(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a row of 512 tokens")
	}
	exact := sample.Of(t, stories(t), 1)
	each(t, func(t *testing.T, s story, m *models.Model) {
		f, err := safetensors.Open(filepath.Join(s.goldens, "logits-"+s.name+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		words := map[string][]uint32{}
		for _, x := range f.Tensors() {
			for b := x.Data(); len(b) > 0; b = b[4:] {
				words[x.Name] = append(words[x.Name], binary.LittleEndian.Uint32(b))
			}
		}
		var tokens []int32
		for _, w := range words["input_ids"] {
			tokens = append(tokens, int32(w))
		}
		if d := logitsDiff(t, machine[float32](t, m), tokens, words); !(d <= 2e-4) {
			t.Errorf("float32: logits differ by %.3g, limit 2e-4", d)
		}
		if !slices.Contains(exact, s) {
			return
		}
		if d := logitsDiff(t, machine[float64](t, m), tokens, words); !(d <= 3e-5) {
			t.Errorf("float64: logits differ by %.3g, limit 3e-5", d)
		}
	})
}

func logitsDiff[F tensor.Float](t *testing.T, ma *eval.Machine[F], tokens []int32, words map[string][]uint32) (diff float64) {
	at := map[int]int{}
	for k, p := range words["positions"] {
		at[int(p)] = k
	}
	seen := 0
	feed(t, ma, tokens, func(p int) bool { _, ok := at[p]; return ok }, func(p int, logits []F) {
		seen++
		for i, x := range logits {
			want := math.Float32frombits(words["logits"][at[p]*len(logits)+i])
			d := math.Abs(float64(x) - float64(want))
			if !(d <= diff) {
				diff = d
			}
		}
	})
	if seen != 35 {
		t.Errorf("compared %d positions, expected 35", seen)
	}
	t.Logf("%T: full logits at %d positions differ by %.2e", *new(F), seen, diff)
	return diff
}

// fewer is n, or 1 with -short.
func fewer(n int) int {
	if testing.Short() {
		return 1
	}
	return n
}

// TestGreedy continues two drawn of five prompts token for token as the reference
// does.
func TestGreedy(t *testing.T) {
	each(t, func(t *testing.T, s story, m *models.Model) {
		tok, err := tokenizer.Open(filepath.Join(s.checkpoint, "tokenizer.json"))
		if err != nil {
			t.Fatal(err)
		}
		var g goldens
		s.readJSON(t, "golden", &g)
		if len(g.Greedy) != 5 {
			t.Fatalf("%d greedy prompts, expected 5", len(g.Greedy))
		}
		for _, x := range sample.Of(t, g.Greedy, fewer(2)) {
			ids, err := tok.Encode(x.Prompt)
			if err != nil || !slices.Equal(append([]int32{0}, ids...), x.PromptIDs) {
				t.Errorf("%q encodes to %v (%v), reference %v", x.Prompt, ids, err, x.PromptIDs)
			}
			got := greedy(t, machine[float32](t, m), x.PromptIDs, len(x.IDs))
			if !slices.Equal(got, x.IDs) {
				t.Errorf("%q goes on with %v, reference %v", x.Prompt, got, x.IDs)
			}
			if text, err := tok.Decode(got); err != nil || text != x.Text {
				t.Errorf("%q goes on with %q (%v), reference %q", x.Prompt, text, err, x.Text)
			}
		}
	})
}

func greedy(t *testing.T, ma *eval.Machine[float32], tokens []int32, n int) (out []int32) {
	next := int32(0)
	feed(t, ma, tokens, func(p int) bool { return p == len(tokens)-1 }, func(_ int, logits []float32) { next = argmax(logits) })
	for len(out) < n {
		out = append(out, next)
		rows := []eval.Row{{Token: next, Position: int32(len(tokens) + len(out) - 1)}}
		logits, err := ma.Step(rows, []int{0})
		if err != nil {
			t.Fatal(err)
		}
		next = argmax(logits[0].F)
	}
	return out
}

func argmax[F tensor.Float](logits []F) int32 { return int32(slices.Index(logits, slices.Max(logits))) }

// example is a prompt whose answer is one token.
type example struct {
	Distance int
	Example  struct {
		PromptIDs []int32 `json:"prompt_ids"`
		Expect    []int32 `json:"expect_ids"`
	}
}

// TestRecall asks for a word some hundred tokens back, of one drawn encoding,
// which comes through compressed entries and the indexer. float32 flips a few choices that nearly tie
// in float64; they are counted, and with float64's choices forced the last logits
// must agree within 2e-4. In full it asks all that take less than 1,000 tokens,
// and in float32 those of up to 3,646; TestRecallOnCPU answers these too.
func TestRecall(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: prompts of some hundred tokens in two precisions")
	}
	exact := sample.Of(t, stories(t), 1)
	each(t, func(t *testing.T, s story, m *models.Model) {
		if !slices.Contains(exact, s) {
			t.Skip("the other encoding was drawn")
		}
		var g goldens
		s.readJSON(t, "golden", &g)
		if len(g.Recall) != 5 {
			t.Fatalf("%d recall examples, expected 5", len(g.Recall))
		}
		long := slices.IndexFunc(g.Recall, func(x example) bool { return len(x.Example.PromptIDs) > 1000 })
		for _, x := range sample.Of(t, g.Recall[:long], 1) {
			recallExactly(t, m, x)
		}
		// Minutes, and for a second layout of the same graph no news.
		if !sample.Full() || s.goldens != "testdata" {
			return
		}
		for _, x := range g.Recall[long:] {
			if _, got := choices(t, m, machine[float32](t, m), x.Example.PromptIDs, nil); argmax(got) != x.Example.Expect[0] {
				t.Errorf("%d tokens back: answered %d in float32, expected %d", x.Distance, argmax(got), x.Example.Expect[0])
			}
		}
	})
}

// recallExactly answers in float32 and float64.
func recallExactly(t *testing.T, m *models.Model, x example) {
	t.Helper()
	ids, want := x.Example.PromptIDs, x.Example.Expect
	if len(want) != 1 {
		t.Fatalf("an answer of %d tokens, expected 1", len(want))
	}
	free, l32 := choices(t, m, machine[float32](t, m), ids, nil)
	exact, l64 := choices(t, m, machine[float64](t, m), ids, nil)
	index, experts := flips(free, exact)
	forced := l32
	if index+experts > 0 { // without flips the same run again
		_, forced = choices(t, m, machine[float32](t, m), ids, exact)
	}
	t.Logf("%d tokens back in %d: answered %v in float32; float32 flips %d index sets and %d expert sets; last logits differ by %.1e, with float64's choices by %.1e",
		x.Distance, len(ids), argmax(l32) == want[0], index, experts, diff(l32, l64), diff(forced, l64))
	if argmax(l32) != want[0] || argmax(l64) != want[0] {
		t.Errorf("%d tokens back: answered %d in float32 and %d in float64, expected %d", x.Distance, argmax(l32), argmax(l64), want[0])
	}
	if d := diff(forced, l64); !(d <= 2e-4) {
		t.Errorf("%d tokens back: with the same choices logits differ by %.3g, limit 2e-4", x.Distance, d)
	}
}

// choice is the index sets and expert sets of a run, by name, chunk after chunk.
type choice map[string][][]int32

// choices runs a prompt and returns its discrete choices and last logits; with
// forced, those choices are put in place of its own.
func choices[F tensor.Float](t *testing.T, m *models.Model, ma *eval.Machine[F], ids []int32, forced choice) (choice, []F) {
	t.Helper()
	discrete := map[string]bool{}
	for _, n := range m.Trace {
		discrete[n] = strings.HasSuffix(n, ".index_topk") || strings.HasSuffix(n, ".experts")
	}
	made := choice{}
	ma.Replace = func(name string, v tensor.Value[F]) tensor.Value[F] {
		if !discrete[name] {
			return v
		}
		if forced != nil {
			v.I = forced[name][len(made[name])]
		}
		made[name] = append(made[name], slices.Clone(v.I))
		return v
	}
	var last []F
	feed(t, ma, ids, func(p int) bool { return p == len(ids)-1 }, func(_ int, l []F) { last = l })
	return made, last
}

// flips counts the rows in which two runs chose different sets.
func flips(a, b choice) (index, experts int) {
	for name, chunks := range a {
		for c, x := range chunks {
			y := b[name][c]
			width := 32
			if strings.HasSuffix(name, ".experts") {
				width = 4
			}
			for i := 0; i < len(x); i += width {
				if !slices.Equal(x[i:i+width], y[i:i+width]) {
					if width == 32 {
						index++
					} else {
						experts++
					}
				}
			}
		}
	}
	return index, experts
}

func diff[A, B tensor.Float](a []A, b []B) (d float64) {
	for i := range a {
		if x := math.Abs(float64(a[i]) - float64(b[i])); !(x <= d) {
			d = x
		}
	}
	return d
}
