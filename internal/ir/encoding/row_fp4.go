package encoding

// fp4_b32 rows are those of DeepSeek-V4's index keys: every element as e2m1 in
// blocks of 32, the codes first, then the scales. With 128 elements that is
// 64 + 4 bytes. Rows are multiples of 4 bytes and no more: padding to 16 would
// cost a sixth of the cache.
var rowFP4 = rowFamily{
	pattern: "fp4_b32", doc: "e2m1 in blocks of 32 with power-of-two scales", pad: 4,
	segments: func(width, _ int) ([]RowSegment, error) {
		return []RowSegment{{Kind: RowE2M1, Count: width, Block: 32}}, nil
	},
}
