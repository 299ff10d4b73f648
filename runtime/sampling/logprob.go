package sampling

import (
	"math"
	"slices"

	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/ir/tensor"
)

// LogProb is the natural logarithm of a row's probability of a token, before
// temperature and filters; NaN if one of the logits is.
func LogProb[F tensor.Float](logits []F, token int32) float64 {
	top, sum := spread(logits)
	return (float64(logits[token]) - top) - num.Log(sum)
}

// spread is the largest logit and the sum of all exponentials relative to it.
func spread[F tensor.Float](logits []F) (top, sum float64) {
	top = math.Inf(-1)
	for _, x := range logits {
		top = max(top, float64(x))
	}
	for _, x := range logits {
		sum += num.Exp(float64(x) - top)
	}
	return top, sum
}

// Probable is a token and the logarithm of its probability.
type Probable struct {
	Token   int32
	LogProb float64
}

// Top lists the n most probable tokens of a row, best first, as LogProb has
// them; equal ones by id. Those whose logit is no number are left out.
func Top(logits []float32, n int) []Probable {
	var best []Probable // logits first, probabilities when all are known
	better := func(a Probable, logit float64) int {
		if a.LogProb >= logit { // of equals the lower id came first
			return -1
		}
		return 1
	}
	for id, x := range logits {
		logit := float64(x)
		if n <= 0 || x != x || len(best) == n && best[n-1].LogProb >= logit {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, logit, better)
		best = slices.Insert(best, at, Probable{int32(id), logit})
		best = best[:min(len(best), n)]
	}
	top, sum := spread(logits)
	for i := range best {
		best[i].LogProb = (best[i].LogProb - top) - num.Log(sum)
	}
	return best
}
