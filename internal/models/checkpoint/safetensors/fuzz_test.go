package safetensors

import (
	"cmp"
	"slices"
	"testing"
	"unicode/utf8"
)

// FuzzParseHeader: no header panics, and in one that is accepted the tensors
// are well formed and tile the data.
func FuzzParseHeader(f *testing.F) {
	f.Add([]byte(`{}`), int64(0))
	f.Add([]byte(`{`+entry("a", 0, 4)+`,`+entry("b", 4, 4)+`}   `), int64(4))
	f.Add([]byte(`{"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}`), int64(12))
	f.Add([]byte(`{"w":{"dtype":"F8_E8M0","shape":[-1],"data_offsets":[0,9e9,{}]}}`), int64(1))
	f.Add([]byte(`{"__metadata__":{"x":"\ud83d"},"w":{"dtype":"U8","shape":[NaN],"data_offsets":[0,Infinity]}}`), int64(1))
	f.Add([]byte(`{"w\u0000":{"dtype":"F4","shape":[[[]]],"data_offsets":null}}`), int64(1))
	f.Fuzz(func(t *testing.T, header []byte, dataBytes int64) {
		if dataBytes < 0 || dataBytes > 1<<50 {
			return
		}
		before := slices.Clone(header)
		dataStart := int64(8 + len(header))
		h, err := ParseHeader(header, dataStart+dataBytes, "f")
		if !slices.Equal(before, header) {
			t.Fatal("the header was modified")
		}
		if err != nil {
			if h != nil || err.Error() == "" || len(err.Error()) > 20<<10 {
				t.Fatalf("header %v with error of %d bytes", h, len(err.Error()))
			}
			return
		}
		checkInvariants(t, h, dataStart, dataStart+dataBytes)
	})
}

func checkInvariants(t *testing.T, h *Header, dataStart, fileSize int64) {
	t.Helper()
	for i, x := range h.Tensors {
		n, ok := byteCount(x.Shape, sizeOf(x.DType))
		if !ok || n != x.Bytes || len(x.Shape) > MaxDims || checkDType(x.DType) != "" {
			t.Fatalf("%v holds %d bytes", x, x.Bytes)
		}
		if !utf8.ValidString(x.Name) || len(x.Name) > MaxNameBytes || x.Name == metadataKey {
			t.Fatalf("name %q", x.Name)
		}
		if i > 0 && h.Tensors[i-1].Name >= x.Name {
			t.Fatalf("%q follows %q", x.Name, h.Tensors[i-1].Name)
		}
	}
	byOffset := slices.Clone(h.Tensors)
	slices.SortFunc(byOffset, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Bytes, b.Bytes))
	})
	at := dataStart
	for _, x := range byOffset {
		if x.Offset != at {
			t.Fatalf("%v starts at %d, the one before ends at %d", x, x.Offset, at)
		}
		at += x.Bytes
	}
	if at != fileSize {
		t.Fatalf("tensors end at %d, the file at %d", at, fileSize)
	}
}
