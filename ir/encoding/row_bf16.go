package encoding

import "math"

// bf16 rows have every element as bfloat16.
var rowBF16 = rowFamily{
	pattern: "bf16", doc: "every element as bfloat16", pad: 4,
	segments: func(width, _ int) ([]RowSegment, error) {
		return []RowSegment{{Kind: RowBF16, Count: width}}, nil
	},
}

// F64ToBF16 is [F32ToBF16] from a float64, with one rounding only.
func F64ToBF16(x float64) uint16 {
	f := float32(x)
	if x != x || float64(f) == x {
		return F32ToBF16(f)
	}
	// Round to odd first: cut off, and set the last bit because something was
	// cut off. What is cut off can then not make or hide a tie.
	u := math.Float32bits(f)
	if math.Abs(float64(f)) > math.Abs(x) {
		u--
	}
	return F32ToBF16(math.Float32frombits(u | 1))
}
