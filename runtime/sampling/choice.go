package sampling

import (
	"math"
	"math/bits"
)

// Choice is how one row's token is picked: Params made ready for a row, with
// its random number. It is all a device needs, and all integers but Inv. The
// zero value takes the largest logit.
type Choice struct {
	Inv    float32 // of the temperature, above 0 and finite; 0: the largest logit
	TopK   int32   // tokens kept; 0: all
	TopP   uint32  // share of the weights kept, times 2^32; 0: all
	MinP   uint32  // least weight kept; 0: all
	Random uint32  // the random number in [0, 1), times 2^32
}

// Choice makes the parameters ready for the token at position of a stream of
// random numbers; for texts of one session that is the slot. The parameters must
// be valid.
func (p Params) Choice(stream, position uint64) Choice {
	if p.Temperature == 0 {
		return Choice{}
	}
	c := Choice{
		Inv:    inverse(p.Temperature),
		TopK:   int32(min(p.TopK, math.MaxInt32)),
		MinP:   uint32(math.Ceil(p.MinP * One)),
		Random: random(p.Seed, stream, position),
	}
	if share := math.Ceil(p.TopP * (1 << 32)); share < 1<<32 {
		c.TopP = uint32(share)
	}
	return c
}

// inverse is 1/temperature among the normal numbers of float32: devices may
// take others for 0 or infinity.
func inverse(temperature float64) float32 {
	return float32(min(max(1/temperature, 0x1p-126), math.MaxFloat32))
}

// portion is floor(total * share / 2^32).
func portion(total uint64, share uint32) uint64 {
	hi, lo := bits.Mul64(total, uint64(share))
	return hi<<32 | lo>>32
}
