package safetensors

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestInMemory: the file has the bytes that Write gives the same tensors.
func TestInMemory(t *testing.T) {
	tensors := []Tensor{
		{Name: "b", DType: F8E4M3, Shape: []int64{3, 5}},
		{Name: "a", DType: I64, Shape: []int64{2}},
		{Name: "none", DType: BF16, Shape: []int64{0, 4}},
		{Name: "scalar", DType: F32},
	}
	var outs []Out
	for _, x := range tensors {
		n, _ := byteCount(x.Shape, sizeOf(x.DType))
		outs = append(outs, Out{Name: x.Name, DType: x.DType, Shape: x.Shape, Data: make([]byte, n)})
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := Write(path, outs, nil); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	Sort(tensors)
	f, err := InMemory("nowhere/x.safetensors", tensors)
	if err != nil {
		t.Fatal(err)
	}
	onDisk := mustOpen(t, path)
	if !bytes.Equal(f.Bytes(), want) || f.Size() != int64(len(want)) || f.HeaderHash() != onDisk.HeaderHash() {
		t.Errorf("%d bytes differ from the file's %d", f.Size(), len(want))
	}

	for _, x := range f.Tensors() {
		for i := range x.Data() {
			x.Data()[i] = byte(i + 1)
		}
	}
	b := f.Tensors()[1]
	if b.Name != "b" || f.Bytes()[b.Offset+14] != 15 || f.Path() != "nowhere/x.safetensors" {
		t.Errorf("%v of %s: what was written is not in the file's bytes", b, f.Path())
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil || f.Bytes() != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestInMemoryRefuses(t *testing.T) {
	for name, tensors := range map[string][]Tensor{
		"twice":    {{Name: "a", DType: U8}, {Name: "a", DType: U8}},
		"type":     {{Name: "a", DType: "F4"}},
		"negative": {{Name: "a", DType: U8, Shape: []int64{-1}}},
	} {
		var format *FormatError
		if f, err := InMemory("x", tensors); f != nil || !errors.As(err, &format) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	huge := []Tensor{{Name: "a", DType: U8, Shape: []int64{1 << 62}}}
	if f, err := InMemory("x", huge); f != nil || err == nil {
		t.Error("2^62 bytes were reserved")
	}
}
