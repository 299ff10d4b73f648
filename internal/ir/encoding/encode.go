package encoding

import (
	"fmt"
	"math"
)

// Encode stores a row-major matrix, for tests and examples. The rules are those of the tools whose
// files smelt reads: FP8, FP4 and mxfp8 scale by 2^ceil(log2(amax/largest)), mxfp4 by the rounded
// power, affine as MLX on CPU. It fails on a size the encoding cannot have, on NaN and infinities
// (except in [Plain]) and on values whose scale the encoding cannot hold.
func Encode(e Encoding, values []float64, rows, cols int) (Planes, error) {
	if _, err := e.Planes(rows, cols); err != nil {
		return Planes{}, err
	}
	if len(values) != rows*cols {
		return Planes{}, fmt.Errorf("expected %d values for %d rows x %d columns, found %d", rows*cols, rows, cols, len(values))
	}
	if _, plain := PlainType(e); !plain {
		if err := finite(values); err != nil {
			return Planes{}, err
		}
	}
	p, err := e.family().encode(e, values, rows, cols)
	if err != nil {
		return Planes{}, err
	}
	return p, nil
}

func finite(values []float64) error {
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("expected finite values, found %v at index %d", v, i)
		}
	}
	return nil
}

func maxAbs(values []float64) (a float64) {
	for _, v := range values {
		a = max(a, math.Abs(v))
	}
	return a
}

// ceilScale is the E8M0 code of the least power of two that brings amax to at most largest; amax
// counts as 1e-30 at least.
func ceilScale(amax, largest float64) (uint8, error) {
	f, e := math.Frexp(max(amax, 1e-30) / largest)
	if f == 0.5 {
		e--
	}
	if e > 127 {
		return 0, fmt.Errorf("expected magnitudes of at most %g * 2^127, found %g", largest, amax)
	}
	return uint8(e + 127), nil
}

// packBits joins codes, each below 2^bits, to a little-endian bit stream. bits times the number of
// codes is a multiple of 8.
func packBits(codes []uint8, bits int) []byte {
	out := make([]byte, 0, len(codes)*bits/8)
	var w uint
	held := 0
	for _, c := range codes {
		w |= uint(c) << held
		for held += bits; held >= 8; held -= 8 {
			out = append(out, byte(w))
			w >>= 8
		}
	}
	return out
}
