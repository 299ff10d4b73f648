package encoding

import "fmt"

// fp8_b64_rN rows are those of DeepSeek-V4's attention caches: all but the last
// N elements as e4m3 in blocks of 64, the last N (the rotated ones) as bf16.
// The codes come first, then the bf16 part, then the scales. With 512 elements
// and N = 64 that is 448 + 128 + 7 bytes, padded to 584. Rows are multiples of
// 8 bytes, so that eight codes are one aligned load.
var rowFP8 = rowFamily{
	pattern: "fp8_b64_rN", doc: "e4m3 in blocks of 64 with power-of-two scales, the last N elements as bfloat16", pad: 8,
	segments: func(width, tail int) ([]RowSegment, error) {
		codes := RowSegment{Kind: RowE4M3, Count: width - tail, Block: 64}
		switch {
		case tail == 0:
			return []RowSegment{codes}, nil
		case tail >= width:
			return nil, fmt.Errorf("expected a row of more than %d elements, found %d", tail, width)
		}
		return []RowSegment{codes, {Kind: RowBF16, FirstElement: width - tail, Count: tail}}, nil
	},
}
