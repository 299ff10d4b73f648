package encoding

import (
	"encoding/binary"
	"fmt"
	"math"

	"smelt.example/smelt/internal/ir/num"
)

// Affine is MLX's affine quantisation: codes of Bits bits (2 3 4 5 6 8), a scale and a bias of type
// Scale (BF16, F16 or F32) per Group (32, 64 or 128) columns. A row is a little-endian bit stream in
// 32-bit words. value = scale * code + bias. Names: affine4_g64_bf16 and so on.
type Affine struct {
	Bits, Group int
	Scale       DType
}

// Name implements [Encoding].
func (e Affine) Name() string {
	return fmt.Sprintf("affine%d_g%d_%s", e.Bits, e.Group, Plain{e.Scale}.Name())
}

// Planes implements [Encoding].
func (e Affine) Planes(rows, cols int) ([]Plane, error) { return planes(e, rows, cols) }

func (e Affine) form() form {
	return form{e.Group, Setting{"affine", e.Bits, e.Group}, []planeForm{
		{role: Weight, dtype: U32, rowDiv: 1, colMul: e.Bits, colDiv: 32},
		{role: Scales, dtype: e.Scale, rowDiv: 1, colMul: 1, colDiv: e.Group},
		{role: Biases, dtype: e.Scale, rowDiv: 1, colMul: 1, colDiv: e.Group},
	}}
}

func (Affine) family() *family { return &affineFamily }

var affineFamily = family{
	name: "affine",
	storedAs: "U32 [N, K*bits/32] with BF16, F16 or F32 scales and biases of one type, both [N, K/group] " +
		"(bits 2 3 4 5 6 8, group 32 64 128)",
	members:  affineMembers(),
	decode32: decodeAffine[float32],
	decode64: decodeAffine[float64],
	encode:   encodeAffine,
	unpack:   unpackAffine,
	random:   randomAffine,
}

func affineMembers() (all []Encoding) {
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		for _, group := range []int{32, 64, 128} {
			for _, scale := range []DType{BF16, F16, F32} {
				all = append(all, Affine{bits, group, scale})
			}
		}
	}
	return all
}

func decodeAffine[F Float](enc Encoding, dst []F, p Planes, row int) {
	e := enc.(Affine)
	at := row * (len(dst) / e.Group)
	codes := p.Weight[row*len(dst)/8*e.Bits:]
	for ; len(dst) >= e.Group; at++ {
		d := dst[:e.Group]
		s, b := halfAt[F](e.Scale, p.Scales, at), halfAt[F](e.Scale, p.Biases, at)
		switch e.Bits {
		case 4:
			affine4(d, codes, s, b)
		case 8:
			affine8(d, codes, s, b)
		default:
			affineAny(d, codes, s, b, e.Bits)
		}
		dst, codes = dst[e.Group:], codes[e.Group/8*e.Bits:]
	}
}

// halfAt reads element i of a plane of scales or biases.
func halfAt[F Float](dt DType, plane []byte, i int) F {
	switch dt {
	case BF16:
		return F(num.BF16ToF32(binary.LittleEndian.Uint16(plane[2*i:])))
	case F16:
		return F(num.F16ToF32(binary.LittleEndian.Uint16(plane[2*i:])))
	}
	return F(math.Float32frombits(binary.LittleEndian.Uint32(plane[4*i:])))
}

// affine4 reads a group of 4-bit codes, eight per load. The product is converted before the sum so
// that no machine fuses the two.
func affine4[F Float](dst []F, codes []byte, s, b F) {
	for len(dst) >= 8 && len(codes) >= 4 {
		w := binary.LittleEndian.Uint32(codes)
		d := (*[8]F)(dst)
		d[0] = F(s*F(int32(w&15))) + b
		d[1] = F(s*F(int32(w>>4&15))) + b
		d[2] = F(s*F(int32(w>>8&15))) + b
		d[3] = F(s*F(int32(w>>12&15))) + b
		d[4] = F(s*F(int32(w>>16&15))) + b
		d[5] = F(s*F(int32(w>>20&15))) + b
		d[6] = F(s*F(int32(w>>24&15))) + b
		d[7] = F(s*F(int32(w>>28))) + b
		dst, codes = dst[8:], codes[4:]
	}
}

