package safetensors

import (
	"fmt"
	"math"
	"math/bits"

	"smelt/internal/message"
)

// A DType is the element type of a tensor, spelled as in the header ("BF16").
type DType string

// Element types this package reads and writes.
const (
	Bool   DType = "BOOL"
	U8     DType = "U8"
	I8     DType = "I8"
	F8E4M3 DType = "F8_E4M3"
	F8E5M2 DType = "F8_E5M2"
	F8E8M0 DType = "F8_E8M0"
	U16    DType = "U16"
	I16    DType = "I16"
	F16    DType = "F16"
	BF16   DType = "BF16"
	U32    DType = "U32"
	I32    DType = "I32"
	F32    DType = "F32"
	U64    DType = "U64"
	I64    DType = "I64"
	F64    DType = "F64"
)

// dtypeSizes lists every supported element type with its size in bytes.
var dtypeSizes = map[DType]int64{
	Bool: 1, U8: 1, I8: 1, F8E4M3: 1, F8E5M2: 1, F8E8M0: 1,
	U16: 2, I16: 2, F16: 2, BF16: 2,
	U32: 4, I32: 4, F32: 4,
	U64: 8, I64: 8, F64: 8,
}

// unsupportedDTypes are names the format defines and this package refuses:
// elements smaller than a byte, variants of FP8 and complex numbers, none of
// which a DeepSeek-V4 checkpoint stores.
var unsupportedDTypes = map[DType]bool{
	"F4": true, "F6_E2M3": true, "F6_E3M2": true,
	"F8_E4M3FNUZ": true, "F8_E5M2FNUZ": true, "C64": true,
}

// Size is the size of one element in bytes, 0 for a type this package does
// not support.
func (d DType) Size() int64 { return dtypeSizes[d] }

// check says what is wrong with d, "" if nothing is.
func (d DType) check() string {
	switch {
	case d.Size() > 0:
		return ""
	case unsupportedDTypes[d]:
		return fmt.Sprintf("dtype %s is part of the format but not supported here", d)
	}
	return fmt.Sprintf("unknown dtype %s", message.Quote(string(d)))
}

// MaxDims is the largest number of dimensions a tensor may have.
const MaxDims = 8

// byteCount is the number of bytes of a tensor; ok is false when a dimension
// is negative or the count does not fit int64.
func byteCount(shape []int64, size int64) (n int64, ok bool) {
	n = size
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		hi, lo := bits.Mul64(uint64(n), uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, false
		}
		n = int64(lo)
	}
	return n, true
}
