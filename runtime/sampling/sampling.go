// Package sampling picks the next token from a row of logits, with the same
// result on every machine: float64 arithmetic in a fixed order, an exponential
// with fixed bits, and random numbers that depend only on seed, slot and
// position.
package sampling

import (
	"errors"
	"fmt"
	"math"

	"smelt/ir/num"
)

// Params says how to pick. The filters apply in this order: Temperature,
// TopK, TopP, MinP.
type Params struct {
	// Temperature divides the logits; 0 takes the largest one and ignores the rest.
	Temperature float64
	// TopK keeps the K best tokens; 0 keeps all.
	TopK int
	// TopP keeps the best tokens until their probabilities reach it: the one that
	// gets there is the last. 1 keeps all.
	TopP float64
	// MinP keeps tokens at least MinP times as probable as the best. 0 keeps all.
	MinP float64
	// Seed keys the random numbers.
	Seed uint64
}

// Greedy takes the largest logit.
func Greedy() Params { return Params{TopP: 1} }

// Validate names the first flag whose value makes no sense.
func (p Params) Validate() error {
	switch {
	case !(p.Temperature >= 0) || math.IsInf(p.Temperature, 1):
		return fmt.Errorf("--temp: found %v, expected 0 (greedy) or a positive number", p.Temperature)
	case p.TopK < 0:
		return fmt.Errorf("--top-k: found %d, expected 0 (off) or more", p.TopK)
	case !(p.TopP > 0 && p.TopP <= 1):
		return fmt.Errorf("--top-p: found %v, expected a number above 0 and at most 1 (off)", p.TopP)
	case !(p.MinP >= 0 && p.MinP <= 1):
		return fmt.Errorf("--min-p: found %v, expected a number from 0 (off) to 1", p.MinP)
	}
	return nil
}

// ErrNoLogits is returned when a row has no logit that is a number.
var ErrNoLogits = errors.New("sampling: no logit is a number: the model's output is broken, or the row is empty")

// Scratch is memory Sample reuses; it grows to the vocabulary once. The zero
// value is ready. One Scratch serves one call at a time.
type Scratch struct {
	weights []float64
	heap    []int32
}

func (s *Scratch) resize(n int) {
	if cap(s.weights) < n {
		s.weights = make([]float64, n)
		s.heap = make([]int32, n)
	}
	s.weights, s.heap = s.weights[:n], s.heap[:n]
}

// Sample picks a token id from logits, one per id, for the token at position of
// slot. Tokens rank by logit, then by lower id; +0 equals -0, and NaN is never
// picked. If the largest logit is infinite, all tokens that have it are equally
// probable and no others are.
//
// It fails with ErrNoLogits, or with Validate's error. With a Scratch that has
// seen this vocabulary it allocates nothing; a nil one is allowed.
func Sample(logits []float32, p Params, slot, position uint64, scratch *Scratch) (int32, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	best := argmax(logits)
	if best < 0 {
		return 0, ErrNoLogits
	}
	if p.Temperature == 0 {
		return best, nil
	}
	if scratch == nil {
		scratch = &Scratch{}
	}
	scratch.resize(len(logits))
	r := ranking{logits, scratch.heap}
	// Every filter keeps a prefix of the ranking, so its last member says it all.
	last := r.lastOfTopK(p.TopK)
	weigh(scratch.weights, logits, last, logits[best], p.Temperature)
	if p.TopP < 1 {
		last = r.lastOfTopP(p.TopP, last, scratch.weights)
	}
	return draw(scratch.weights, logits, last, p.MinP, uniform(p.Seed, slot, position)), nil
}

// argmax returns the id of the largest logit, the lowest among equals, or -1 if
// none is a number.
func argmax(logits []float32) int32 {
	best := int32(-1)
	for id, x := range logits {
		if x == x && (best < 0 || x > logits[best]) {
			best = int32(id)
		}
	}
	return best
}

// weigh sets each kept token's probability up to a common factor, 1 for the
// best; the others get 0.
func weigh(weights []float64, logits []float32, last int32, largest float32, temperature float64) {
	for id, x := range logits {
		switch {
		case !keeps(logits, int32(id), last):
			weights[id] = 0
		case x == largest:
			// Not through the exponential: the difference of two infinities is NaN.
			weights[id] = 1
		default:
			weights[id] = num.Exp((float64(x) - float64(largest)) / temperature)
		}
	}
}

// draw picks the token at fraction u of the kept tokens' weights, walking ids
// upwards.
func draw(weights []float64, logits []float32, last int32, minP, u float64) int32 {
	total := 0.0
	for id, w := range weights {
		if w < minP || !keeps(logits, int32(id), last) {
			weights[id] = 0
			continue
		}
		total += w
	}
	target, sum, picked := u*total, 0.0, int32(0)
	for id, w := range weights {
		if w == 0 {
			continue
		}
		sum += w
		picked = int32(id)
		if sum > target {
			break
		}
	}
	return picked
}
