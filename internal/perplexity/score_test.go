package perplexity

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/runtime/sampling"
)

// score is what an engine that scores tokens itself has in the place of Read.
func (e *engine) score(tokens []int32, first int, targets []int32, scores []float64) error {
	if len(targets) != len(scores) || first+len(targets) > len(tokens) {
		return errors.New("more targets than tokens")
	}
	return e.Read(tokens, 0, func(i int, logits []float32) error {
		if n := i - first; n >= 0 && n < len(targets) {
			scores[n] = sampling.LogProb(logits, targets[n])
		}
		return nil
	})
}

// TestScored: however a text is cut, an engine that scores tokens itself is asked for
// the scores that come from its logits, and for logits only where someone wants them.
func TestScored(t *testing.T) {
	for range 200 {
		length := 2 + rand.IntN(20)
		tokens := text(1 + rand.IntN(60))
		e := &engine{}
		o := Options[float32]{Tokens: tokens, Windows: Windows(len(tokens), length, 1+rand.IntN(length-1)), Chunk: 1 + rand.IntN(length+2)}
		want, err := Run(t.Context(), e, o)
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		o.Score = func(tokens []int32, first int, targets []int32, scores []float64) error {
			asked++
			return e.score(tokens, first, targets, scores)
		}
		got, err := Run(t.Context(), e, o)
		if err != nil || !slices.Equal(got.LogProbs, want.LogProbs) || asked == 0 {
			t.Fatalf("%d tokens, %+v, chunks of %d: %v, %v, want %v", len(tokens), o.Windows, o.Chunk, got.LogProbs, err, want.LogProbs)
		}
		asked = 0
		o.Row = func([]float32) error { return nil }
		if got, err := Run(t.Context(), e, o); err != nil || !slices.Equal(got.LogProbs, want.LogProbs) || asked > 0 {
			t.Fatalf("with logits: %v, %v, %d steps without", got.LogProbs, err, asked)
		}
	}
}

// TestScoredEnds: with an error come the scores of the steps before it.
func TestScoredEnds(t *testing.T) {
	broken, e, steps := errors.New("broken"), &engine{}, 0
	tokens := text(20)
	o := Options[float32]{Tokens: tokens, Windows: Windows(20, 20, 0), Chunk: 6, Score: func(tokens []int32, first int, targets []int32, scores []float64) error {
		if steps++; steps == 3 {
			return broken
		}
		return e.score(tokens, first, targets, scores)
	}}
	s, err := Run(t.Context(), e, o)
	if !errors.Is(err, broken) || len(s.LogProbs) != 12 || slices.Contains(s.LogProbs, 0) {
		t.Errorf("%v, %v", s.LogProbs, err)
	}
}
