// Package sampling picks the next token from a row of logits, with the same
// result on every device: tokens rank by the bits of their logits, weights are
// integers, and random numbers depend only on seed, stream and position. Sums of
// integers have no rounding, so devices may add them up in any order.
//
// Sample is the definition; devices that sample get a Choice for each row.
package sampling

import (
	"maps"
	"math"
	"slices"

	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/pick"
)

// Params says how to pick. Penalties change the logits first, in this order:
// RepetitionPenalty, FrequencyPenalty and PresencePenalty, Bias. Then tokens are left out
// that may not be picked, which is not for Params to say, and the filters apply:
// Temperature, TopK, TopP, MinP. The zero value takes the largest logit.
type Params struct {
	// Temperature divides the logits; 0 takes the largest one and ignores the rest.
	Temperature float64
	// TopK keeps the K best tokens; 0 keeps all.
	TopK int
	// TopP keeps the best tokens until their probabilities reach it: the one that
	// gets there is the last. 0 and 1 keep all.
	TopP float64
	// MinP keeps tokens at least MinP times as probable as the best. 0 keeps all.
	MinP float64
	// RepetitionPenalty divides the logits above 0 of tokens that the prompt or the
	// text has, and multiplies the others, as transformers does: above 1 a text repeats
	// less. 0 and 1 are off.
	RepetitionPenalty float64
	// PresencePenalty is taken from the logits of tokens that the text has, prompt left
	// out, and FrequencyPenalty as often as it has them, as OpenAI's interface and vLLM
	// do. From -2 to 2; 0 is off.
	PresencePenalty, FrequencyPenalty float64
	// Bias is added to the logits of tokens, by their ids: from -100, which keeps all but
	// certain ones out, to 100, of 1,024 tokens at most. It must not change while a text
	// is on its way.
	Bias map[int32]float64
	// Seed keys the random numbers.
	Seed uint64
}

// Greedy takes the largest logit: the zero Params.
func Greedy() Params { return Params{} }

// Validate names the first field whose value makes no sense.
func (p Params) Validate() error {
	switch {
	case !(p.Temperature >= 0) || math.IsInf(p.Temperature, 1):
		return option.Errorf("%s: found %v, expected 0 (greedy) or a positive number", option.Name("Temperature"), p.Temperature)
	case p.TopK < 0:
		return option.Errorf("%s: found %d, expected 0 (off) or more", option.Name("TopK"), p.TopK)
	case !(p.TopP >= 0 && p.TopP <= 1):
		return option.Errorf("%s: found %v, expected a number above 0 and at most 1 (off)", option.Name("TopP"), p.TopP)
	case !(p.MinP >= 0 && p.MinP <= 1):
		return option.Errorf("%s: found %v, expected a number from 0 (off) to 1", option.Name("MinP"), p.MinP)
	case !(p.RepetitionPenalty >= 0 && p.RepetitionPenalty <= pick.MaxRepetition):
		return option.Errorf("%s: found %v, expected a number above 0 and at most %d; 1 is off", option.Name("RepetitionPenalty"), p.RepetitionPenalty, int(pick.MaxRepetition))
	}
	for _, x := range []struct {
		name  option.Name
		value float64
	}{{"PresencePenalty", p.PresencePenalty}, {"FrequencyPenalty", p.FrequencyPenalty}} {
		if !(math.Abs(x.value) <= pick.MaxPenalty) {
			return option.Errorf("%s: found %v, expected a number from -%d to %d; 0 is off", x.name, x.value, pick.MaxPenalty, pick.MaxPenalty)
		}
	}
	return p.validateBias()
}

// validateBias names the lowest token whose bias makes no sense.
func (p Params) validateBias() error {
	if len(p.Bias) == 0 {
		return nil
	}
	if len(p.Bias) > pick.MaxBiases {
		return option.Errorf("%s: found %d tokens, expected at most %d", option.Name("Bias"), len(p.Bias), pick.MaxBiases)
	}
	for _, token := range slices.Sorted(maps.Keys(p.Bias)) {
		switch bias := p.Bias[token]; {
		case token < 0:
			return option.Errorf("%s: found token %d, expected 0 or more", option.Name("Bias"), token)
		case !(math.Abs(bias) <= pick.MaxBias):
			return option.Errorf("%s: found %v for token %d, expected a number from -%d to %d", option.Name("Bias"), bias, token, pick.MaxBias, pick.MaxBias)
		}
	}
	return nil
}

// Penalties are the part that goes by a text's tokens, and by the tokens themselves.
func (p Params) Penalties() pick.Penalties {
	return pick.Penalties{Repetition: p.RepetitionPenalty, Presence: p.PresencePenalty, Frequency: p.FrequencyPenalty, Bias: p.Bias}
}

// Sample picks a token id from logits, one per id, for the token at position of
// a stream. It is Choice and Pick, and fails as Validate and Pick do. Penalties need
// the text, which it does not have: of those it has Bias alone.
func Sample(logits []float32, p Params, stream, position uint64, scratch *Scratch) (int32, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	c := p.Choice(stream, position)
	if len(p.Bias) > 0 {
		c.Changes = pick.Penalties{Bias: p.Bias}.Changes(nil)
	}
	return c.Pick(logits, scratch)
}
