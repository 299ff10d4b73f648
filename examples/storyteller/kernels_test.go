package main

import (
	"context"
	"math"
	"slices"
	"testing"

	"smelt/codegen/bundle"
	msl "smelt/codegen/msl/standin"
	"smelt/models/deepseekv4"
	"smelt/passes"
	"smelt/runtime/sampling"
	"smelt/runtime/session"
	"smelt/runtime/standin"
)

// TestKernels compiles the storyteller and lets the emitted Metal kernels tell
// recorded stories, through the clang stand-in: the same tokens, and the last
// logits as the evaluator has them. Two of the five, for time; all five agree.
func TestKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("some 150 steps through the stand-in: not with -short")
	}
	if _, err := msl.Find(); err != nil {
		t.Skip(err)
	}
	s := stories(t)[0]
	m, err := deepseekv4.Open(s.checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, _, err := bundle.Compile(bundle.Source{Name: "storyteller", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Context: 512, Chunk: 64, Formats: passes.Formats{Rows: "f32", Keys: "f32"}})
	if err != nil {
		t.Fatal(err)
	}
	device, err := standin.Open(b, m.Checkpoint, standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	host, err := session.New(device, session.Options{Slots: 1, Chunk: 64, Context: 512})
	if err != nil {
		t.Fatal(err)
	}
	var g goldens
	s.readJSON(t, "golden", &g)
	for _, x := range g.Greedy[:2] {
		tokens, logits := goOn(t, host, x.PromptIDs, len(x.IDs))
		if !slices.Equal(tokens, x.IDs) {
			t.Errorf("%q goes on with %v, reference %v", x.Prompt, tokens, x.IDs)
		}
		told := append(slices.Clone(x.PromptIDs), tokens...)
		told = told[:len(told)-1] // the last token is not part of the sequence
		feed(t, machine[float32](t, m), told, func(p int) bool { return p == len(told)-1 }, func(_ int, want []float32) {
			for i, w := range want {
				if d := math.Abs(float64(logits[i]) - float64(w)); !(d <= 5e-4) {
					t.Fatalf("%q: logit %d is %v after %d tokens, the evaluator's %v", x.Prompt, i, logits[i], len(told), w)
				}
			}
		})
	}
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
