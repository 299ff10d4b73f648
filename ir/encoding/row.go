package encoding

import "smelt.example/smelt/internal/ir/encoding"

// RowFormat is how one row of a cache is stored:
//
//	Name() string                          // stable; ParseRow reads it back
//	Doc() string                           // what the format is, in a phrase
//	Layout(width int) (RowLayout, error)   // of a row of that many elements
//
// Layout fails on a width that the format cannot have. A row stands alone: nothing is shared
// between rows.
type RowFormat = encoding.RowFormat

// ParseRow finds a row format by its name: f32, bf16, fp8_b64_rN (N elements at
// the end, the rotated ones, are bf16) or fp4_b32.
func ParseRow(name string) (RowFormat, error) { return encoding.ParseRow(name) }

// RowLayout is a Format for rows of Width elements: a row takes Bytes bytes, a
// multiple of 4. Its Segments are runs of elements that are stored alike, scalars or
// codes with scales; they cover the elements 0 to Width-1 in order.
type RowLayout = encoding.RowLayout

// EncodeRow stores a row: each element as the nearest value that its segment
// holds, ties to even. A block of codes shares a power of two as its scale, the
// smallest that needs no saturation. EncodeRow loses nothing of a row that DecodeRow
// gave. Padding is zero. It panics if dst has not l.Bytes bytes or src not l.Width
// elements.
func EncodeRow[F float32 | float64](l RowLayout, dst []byte, src []F) {
	encoding.EncodeRow(l, dst, src)
}

// DecodeRow reads a row. Values are exact in both precisions, but for codes and
// scales that EncodeRow does not write and float32 cannot hold. It panics as
// EncodeRow does.
func DecodeRow[F float32 | float64](l RowLayout, dst []F, src []byte) {
	encoding.DecodeRow(l, dst, src)
}