// affine8 reads a group of 8-bit codes.
func affine8[F Float](dst []F, codes []byte, s, b F) {
	codes = codes[:len(dst)]
	for j := range dst {
		dst[j] = F(s*F(int32(codes[j]))) + b
	}
}

// affineAny reads a group of codes of any width: eight codes take as many bytes as a code has bits.
func affineAny[F Float](dst []F, codes []byte, s, b F, bits int) {
	mask, shift := uint64(1)<<bits-1, uint(bits)&15
	for len(dst) >= 8 {
		w := lowBytes(codes, bits)
		for j := range (*[8]F)(dst) {
			dst[j] = F(s*F(int32(w&mask))) + b
			w >>= shift
		}
		dst, codes = dst[8:], codes[bits:]
	}
}

// lowBytes reads n <= 8 bytes as a little-endian number.
func lowBytes(b []byte, n int) (w uint64) {
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b)
	}
	for i, c := range b[:n] {
		w |= uint64(c) << (8 * i)
	}
	return w
}

func unpackAffine(enc Encoding, by Features) (Unpack, error) {
	e := enc.(Affine)
	words := e.Bits
	for words%2 == 0 {
		words /= 2
	}
	f := &Factor{e.Scale, e.Group, 1, nil}
	u := units(words, 32*words/e.Bits, e.Bits, integerValue, f, f)
	if by.Halves && words == 1 {
		integersInPlace(&u, e.Bits)
	}
	return u, nil
}

// randomAffine has scales with three bits of mantissa: times a centre of few bits they are exact in
// every type, and the values' mean is 0.
func randomAffine(enc Encoding, _, std float64) []Random {
	e := enc.(Affine)
	centre := float64(float64(int(1)<<e.Bits-1) / 2) // the mean code
	codes := rms(1<<e.Bits, func(c int) float64 { return float64(c) - centre })
	scales := scalesAround(e.Scale, std/codes)
	biases := scales
	biases.Then = func(words []byte) { multiply(e.Scale, words, -float32(centre)) }
	return []Random{anyBits(), scales, biases}
}

// encodeAffine follows MLX's CPU code: all in float32, codes from the unrounded scale and bias,
// which are rounded to the scale type only when stored.
func encodeAffine(enc Encoding, values []float64, _, _ int) (Planes, error) {
	e := enc.(Affine)
	codes := make([]uint8, 0, len(values))
	var scales, biases []float64
	for at := 0; at < len(values); at += e.Group {
		g := make([]float32, e.Group)
		for j := range g {
			g[j] = float32(values[at+j])
		}
		s, b := affineParams(g, e.Bits)
		for _, v := range g {
			codes = append(codes, affineCode(v, s, b, e.Bits))
		}
		scales, biases = append(scales, float64(s)), append(biases, float64(b))
	}
	p := Planes{packBits(codes, e.Bits), floatBytes(e.Scale, scales), floatBytes(e.Scale, biases)}
	return p, e.checkStored(p, len(scales))
}

// affineParams picks scale and bias of a group such that the value of largest magnitude and, as
// nearly as its code allows, zero are exact.
func affineParams(g []float32, bits int) (scale, bias float32) {
	lo, hi := g[0], g[0]
	for _, v := range g {
		lo, hi = min(lo, v), max(hi, v)
	}
	scale = max((hi-lo)/float32(int(1)<<bits-1), 1e-7)
	edge := lo
	if math.Abs(float64(lo)) <= math.Abs(float64(hi)) {
		edge, scale = hi, -scale
	}
	q0 := float32(math.RoundToEven(float64(edge / scale)))
	if q0 == 0 {
		return scale, 0
	}
	return edge / q0, edge
}

func affineCode(v, scale, bias float32, bits int) uint8 {
	q := math.RoundToEven(float64((v - bias) / scale))
	return uint8(min(max(q, 0), float64(int(1)<<bits-1)))
}

// checkStored fails when a scale or bias has overflowed its type.
func (e Affine) checkStored(p Planes, groups int) error {
	for i := range groups {
		for _, v := range []float64{halfAt[float64](e.Scale, p.Scales, i), halfAt[float64](e.Scale, p.Biases, i)} {
			if math.IsInf(v, 0) || math.IsNaN(v) {
				return fmt.Errorf("expected values whose scale and bias fit %s, found more in values %d to %d", e.Scale, i*e.Group, (i+1)*e.Group-1)
			}
		}
	}
	return nil
}
