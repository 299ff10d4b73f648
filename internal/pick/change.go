package pick

import (
	"cmp"
	"fmt"
	"slices"
)

// Changes are made to the logits of some tokens before they are ranked: that is how
// a text is kept from repeating itself, and how a request prefers tokens. A token's logit
// is multiplied by Positive if it is above 0, else by Negative, unless it is Unscaled; then
// the token's Less is taken away. Both results are rounded to float32, and numbers below
// the smallest normal one count as 0, before and after each.
//
// A multiplication stands where others divide, for not every device rounds a quotient.
type Changes struct {
	Positive, Negative float32  // above 0 and normal
	Tokens             []Change // by ascending token, each once
}

// Change is a token's.
type Change struct {
	Token    int32
	Less     float32 // normal or 0
	Unscaled bool    // both factors are 1 for it: neither prompt nor text has it
}

// Word is the token as kernels read it: -1-Token where the change is Unscaled.
func (x Change) Word() int32 {
	if x.Unscaled {
		return -1 - x.Token
	}
	return x.Token
}

// Penalties make a text repeat itself less, or more, and prefer tokens or avoid them.
// Repetition is that of CTRL (Keskar, McCann, Varshney, Xiong and Socher, 2019) as
// transformers has it: logits above 0 of tokens that prompt or text have are divided by it,
// others multiplied; 0 and 1 are off. Frequency and Presence are OpenAI's: of tokens that
// the text has, without the prompt, one is taken away as often as the token is there and
// the other once; 0 is off. Bias is OpenAI's too: what is added to tokens' logits. Repetition
// comes first, as in vLLM; the others are one sum.
type Penalties struct {
	Repetition, Presence, Frequency float64
	Bias                            map[int32]float64
}

// Repeats tells whether the prompt's tokens are penalised too.
func (p Penalties) Repeats() bool { return p.Repetition != 0 && p.Repetition != 1 }

// Changes are the penalties' for a text of which the prompt is all; nil if all are off.
func (p Penalties) Changes(prompt []int32) *Changes {
	if !p.Repeats() && p.Presence == 0 && p.Frequency == 0 && len(p.Bias) == 0 {
		return nil
	}
	c := &Changes{Positive: 1, Negative: 1}
	if p.Repeats() {
		c.Positive, c.Negative = Inverse(p.Repetition), Inverse(1/p.Repetition)
		for _, t := range prompt {
			c.Tokens = append(c.Tokens, p.change(t))
		}
	}
	for t := range p.Bias {
		x := p.change(t)
		x.Unscaled = true
		c.Tokens = append(c.Tokens, x)
	}
	// A token that the prompt has and a bias is of counts as the prompt's.
	slices.SortFunc(c.Tokens, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(oneIf(a.Unscaled), oneIf(b.Unscaled)))
	})
	c.Tokens = slices.CompactFunc(c.Tokens, func(a, b Change) bool { return a.Token == b.Token })
	return c
}

func oneIf(is bool) int {
	if is {
		return 1
	}
	return 0
}

// change is the change of a token that the prompt has.
func (p Penalties) change(token int32) Change { return Change{Token: token, Less: p.Less(token, 0)} }

// Less is what is taken from the logit of a token that the text has so many times.
func (p Penalties) Less(token int32, times int) float32 {
	each := float64(p.Frequency * float64(times)) // rounded: Go would fuse it with the sum
	if times > 0 {
		each += p.Presence
	}
	return normal(float32(each - p.Bias[token]))
}

// What a text's penalties are at most. Those of presence, frequency and biases are the
// limits of OpenAI's interface, on either side of 0; it lets requests have up to 300 biases.
const (
	MaxRepetition = 1e6
	MaxPenalty    = 2
	MaxBias       = 100
	MaxBiases     = 1024
)

// Logit is a token's logit as its change leaves it.
func (c *Changes) Logit(logit float32, x Change) float32 {
	logit, factor := normal(logit), c.Negative
	if logit > 0 {
		factor = c.Positive
	}
	if x.Unscaled {
		factor = 1
	}
	scaled := normal(float32(logit * factor))
	return normal(scaled - x.Less)
}

// check refuses changes of tokens that are not there, and of one twice.
func (c *Changes) check(vocab int) error {
	before := int32(-1)
	for _, x := range c.Tokens {
		if x.Token <= before || int(x.Token) >= vocab {
			return fmt.Errorf("sampling: a change of token %d after that of %d, in a row of %d logits", x.Token, before, vocab)
		}
		before = x.Token
	}
	return nil
}
