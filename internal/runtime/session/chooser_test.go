package session

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/runtime/sampling"
)

// TestChooser compares the changes of random texts with counting all their tokens.
func TestChooser(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		p := sampling.Params{Temperature: 1, Seed: 3}
		if r.IntN(2) == 0 {
			p.RepetitionPenalty = 1.5
		}
		if r.IntN(2) == 0 {
			p.PresencePenalty, p.FrequencyPenalty = 0.5, -0.125
		}
		bias := map[int32]float64{}
		for range r.IntN(2) * r.IntN(6) {
			bias[int32(r.IntN(20))] = 200*r.Float64() - 100
		}
		p.Bias = bias
		penalties := pick.Penalties{Repetition: p.RepetitionPenalty, Presence: p.PresencePenalty, Frequency: p.FrequencyPenalty, Bias: maps.Clone(bias)}
		prompt, mask := make([]int32, r.IntN(30)), pick.NewMask(20)
		for i := range prompt {
			prompt[i] = int32(r.IntN(20))
		}
		c := NewChooser(p, 7, mask, prompt)
		clear(bias) // whose it is may use it again
		var text []int32
		for n := range 40 {
			var want *pick.Changes
			if want = penalties.Changes(nil); want != nil {
				want.Tokens = nil
				for id := range int32(20) {
					times := 0
					for _, x := range text {
						if x == id {
							times++
						}
					}
					had := times > 0 || penalties.Repeats() && slices.Contains(prompt, id)
					if _, biased := penalties.Bias[id]; had || biased {
						want.Tokens = append(want.Tokens, pick.Change{Token: id, Less: penalties.Less(id, times), Unscaled: !had})
					}
				}
			}
			got := c.Choice(n)
			plain := p.Choice(7, uint64(n))
			plain.Allowed, plain.Changes = mask, got.Changes
			if got != plain {
				t.Fatalf("%+v, want %+v", got, plain)
			}
			if want == nil != (got.Changes == nil) || want != nil && (got.Changes.Positive != want.Positive || got.Changes.Negative != want.Negative || !slices.Equal(got.Changes.Tokens, want.Tokens) || c.Changed() != len(want.Tokens)) {
				t.Fatalf("%+v, prompt %v, text %v: %+v, want %+v", p, prompt, text, got.Changes, want)
			}
			text = append(text, int32(r.IntN(20)))
			c.Add(text[len(text)-1])
		}
	}
}
