// Package sampling picks the next token from a row of logits, with the same
// result on every device: tokens rank by the bits of their logits, weights are
// integers, and random numbers depend only on seed, stream and position. Sums of
// integers have no rounding, so devices may add them up in any order.
//
// Sample is the definition; devices that sample get a Choice for each row.
package sampling

import (
	"errors"
	"fmt"
	"math"
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

// Scratch is memory Pick reuses; it grows to the vocabulary once. The zero
// value is ready. One Scratch serves one call at a time.
type Scratch struct {
	weights []uint32
	heap    []int32
}

func (s *Scratch) resize(n int) {
	if cap(s.weights) < n {
		s.weights = make([]uint32, n)
		s.heap = make([]int32, n)
	}
	s.weights, s.heap = s.weights[:n], s.heap[:n]
}

// Sample picks a token id from logits, one per id, for the token at position of
// a stream. It is Choice and Pick, and fails as Validate and Pick do.
func Sample(logits []float32, p Params, stream, position uint64, scratch *Scratch) (int32, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	return p.Choice(stream, position).Pick(logits, scratch)
}

// Pick picks a token id from logits, one per id. Tokens rank by logit, then by
// lower id; +0 equals -0, and NaN is never picked. If the largest logit is
// infinite, all tokens that have it are equally probable and no others are. A
// token is drawn at the fraction Random of the kept tokens' weights, walking ids
// upwards.
//
// It fails with ErrNoLogits. With a Scratch that has seen this vocabulary it
// allocates nothing; a nil one is allowed.
func (c Choice) Pick(logits []float32, scratch *Scratch) (int32, error) {
	best := argmax(logits)
	if best < 0 {
		return 0, ErrNoLogits
	}
	if c.Inv == 0 {
		return best, nil
	}
	if scratch == nil {
		scratch = &Scratch{}
	}
	scratch.resize(len(logits))
	r, weights := ranking{logits, scratch.heap}, scratch.weights
	// Every filter keeps a prefix of the ranking, so its last member says it all.
	last := r.lastOfTopK(int(c.TopK))
	total := uint64(0)
	for id, x := range logits {
		weights[id] = 0
		if keeps(logits, int32(id), last) {
			weights[id] = Weight(x, logits[best], c.Inv)
			total += uint64(weights[id])
		}
	}
	if c.TopP > 0 {
		last = r.lastOfTopP(portion(total, c.TopP), last, weights)
	}
	return c.draw(logits, weights, last), nil
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

// draw picks the first id, walking upwards, at which the kept tokens' summed
// weights exceed the fraction Random of their total.
func (c Choice) draw(logits []float32, weights []uint32, last int32) int32 {
	total := uint64(0)
	for id, w := range weights {
		if w < c.MinP || !keeps(logits, int32(id), last) {
			weights[id] = 0
		}
		total += uint64(weights[id])
	}
	target, sum, id := portion(total, c.Random), uint64(0), int32(0)
	for ; ; id++ {
		if sum += uint64(weights[id]); sum > target {
			return id
		}
	}
}
