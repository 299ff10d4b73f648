package sampling

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestLogProb compares with probabilities computed from the definition.
func TestLogProb(t *testing.T) {
	logits := []float32{1, 3, -2, 3, 0.5}
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x))
	}
	for id, x := range logits {
		want := math.Log(math.Exp(float64(x)) / sum)
		if got := LogProb(logits, int32(id)); math.Abs(got-want) > 1e-12 {
			t.Errorf("token %d: %v, want %v", id, got, want)
		}
	}
	if got := LogProb([]float32{1000, 999}, 1); math.Abs(got-(-1-math.Log1p(math.Exp(-1)))) > 1e-12 {
		t.Errorf("large logits: %v", got)
	}
	if got := LogProb([]float32{1, nan}, 0); got == got {
		t.Errorf("beside NaN: %v", got)
	}
}

// TestTop compares with sorting all tokens.
func TestTop(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 0))
	for range 200 {
		logits := make([]float32, 1+rng.IntN(40))
		for i := range logits {
			logits[i] = float32(rng.IntN(9)) // many are equal
		}
		var all []Probable
		for i := range logits {
			all = append(all, Probable{int32(i), LogProb(logits, int32(i))})
		}
		slices.SortStableFunc(all, func(a, b Probable) int { return cmp.Compare(b.LogProb, a.LogProb) })
		n := rng.IntN(len(all) + 3)
		got := Top(logits, n)
		if !slices.Equal(got, all[:min(n, len(all))]) {
			t.Fatalf("top %d of %v:\n got  %v\n want %v", n, logits, got, all[:min(n, len(all))])
		}
	}
	if got := Top([]float32{nan, 2, nan, 1}, 9); len(got) != 2 || got[0].Token != 1 || got[1].Token != 3 {
		t.Errorf("beside NaN: %v", got)
	}
}
