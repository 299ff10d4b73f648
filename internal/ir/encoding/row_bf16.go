package encoding

// bf16 rows have every element as bfloat16.
var rowBF16 = rowFamily{
	pattern: "bf16", doc: "every element as bfloat16", pad: 4,
	segments: func(width, _ int) ([]RowSegment, error) {
		return []RowSegment{{Kind: RowBF16, Count: width}}, nil
	},
}
