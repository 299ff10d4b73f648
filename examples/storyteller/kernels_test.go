package main

import (
	"context"
	"math"
	"slices"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	msl "smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/runtime/cpu"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/internal/runtime/standin"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/passes"
	"smelt.example/smelt/runtime/sampling"
)

// runners are what runs the storyteller's kernels, how many of the recorded
// stories there is time for, and how many tokens of them.
var runners = []struct {
	name    string
	stories int
	tokens  int
	open    func(t *testing.T, b *bundle.Bundle, ck *checkpoint.Checkpoint) (device.Device, error)
}{
	{"cpu", 5, 64, func(t *testing.T, b *bundle.Bundle, ck *checkpoint.Checkpoint) (device.Device, error) {
		l, err := jit.Open("")
		if err != nil {
			t.Skip(err)
		}
		return cpu.Open(b, ck, cpu.Options{LLVM: l, Cache: jit.UserCache()})
	}},
	{"standin", 1, 12, func(t *testing.T, b *bundle.Bundle, ck *checkpoint.Checkpoint) (device.Device, error) {
		if _, err := msl.Find(); err != nil {
			t.Skip(err)
		}
		return standin.Open(b, ck, standin.Options{Quick: !sample.Full()})
	}},
}

// TestKernels lets the compiled kernels tell the recorded stories: the same
// tokens as the reference, and the last logits as the evaluator has them.
func TestKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: some hundred steps")
	}
	s := stories(t)[0]
	m, err := models.Open(s.checkpoint, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, _, err := bundle.Compile(bundle.Source{Name: "storyteller", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Context: 512, Chunk: 64, Formats: passes.Formats{Rows: "f32", Keys: "f32"}})
	if err != nil {
		t.Fatal(err)
	}
	var g goldens
	s.readJSON(t, "golden", &g)
	for _, r := range runners {
		t.Run(r.name, func(t *testing.T) {
			dev, err := r.open(t, b, m.Checkpoint)
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			host, err := session.New(dev, session.Options{Slots: 1, Chunk: 64, Context: 512})
			if err != nil {
				t.Fatal(err)
			}
			for i, x := range sample.Of(t, g.Greedy, r.stories) {
				want := x.IDs
				if !sample.Full() {
					want = want[:r.tokens]
				}
				tokens, logits := goOn(t, host, x.PromptIDs, len(want))
				if !slices.Equal(tokens, want) {
					t.Errorf("%q goes on with %v, reference %v", x.Prompt, tokens, want)
				}
				if i < 1 { // the evaluator takes longer than the kernels
					told := append(slices.Clone(x.PromptIDs), tokens...)
					compareLast(t, m, told[:len(told)-1], logits) // the last token is not part of the sequence
				}
			}
		})
	}
}

// compareLast compares logits after some tokens with the evaluator's.
func compareLast(t *testing.T, m *models.Model, told []int32, logits []float32) {
	t.Helper()
	feed(t, machine[float32](t, m), told, func(p int) bool { return p == len(told)-1 }, func(_ int, want []float32) {
		for i, w := range want {
			if d := math.Abs(float64(logits[i]) - float64(w)); !(d <= devicetest.Limit) {
				t.Fatalf("logit %d is %v after %d tokens, the evaluator's %v", i, logits[i], len(told), w)
			}
		}
	})
}

// goOn continues a prompt greedily and returns the tokens and the last logits.
func goOn(t *testing.T, host *session.Session, prompt []int32, n int) (tokens []int32, logits []float32) {
	t.Helper()
	q, err := host.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.Extend(context.Background(), prompt, nil); err != nil {
		t.Fatal(err)
	}
	emit := func(token int32) error {
		tokens = append(tokens, token)
		return nil
	}
	if _, _, err := q.Generate(context.Background(), session.GenerateOptions{MaxTokens: n, Sampling: sampling.Greedy(), Emit: emit}); err != nil {
		t.Fatal(err)
	}
	return tokens, slices.Clone(q.Logits())
}

// TestRecallOnCPU: with caches in the trained formats the kernels find what was
// said up to 3,600 tokens before: two drawn of five questions.
func TestRecallOnCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: some 13,000 tokens")
	}
	l, err := jit.Open("")
	if err != nil {
		t.Skip(err)
	}
	each(t, func(t *testing.T, s story, m *models.Model) { recall(t, l, s, m) })
}

func recall(t *testing.T, l *jit.LLVM, s story, m *models.Model) {
	b, _, err := bundle.Compile(bundle.Source{Name: "storyteller", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, bundle.Options{Context: 4096, Chunk: 256})
	if err != nil {
		t.Fatal(err)
	}
	dev, err := cpu.Open(b, m.Checkpoint, cpu.Options{LLVM: l, Cache: jit.UserCache()})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	host, err := session.New(dev, session.Options{Slots: 1, Chunk: 256, Context: 4096})
	if err != nil {
		t.Fatal(err)
	}
	var g goldens
	s.readJSON(t, "golden", &g)
	for _, r := range sample.Of(t, g.Recall, 2) {
		tokens, _ := goOn(t, host, r.Example.PromptIDs, len(r.Example.Expect))
		if !slices.Equal(tokens, r.Example.Expect) {
			t.Errorf("distance %d: %v, expected %v", r.Distance, tokens, r.Example.Expect)
		}
	}
}
