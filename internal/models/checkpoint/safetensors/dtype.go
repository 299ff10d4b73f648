package safetensors

import (
	"fmt"
	"math"
	"math/bits"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/message"
)

// A DType is the element type of a tensor, spelled as in the header ("BF16").
type DType = encoding.DType

// Element types this package reads and writes.
const (
	Bool   = encoding.BOOL
	U8     = encoding.U8
	I8     = encoding.I8
	F8E4M3 = encoding.E4M3
	F8E5M2 = encoding.E5M2
	F8E8M0 = encoding.E8M0
	U16    = encoding.U16
	I16    = encoding.I16
	F16    = encoding.F16
	BF16   = encoding.BF16
	U32    = encoding.U32
	I32    = encoding.I32
	F32    = encoding.F32
	U64    = encoding.U64
	I64    = encoding.I64
	F64    = encoding.F64
)

// dtypes are those of the format that this package supports, by name.
var dtypes = map[DType]bool{
	Bool: true, U8: true, I8: true, F8E4M3: true, F8E5M2: true, F8E8M0: true,
	U16: true, I16: true, F16: true, BF16: true, U32: true, I32: true, F32: true,
	U64: true, I64: true, F64: true,
}

// unsupportedDTypes are names the format defines and this package refuses:
// elements smaller than a byte, variants of FP8 and complex numbers, none of
// which a DeepSeek-V4 checkpoint stores.
var unsupportedDTypes = map[DType]bool{
	"F4": true, "F6_E2M3": true, "F6_E3M2": true,
	"F8_E4M3FNUZ": true, "F8_E5M2FNUZ": true, "C64": true,
}

// sizeOf is the size of one element in bytes, 0 for a type this package does
// not support.
func sizeOf(d DType) int64 {
	if !dtypes[d] {
		return 0
	}
	size, _ := d.Size()
	return int64(size)
}

// checkDType says what is wrong with d, "" if nothing is.
func checkDType(d DType) string {
	switch {
	case sizeOf(d) > 0:
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
