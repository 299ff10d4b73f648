package encoding

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
)

func TestSize(t *testing.T) {
	for dt, want := range map[DType]int{"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2,
		"F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "F4": 0, "": 0, "bf16": 0} {
		if n, ok := dt.Size(); n != want || ok != (want > 0) {
			t.Errorf("%s: %d, %v", dt, n, ok)
		}
	}
}

func TestRoleString(t *testing.T) {
	for r, want := range map[Role]string{Weight: "weight", Scales: "scales", Biases: "biases", 7: "Role(7)"} {
		if r.String() != want {
			t.Errorf("%d: %s", int(r), r)
		}
	}
}

func TestDecodeInts(t *testing.T) {
	le := binary.LittleEndian
	u64 := func(vs ...uint64) (b []byte) {
		for _, v := range vs {
			b = le.AppendUint64(b, v)
		}
		return b
	}
	u32 := func(vs ...uint32) (b []byte) {
		for _, v := range vs {
			b = le.AppendUint32(b, v)
		}
		return b
	}
	const most, least = math.MaxInt32, math.MinInt32
	for _, c := range []struct {
		name string
		dt   DType
		data []byte
		want []int32 // or
		err  string
	}{
		{"I8", I8, []byte{0, 0x7F, 0x80, 0xFF}, []int32{0, 127, -128, -1}, ""},
		{"U8", U8, []byte{0, 0x7F, 0x80, 0xFF}, []int32{0, 127, 128, 255}, ""},
		{"I16", I16, []byte{0x34, 0x12, 0xFF, 0xFF}, []int32{0x1234, -1}, ""},
		{"U16", U16, []byte{0x34, 0x12, 0xFF, 0xFF}, []int32{0x1234, 65535}, ""},
		{"I32", I32, u32(1, 1<<31, math.MaxUint32), []int32{1, least, -1}, ""},
		{"U32", U32, u32(1, most), []int32{1, most}, ""},
		{"I64", I64, u64(1, most, math.MaxUint64, 1<<64-1<<31), []int32{1, most, -1, least}, ""},
		{"U64", U64, u64(7, most), []int32{7, most}, ""},
		{"empty", I64, nil, []int32{}, ""},
		{"U32 too large", U32, u32(1, 1<<31), []int32{0, 0}, "expected values of at most 32 bits (signed), found 2147483648 at index 1"},
		{"I64 too large", I64, u64(1<<31, 1), []int32{0, 0}, "expected values of at most 32 bits (signed), found 2147483648 at index 0"},
		{"I64 too small", I64, u64(1<<64 - 1<<31 - 1), []int32{0}, "expected values of at most 32 bits (signed), found -2147483649 at index 0"},
		{"U64 beyond int64", U64, u64(math.MaxUint64), []int32{0}, "expected values of at most 32 bits (signed), found 18446744073709551615 at index 0"},
		{"float", F32, make([]byte, 4), []int32{0}, "expected an integer type (I8 I16 I32 I64 U8 U16 U32 U64), found F32"},
		{"unknown", "X", make([]byte, 4), []int32{0}, "expected an integer type (I8 I16 I32 I64 U8 U16 U32 U64), found X"},
		{"short", I64, make([]byte, 15), []int32{0, 0}, "expected 2 values of I64 (8 bytes each), found 15 bytes"},
		{"long", I32, make([]byte, 12), []int32{0, 0}, "expected 2 values of I32 (4 bytes each), found 12 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := make([]int32, len(c.want))
			err := DecodeInts(dst, c.dt, c.data)
			if c.err == "" && (err != nil || !slices.Equal(dst, c.want)) {
				t.Errorf("%v, %v, want %v", dst, err, c.want)
			}
			if c.err != "" && (err == nil || err.Error() != c.err) {
				t.Errorf("error %v, want %s", err, c.err)
			}
		})
	}
}

func FuzzDecodeInts(f *testing.F) {
	f.Add("I64", 2, make([]byte, 16))
	f.Add("U8", 3, []byte("abc"))
	f.Fuzz(func(t *testing.T, dt string, n int, data []byte) {
		dst := make([]int32, max(0, n)%1000)
		if err := DecodeInts(dst, DType(dt), data); err == nil {
			if size, _ := DType(dt).Size(); size*len(dst) != len(data) {
				t.Fatalf("%d values of %s from %d bytes", len(dst), dt, len(data))
			}
		}
	})
}
