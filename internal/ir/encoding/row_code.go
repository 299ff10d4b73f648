package encoding

import (
	"encoding/binary"
	"math"

	"smelt.example/smelt/internal/ir/num"
)

// EncodeRow stores a row: each element as the nearest value that its segment
// holds, ties to even (see [BlockCode] for blocks). It loses nothing of a row
// that [DecodeRow] gave, or that was rounded to the format before. Padding is
// zero. It panics if dst has not l.Bytes bytes or src not l.Width elements.
//
// A block's exponent is that of the values given, so a rounded row may get a
// smaller exponent than its original had, with other codes of the same values.
func EncodeRow[F Float](l RowLayout, dst []byte, src []F) {
	checkRow(l, dst, src)
	clear(dst)
	for _, s := range l.Segments {
		values := src[s.FirstElement : s.FirstElement+s.Count]
		switch s.Kind {
		case RowF32:
			for i, x := range values {
				binary.LittleEndian.PutUint32(dst[s.Offset+4*i:], math.Float32bits(float32(x)))
			}
		case RowBF16:
			for i, x := range values {
				binary.LittleEndian.PutUint16(dst[s.Offset+2*i:], num.F64ToBF16(float64(x)))
			}
		case RowE4M3, RowE2M1:
			encodeBlocks(s, dst, values)
		}
	}
}

// DecodeRow reads a row. Values are exact in both precisions, but for codes and
// scales that EncodeRow does not write and float32 cannot hold. It panics as
// EncodeRow does.
func DecodeRow[F Float](l RowLayout, dst []F, src []byte) {
	checkRow(l, src, dst)
	for _, s := range l.Segments {
		values := dst[s.FirstElement : s.FirstElement+s.Count]
		switch s.Kind {
		case RowF32:
			for i := range values {
				values[i] = F(math.Float32frombits(binary.LittleEndian.Uint32(src[s.Offset+4*i:])))
			}
		case RowBF16:
			for i := range values {
				values[i] = F(num.BF16ToF32(binary.LittleEndian.Uint16(src[s.Offset+2*i:])))
			}
		case RowE4M3, RowE2M1:
			decodeBlocks(s, values, src)
		}
	}
}

func checkRow[F Float](l RowLayout, bytes []byte, values []F) {
	if len(bytes) != l.Bytes || len(values) != l.Width {
		panic("encoding: a row of another size than its layout's")
	}
}

func encodeBlocks[F Float](s RowSegment, dst []byte, values []F) {
	c := s.code()
	for b := range s.Scales() {
		at := b * s.Block
		block := values[at:min(at+s.Block, len(values))]
		e := c.Exponent(amax(block))
		dst[s.ScaleOffset+b] = uint8(e + 127)
		for i, x := range block {
			bit := (at + i) * c.bits
			dst[s.Offset+bit/8] |= c.code(float64(x), e) << (bit % 8)
		}
	}
}

func decodeBlocks[F Float](s RowSegment, values []F, src []byte) {
	c := s.code()
	for i := range values {
		bit := i * c.bits
		code := src[s.Offset+bit/8] >> (bit % 8) & (1<<c.bits - 1)
		values[i] = F(float64(c.decode(code)) * float64(num.E8M0ToF32(src[s.ScaleOffset+i/s.Block])))
	}
}

func (s RowSegment) code() *BlockCode {
	if s.Kind == RowE4M3 {
		return E4M3Blocks
	}
	return E2M1Blocks
}
