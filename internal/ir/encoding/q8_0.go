package encoding

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"smelt.example/smelt/internal/ir/num"
)

// Q80 is GGUF's Q8_0: a row is blocks of 32 columns, each a scale of type F16 and 32 signed bytes.
// value = byte * scale. Name: q8_0.
type Q80 struct{}

const (
	q80Group = 32
	q80Bytes = 2 + q80Group // of a block
)

// Name implements [Encoding].
func (Q80) Name() string { return "q8_0" }

// Planes implements [Encoding]. An element of the plane is a block.
func (e Q80) Planes(rows, cols int) ([]Plane, error) { return planes(e, rows, cols) }

func (Q80) form() form {
	return form{q80Group, Setting{"q8_0", 8, q80Group}, []planeForm{
		{role: Weight, dtype: "Q8_0", rowDiv: 1, colMul: 1, colDiv: q80Group, block: q80Bytes},
	}}
}

func (Q80) family() *family { return &q80Family }

var q80Family = family{
	name:     "q8_0",
	storedAs: "Q8_0 [N, K/32], blocks of an F16 scale and 32 signed bytes, alone",
	members:  []Encoding{Q80{}},
	decode32: decodeQ80[float32],
	decode64: decodeQ80[float64],
	encode:   encodeQ80,
	unpack:   unpackQ80,
	random:   randomQ80,
}

func decodeQ80[F Float](_ Encoding, dst []F, p Planes, row int) {
	blocks := p.Weight[row*(len(dst)/q80Group)*q80Bytes:]
	for ; len(dst) >= q80Group; dst, blocks = dst[q80Group:], blocks[q80Bytes:] {
		s := F(num.F16ToF32(binary.LittleEndian.Uint16(blocks)))
		d, codes := (*[q80Group]F)(dst), (*[q80Group]byte)(blocks[2:])
		for j, c := range codes {
			d[j] = F(int8(c)) * s
		}
	}
}

// unpackQ80: a unit is four bytes, which begin after the scale.
func unpackQ80(Encoding, Features) (Unpack, error) {
	u := Unpack{Elements: 4, Words: 1, Scale: &Factor{F16, q80Group, 1, bitShort(bitConst(0)).half(0)}}
	low := bitShort(bitUnit().shl(1).plus(1))
	high := bitShort(bitUnit().shl(1).plus(2)).shl(16)
	u.Block = &Block{Shorts: q80Bytes / 2, Units: q80Group / 4, Words: []*BitExpr{bitApply(BitOr, Bits, low, high)}}
	for i := range u.Elements {
		u.Codes = append(u.Codes, bitWord(0).shl(24-8*i).signed(8))
	}
	return u, nil
}

func randomQ80(_ Encoding, _, std float64) []Random {
	scale := scalesAround(F16, std/rms(256, func(c int) float64 { return float64(int8(c)) }))
	block := func(scale uint64, code byte) []byte {
		return append(binary.LittleEndian.AppendUint16(nil, uint16(scale)), bytes.Repeat([]byte{code}, q80Group)...)
	}
	return []Random{blocks(block(scale.Keep[0], 0xff), block(scale.Add[0], 0))}
}

// encodeQ80 follows GGML: all in float32, codes from the unrounded scale and away from zero where
// they are half way.
func encodeQ80(_ Encoding, values []float64, _, _ int) (Planes, error) {
	var p Planes
	for at := 0; at < len(values); at += q80Group {
		group := values[at : at+q80Group]
		scale, inverse := float32(maxAbs(group))/127, float32(0)
		if scale > 0 {
			inverse = 1 / scale
		}
		stored := num.F32ToF16(scale)
		if math.IsInf(float64(num.F16ToF32(stored)), 0) {
			return Planes{}, fmt.Errorf("expected values whose scale fits F16, found more in values %d to %d", at, at+q80Group-1)
		}
		p.Weight = binary.LittleEndian.AppendUint16(p.Weight, stored)
		for _, v := range group {
			p.Weight = append(p.Weight, byte(int8(math.Round(float64(float32(v)*inverse)))))
		}
	}
	return p, nil
}
