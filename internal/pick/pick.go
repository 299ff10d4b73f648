// Package pick defines how a token is picked from a row of logits, in integers
// wherever it can be: tokens rank by the bits of their logits, and weights are
// fixed point. Sums of integers have no rounding, so a device may add them up in
// any order. The evaluator runs the definition, kernels do the same to the bit.
package pick

import (
	"errors"
	"math"
	"math/bits"
)

// Choice is how one row's token is picked: a sampler's parameters made ready
// for the row, with its random number. It is all a device needs, and all integers but
// Inv and Changes. The zero value takes the largest logit.
type Choice struct {
	Allowed *Mask    // tokens that may be picked; nil: all
	Changes *Changes // of the logits, before anything else; nil: none

	Inv    float32 // of the temperature, above 0 and finite; 0: the largest logit
	TopK   int32   // tokens kept; 0: all
	TopP   uint32  // share of the weights kept, times 2^32; 0: all
	MinP   uint32  // least weight kept; 0: all
	Random uint32  // the random number in [0, 1), times 2^32
}

// What is asked for at most: from a temperature of a million on all tokens are as
// likely, and no vocabulary has more tokens.
const (
	MaxTemperature = 1e6
	MaxTopK        = 4 << 20
)

// ErrNoLogits is returned when a row has no logit that is a number, among those of
// the tokens that may be picked.
var ErrNoLogits = errors.New("sampling: no logit is a number: the model's output is broken, or no token may be picked")

// Check refuses a choice that is for rows of another vocabulary.
func (c Choice) Check(vocab int) error {
	if c.Allowed != nil {
		if err := c.Allowed.check(vocab); err != nil {
			return err
		}
	}
	if c.Changes != nil {
		return c.Changes.check(vocab)
	}
	return nil
}

// Scratch is memory Pick reuses; it grows to the vocabulary once. The zero
// value is ready. One Scratch serves one call at a time.
type Scratch struct {
	weights []uint32
	heap    []int32
	changed []float32
}

func (s *Scratch) resize(n int) {
	if cap(s.weights) < n {
		s.weights = make([]uint32, n)
		s.heap = make([]int32, n)
	}
	s.weights, s.heap = s.weights[:n], s.heap[:n]
}

// Pick picks a token id from logits, one per id. Tokens rank by logit, then by
// lower id; +0 equals -0. NaN is never picked, nor is a token that is not Allowed; it
// is as if its logit were NaN. If the largest logit is
// infinite, all tokens that have it are equally probable and no others are. A
// token is drawn at the fraction Random of the kept tokens' weights, walking ids
// upwards.
//
// It fails with ErrNoLogits, and as Check does. With a Scratch that has seen this
// vocabulary it allocates nothing; a nil one is allowed.
func (c Choice) Pick(logits []float32, scratch *Scratch) (int32, error) {
	if err := c.Check(len(logits)); err != nil {
		return 0, err
	}
	if scratch == nil {
		scratch = &Scratch{}
	}
	logits = c.prepare(logits, scratch)
	best := argmax(logits)
	if best < 0 {
		return 0, ErrNoLogits
	}
	if c.Inv == 0 {
		return best, nil
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

// prepare is the row with its changes, and NaN for what may not be picked.
func (c Choice) prepare(logits []float32, s *Scratch) []float32 {
	if c.Allowed == nil && c.Changes == nil {
		return logits
	}
	s.changed = append(s.changed[:0], logits...)
	if c.Changes != nil {
		for _, x := range c.Changes.Tokens {
			s.changed[x.Token] = c.Changes.Logit(logits[x.Token], x)
		}
	}
	if c.Allowed != nil {
		for id := range s.changed {
			if !c.Allowed.Allows(int32(id)) {
				s.changed[id] = float32(math.NaN())
			}
		}
	}
	return s.changed
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

// Inverse is 1/temperature among the normal numbers of float32: devices may
// take others for 0 or infinity.
func Inverse(temperature float64) float32 {
	return float32(min(max(1/temperature, 0x1p-126), math.MaxFloat32))
}

// portion is floor(total * share / 2^32).
func portion(total uint64, share uint32) uint64 {
	hi, lo := bits.Mul64(total, uint64(share))
	return hi<<32 | lo>>32
}
