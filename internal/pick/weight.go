package pick

import "math"

// Weights are fixed point: the best token has One. A token's weight is
// exp((logit - best)/temperature) with an error below 2^-22 of the best one's:
// the rounding of the quotient to float32 makes up to 2^-23 of that, the rest
// lies below 2^-24.
const (
	WeightBits = 24
	One        = 1 << WeightBits
)

// The constants of the exponential. Everything after the scaled difference is
// integers, so a device needs no exponential function to get the same bits.
const (
	// Lowest is where scaled differences are cut off; weights there round to 0.
	Lowest = -17.5
	// ScaleBits: a scaled difference d becomes the integer -d * 2^ScaleBits,
	// rounded down. It fits an i32.
	ScaleBits = 26
	// Log2E is the binary logarithm of e times 2^Log2EBits.
	Log2E     = 3098164009
	Log2EBits = 31
	// PowerBits is the precision of PowerTerms.
	PowerBits = 30
)

// PowerTerms are c1, c2 ... of 2^-f = 1 - f*(c1 - f*(c2 - f*(c3 ...))) for f
// in [0, 1), times 2^PowerBits. They interpolate at Chebyshev's points; with
// products that are rounded down the error is 2^-27.
var PowerTerms = [...]uint32{744261112, 257940802, 59591844, 10304738, 1386885, 123394}

// Key maps a logit to a number in the order of tokens: a higher logit has a
// higher key, +0 equals -0, and NaN has 0, below all others.
func Key(logit float32) uint32 {
	const sign, infinity = 1 << 31, 0x7f800000
	bits := math.Float32bits(logit)
	switch magnitude := bits &^ sign; {
	case magnitude > infinity:
		return 0
	case magnitude == 0:
		return sign
	case bits >= sign:
		return ^bits
	}
	return bits | sign
}

// Weight is the weight of a token, given the largest logit and the inverse of
// the temperature. Logits that have the largest one's key weigh One, also if
// they are infinite. Differences that float32 cannot hold count as infinite.
func Weight(logit, largest, inv float32) uint32 {
	if Key(logit) == Key(largest) {
		return One
	}
	d := normal(normal(logit)-normal(largest)) * inv
	if !(d >= Lowest) {
		d = Lowest
	}
	n := uint64(-d * (1 << ScaleBits))
	z := n * Log2E >> Log2EBits // -d in powers of two, times 2^ScaleBits
	whole, f := z>>ScaleBits, z&(1<<ScaleBits-1)
	power := uint64(PowerTerms[len(PowerTerms)-1])
	for i := len(PowerTerms) - 2; i >= 0; i-- {
		power = uint64(PowerTerms[i]) - power*f>>ScaleBits
	}
	power = 1<<PowerBits - power*f>>ScaleBits
	shift := PowerBits - WeightBits + whole
	return uint32((power + 1<<(shift-1)) >> shift)
}

// normal takes numbers below the smallest normal one for 0, as devices may.
func normal(x float32) float32 {
	const smallest = 0x00800000
	if math.Float32bits(x)&^(1<<31) < smallest {
		return 0
	}
	return x
}
