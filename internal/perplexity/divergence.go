package perplexity

import (
	"math"
	"slices"

	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/ir/tensor"
)

// Divergence is the Kullback-Leibler divergence of the probabilities of logits from
// those of base, in nats, and whether both have the same most probable token, of equals
// the lower id. It is NaN if a logit is, and infinite where a token that base has is
// impossible.
func Divergence[F tensor.Float](base []float32, logits []F) (nats float64, same bool) {
	bestBase, sumBase := spread(base)
	best, sum := spread(logits)
	for i, b := range base {
		p := float64(b) - sumBase
		if weight := num.Exp(p); weight != 0 { // also where it is NaN
			nats += weight * (p - (float64(logits[i]) - sum))
		}
	}
	return max(nats, 0), best == bestBase // sums round, and none is below 0
}

// Against compares with a Base, token by token.
type Against struct {
	// Divergences are those of the probabilities after each token of the text.
	Divergences []float64
	same        []bool    // the most probable token is
	logProbs    []float64 // of the tokens from the second on, by the base
}

func newAgainst(tokens int) *Against {
	return &Against{make([]float64, tokens), make([]bool, tokens), make([]float64, max(tokens-1, 0))}
}

// Loss is the base's.
func (a *Against) Loss() float64 { return loss(a.logProbs) }

// Mean of the divergences.
func (a *Against) Mean() float64 {
	sum := 0.0
	for _, d := range a.Divergences {
		sum += d
	}
	return sum / float64(len(a.Divergences))
}

// Quantile is the least divergence that so many of all do not exceed, as a share; that
// of 1 is the largest. It is NaN if one divergence is.
func (a *Against) Quantile(share float64) float64 {
	sorted := slices.Sorted(slices.Values(a.Divergences)) // NaN comes first
	if math.IsNaN(sorted[0]) {
		return math.NaN()
	}
	at := int(math.Ceil(share*float64(len(sorted)))) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

// SameTop is the share of tokens after which both have the same most probable one.
func (a *Against) SameTop() float64 {
	n := 0
	for _, same := range a.same {
		if same {
			n++
		}
	}
	return float64(n) / float64(len(a.same))
}
