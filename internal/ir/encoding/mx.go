package encoding

import (
	"fmt"
	"math"
)

// MX is MLX's mxfp4 (Bits 4: e2m1 codes) or mxfp8 (Bits 8: e4m3 codes): little-endian 32-bit words
// holding the codes in order, and one E8M0 scale per 32 columns. value = code * 2^(scale-127). The
// bytes of mxfp4 are those of [FP4]. Names: mxfp4, mxfp8.
type MX struct{ Bits int }

// Name implements [Encoding].
func (e MX) Name() string { return fmt.Sprintf("mxfp%d", e.Bits) }

// Planes implements [Encoding].
func (e MX) Planes(rows, cols int) ([]Plane, error) { return planes(e, rows, cols) }

func (e MX) form() form {
	codes := unhandledE4M3
	if e.Bits == 4 {
		codes = nil
	}
	return form{microGroup, Setting{e.Name(), e.Bits, microGroup}, []planeForm{
		{role: Weight, dtype: U32, rowDiv: 1, colMul: e.Bits, colDiv: 32, unhandled: codes},
		{role: Scales, dtype: U8, rowDiv: 1, colMul: 1, colDiv: microGroup, unhandled: unhandledE8M0},
	}}
}

func (MX) family() *family { return &mxFamily }

var mxFamily = family{
	name:     "mx",
	storedAs: "U32 [N, K/8] (mxfp4) or [N, K/4] (mxfp8) with U8 scales [N, K/32] and no biases",
	members:  []Encoding{MX{4}, MX{8}},
	decode32: decodeMX[float32],
	decode64: decodeMX[float64],
	encode:   encodeMX,
	unpack:   unpackMX,
	random:   func(e Encoding, _, std float64) []Random { return randomMini(e.(MX).Bits, "", std) },
}

func decodeMX[F Float](e Encoding, dst []F, p Planes, row int) {
	first := row * len(dst) / microGroup
	if e.(MX).Bits == 4 {
		decodeE2M1(dst, p.Weight[row*len(dst)/2:], "", p.Scales, first)
	} else {
		decodeE4M3(dst, p.Weight[row*len(dst):], "", p.Scales, first, microGroup)
	}
}

func unpackMX(e Encoding, by Features) (Unpack, error) {
	if e.(MX).Bits == 8 {
		return e4m3.units(microScale(""), by), nil
	}
	return e2m1.units(microScale(""), by), nil
}

func encodeMX(e Encoding, values []float64, _, _ int) (Planes, error) {
	if e.(MX).Bits == 8 {
		return encodeMicro(values, 8, "", func(plane []byte, g []float64) ([]byte, error) { return blockScale("").append(plane, maxAbs(g), 448) })
	}
	single := make([]float64, len(values))
	for i, v := range values {
		single[i] = float64(float32(v))
	}
	if err := finite(single); err != nil {
		return Planes{}, fmt.Errorf("%w in float32, in which MLX computes mxfp4", err)
	}
	return encodeMicro(single, 4, "", func(plane []byte, g []float64) ([]byte, error) {
		return append(plane, roundedScale(float32(maxAbs(g)))), nil
	})
}

// roundedScale is MLX's scale of mxfp4, 2^round(log2(amax/6)) with every step in float32: as the
// exponent is rounded, the largest element may clip. The logarithm is rounded to float32 from a
// float64, which decides alike on every machine: no float32 is so close to a change of the result
// that the last bits of a float64 logarithm matter (tested).
func roundedScale(amax float32) uint8 {
	a := max(amax/6, 1e-38)
	n := math.RoundToEven(float64(float32(math.Log2(float64(a)))))
	return uint8(int(n) + 127)
}
