package sampling

import (
	"math"

	"smelt.example/smelt/internal/pick"
)

// Choice is how one row's token is picked: Params made ready for a row, with its
// random number. Devices that sample take one for each row.
type Choice = pick.Choice

// Scratch is memory that Pick reuses.
type Scratch = pick.Scratch

// ErrNoLogits: a row has no logit that is a number.
var ErrNoLogits = pick.ErrNoLogits

// Choice makes the parameters ready for the token at position of a stream of
// random numbers; for texts of one session that is the slot. The parameters must
// be valid. What changes logits is not in it: that goes by the text (Penalties).
func (p Params) Choice(stream, position uint64) Choice {
	if p.Temperature == 0 {
		return Choice{}
	}
	c := Choice{
		Inv:    pick.Inverse(p.Temperature),
		TopK:   int32(min(p.TopK, math.MaxInt32)),
		MinP:   uint32(math.Ceil(p.MinP * pick.One)),
		Random: random(p.Seed, stream, position),
	}
	if share := math.Ceil(p.TopP * (1 << 32)); share < 1<<32 { // 0 is off, as 1 is
		c.TopP = uint32(share)
	}
	return c
}
