package pick

import "fmt"

// Changes are made to the logits of some tokens before they are ranked: that is how
// a text is kept from repeating itself. A token's logit is multiplied by Positive if
// it is above 0, else by Negative; then the token's Less is taken away. Both results
// are rounded to float32, and numbers below the smallest normal one count as 0, before
// and after each.
//
// A multiplication stands where others divide, for not every device rounds a quotient.
type Changes struct {
	Positive, Negative float32  // above 0 and normal
	Tokens             []Change // by ascending token, each once
}

// Change is a token's.
type Change struct {
	Token int32
	Less  float32 // normal or 0
}

// Penalties make a text repeat itself less, or more. Repetition is that of CTRL (Keskar,
// McCann, Varshney, Xiong and Socher, 2019) as transformers has it: logits above 0 of
// tokens that prompt or text have are divided by it, others multiplied; 0 and 1 are
// off. Presence and Frequency are OpenAI's: of tokens that the text has, without the
// prompt, one is taken away once and the other as often as the token is there; 0 is
// off. Repetition comes first, as in vLLM.
type Penalties struct{ Repetition, Presence, Frequency float64 }

// Repeats tells whether the prompt's tokens are penalised too.
func (p Penalties) Repeats() bool { return p.Repetition != 0 && p.Repetition != 1 }

// Changes are the penalties' for a text without tokens; nil if all are off.
func (p Penalties) Changes() *Changes {
	if !p.Repeats() && p.Presence == 0 && p.Frequency == 0 {
		return nil
	}
	if !p.Repeats() {
		return &Changes{Positive: 1, Negative: 1}
	}
	return &Changes{Positive: Inverse(p.Repetition), Negative: Inverse(1 / p.Repetition)}
}

// Less is what is taken from the logit of a token that the text has so many times.
func (p Penalties) Less(times int) float32 {
	if times == 0 {
		return 0
	}
	each := float64(p.Frequency * float64(times)) // rounded: Go would fuse it with the sum
	return normal(float32(each + p.Presence))
}

// What a text's penalties are at most. Those of presence and frequency are the limits
// of OpenAI's interface, on either side of 0.
const (
	MaxRepetition = 1e6
	MaxPenalty    = 2
)

// Logit is a token's logit as the changes leave it.
func (c *Changes) Logit(logit, less float32) float32 {
	logit, factor := normal(logit), c.Negative
	if logit > 0 {
		factor = c.Positive
	}
	scaled := normal(float32(logit * factor))
	return normal(scaled - less)
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
