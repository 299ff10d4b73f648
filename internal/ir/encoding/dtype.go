package encoding

import (
	"encoding/binary"
	"fmt"
	"math"
)

// DType is an element type of a stored tensor, spelled as in a safetensors header.
type DType string

// The element types smelt reads. Other spellings can occur in a file; [DType.Size] does not know them.
const (
	BOOL DType = "BOOL"
	U8   DType = "U8"
	I8   DType = "I8"
	U16  DType = "U16"
	I16  DType = "I16"
	U32  DType = "U32"
	I32  DType = "I32"
	U64  DType = "U64"
	I64  DType = "I64"
	F16  DType = "F16"
	BF16 DType = "BF16"
	F32  DType = "F32"
	F64  DType = "F64"
	E4M3 DType = "F8_E4M3"
	E5M2 DType = "F8_E5M2"
	E8M0 DType = "F8_E8M0"
)

// Size is the number of bytes of one element; ok is false for a type that is not listed above.
func (d DType) Size() (bytes int, ok bool) {
	switch d {
	case BOOL, U8, I8, E4M3, E5M2, E8M0:
		return 1, true
	case U16, I16, F16, BF16:
		return 2, true
	case U32, I32, F32:
		return 4, true
	case U64, I64, F64:
		return 8, true
	}
	return 0, false
}

// DecodeInts reads len(dst) little-endian integers of type dt from data. It fails when dt is not an
// integer type, when data has another length than len(dst) elements, and at the first value that an
// int32 cannot hold.
func DecodeInts(dst []int32, dt DType, data []byte) error {
	size, ok := dt.Size()
	read := intReader(dt)
	if !ok || read == nil {
		return fmt.Errorf("expected an integer type (I8 I16 I32 I64 U8 U16 U32 U64), found %s", dt)
	}
	if len(data)/size != len(dst) || len(data)%size != 0 {
		return fmt.Errorf("expected %d values of %s (%d bytes each), found %d bytes", len(dst), dt, size, len(data))
	}
	for i := range dst {
		v, ok := read(data[i*size:])
		if !ok || v < math.MinInt32 || v > math.MaxInt32 {
			return fmt.Errorf("expected values of at most 32 bits (signed), found %s at index %d", intText(dt, data[i*size:]), i)
		}
		dst[i] = int32(v)
	}
	return nil
}

// IntsOutside calls found for each integer of data, of type dt, that is not in
// 0 to limit-1: with its index and the number as it is stored. It fails for a type
// that is none of integers and for data that does not end with an element.
func IntsOutside(dt DType, data []byte, limit int64, found func(i int, stored string)) error {
	size, ok := dt.Size()
	read := intReader(dt)
	if !ok || read == nil || len(data)%size != 0 {
		return fmt.Errorf("expected values of an integer type (I8 I16 I32 I64 U8 U16 U32 U64), found %d bytes of %s", len(data), dt)
	}
	for i := range len(data) / size {
		if v, ok := read(data[i*size:]); !ok || v < 0 || v >= limit {
			found(i, intText(dt, data[i*size:]))
		}
	}
	return nil
}

// intReader gives the reader of one element of an integer type, nil for other types. Its second
// result is false for a value beyond int64.
func intReader(dt DType) func([]byte) (int64, bool) {
	le := binary.LittleEndian
	switch dt {
	case I8:
		return func(b []byte) (int64, bool) { return int64(int8(b[0])), true }
	case U8:
		return func(b []byte) (int64, bool) { return int64(b[0]), true }
	case I16:
		return func(b []byte) (int64, bool) { return int64(int16(le.Uint16(b))), true }
	case U16:
		return func(b []byte) (int64, bool) { return int64(le.Uint16(b)), true }
	case I32:
		return func(b []byte) (int64, bool) { return int64(int32(le.Uint32(b))), true }
	case U32:
		return func(b []byte) (int64, bool) { return int64(le.Uint32(b)), true }
	case I64:
		return func(b []byte) (int64, bool) { return int64(le.Uint64(b)), true }
	case U64:
		return func(b []byte) (int64, bool) { v := le.Uint64(b); return int64(v), v <= math.MaxInt64 }
	}
	return nil
}

// intText writes the element at the start of b for an error message.
func intText(dt DType, b []byte) string {
	if dt == U64 {
		return fmt.Sprint(binary.LittleEndian.Uint64(b))
	}
	v, _ := intReader(dt)(b)
	return fmt.Sprint(v)
}

// IsInteger reports whether d is a type [DecodeInts] reads.
func IsInteger(d DType) bool { return intReader(d) != nil }
