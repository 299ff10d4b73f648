package encoding

// f32 rows have every element as float32.
var rowF32 = rowFamily{
	pattern: "f32", doc: "every element as float32", pad: 4,
	segments: func(width, _ int) ([]RowSegment, error) {
		return []RowSegment{{Kind: RowF32, Count: width}}, nil
	},
}
