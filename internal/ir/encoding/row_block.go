package encoding

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/ir/num"
)

// BlockCode is a small float that a block of a row is stored in, with one
// power-of-two scale for the block: value = code * 2^exponent. The scale is the
// smallest that needs no saturation: 2^ceil(log2(amax/largest)), where amax is
// the largest magnitude of the block (DeepSeek-V4's own rule for its caches).
type BlockCode struct {
	name    string
	bits    int
	largest float64 // of the code
	least   int     // exponent that smaller blocks get
	encode  func(float64) uint8
	decode  func(uint8) float32
}

var (
	// E4M3Blocks counts amax as 1e-4 at least, so its exponents are -22 and above.
	E4M3Blocks = &BlockCode{"e4m3", 8, 448, -22, num.F64ToE4M3, num.E4M3ToF32}
	// E2M1Blocks has exponents from -126, so that a scale is a normal float32.
	E2M1Blocks = &BlockCode{"e2m1", 4, 6, -126, num.F64ToE2M1, num.E2M1ToF32}
)

// BlockCodeNamed finds e4m3 or e2m1.
func BlockCodeNamed(name string) (*BlockCode, error) {
	for _, c := range []*BlockCode{E4M3Blocks, E2M1Blocks} {
		if c.name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("expected e4m3 or e2m1, found %q", name)
}

// Exponent is ceil(log2(amax/largest)) for a finite amax, within what an E8M0
// scale and a normal float32 hold. It compares mantissas and computes no
// logarithm and no quotient, so it is exact.
func (c *BlockCode) Exponent(amax float64) int {
	const most = 127
	if math.IsInf(amax, 1) {
		return most
	}
	f, e := math.Frexp(amax)
	top, topExponent := math.Frexp(c.largest)
	e -= topExponent
	if f > top {
		e++
	}
	if amax == 0 {
		e = c.least
	}
	return min(max(e, c.least), most)
}

// amax is the largest magnitude of a block; NaN does not count.
func amax[F Float](block []F) float64 {
	amax := 0.0
	for _, x := range block {
		if a := math.Abs(float64(x)); a > amax {
			amax = a
		}
	}
	return amax
}

// Round rounds the values of one block to what is stored: to the nearest code,
// ties to even. NaN stays NaN in e4m3 and becomes the largest value in e2m1,
// which cannot hold it.
func Round[F Float](c *BlockCode, block []F) {
	e := c.Exponent(amax(block))
	for i, x := range block {
		block[i] = F(c.value(c.code(float64(x), e), e))
	}
}

// code is the nearest code of x in a block of that exponent; magnitudes beyond
// the largest become it.
func (c *BlockCode) code(x float64, exponent int) uint8 { return c.encode(math.Ldexp(x, -exponent)) }

// value is exact.
func (c *BlockCode) value(code uint8, exponent int) float64 {
	return math.Ldexp(float64(c.decode(code)), exponent)
}
