package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func allDTypes() []DType { return slices.Sorted(maps.Keys(dtypes)) }

func TestWriteReadsBack(t *testing.T) {
	const seed = 3
	rng := rand.New(rand.NewPCG(seed, seed))
	var outs []Out
	want := map[string][]byte{}
	for _, d := range allDTypes() {
		for _, shape := range [][]int64{{}, {0}, {5}, {3, 1, 7}, {1, 1, 1, 1, 1, 1, 1, 2}} {
			n, _ := byteCount(shape, sizeOf(d))
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			out := Out{Name: fmt.Sprintf("x/%s\n\"%v\"é", d, shape), DType: d, Shape: shape, Data: data}
			if rng.IntN(2) == 0 {
				out.Data, out.Stream = nil, func(w io.Writer) error {
					_, err := io.Copy(w, bytes.NewReader(data))
					return err
				}
			}
			outs, want[out.Name] = append(outs, out), data
		}
	}
	metadata := map[string]string{"format": "pt", "note \"1\"": "<a>\u2028"}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	for _, content := range [][]Out{nil, outs} { // the second replaces the first
		if err := Write(path, content, metadata); err != nil {
			t.Fatal(err)
		}
	}
	f := mustOpen(t, path)
	if !maps.Equal(f.Metadata(), metadata) || f.DataStart()%8 != 0 || len(f.Tensors()) != len(outs) {
		t.Fatalf("metadata %v, data at %d, %d tensors of %d", f.Metadata(), f.DataStart(), len(f.Tensors()), len(outs))
	}
	for _, out := range outs {
		i := slices.IndexFunc(f.Tensors(), func(x Tensor) bool { return x.Name == out.Name })
		if i < 0 {
			t.Fatalf("%q is not in the file", out.Name)
		}
		x := f.Tensors()[i]
		if x.DType != out.DType || !slices.Equal(x.Shape, out.Shape) || !bytes.Equal(x.Data(), want[x.Name]) {
			t.Errorf("seed %d: %v differs from what was written", seed, x)
		}
		if x.Offset%sizeOf(x.DType) != 0 {
			t.Errorf("%v starts at %d", x, x.Offset)
		}
	}
}

// TestWriteFailsCleanly: an error names the tensor, leaves no file behind and
// an older one as it was.
func TestWriteFailsCleanly(t *testing.T) {
	stream := func(n int, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			if _, werr := w.Write(make([]byte, n)); werr != nil {
				return werr
			}
			return err
		}
	}
	ok := Out{Name: "ok", DType: F64, Shape: []int64{2}, Data: make([]byte, 16)}
	broken := errors.New("source gone")
	tests := []struct {
		name     string
		out      Out
		metadata map[string]string
		want     string
	}{
		{"short data", Out{Name: "w", DType: F32, Shape: []int64{2}, Data: make([]byte, 7)}, nil, `tensor "w": F32[2] takes 8 bytes, its data has 7`},
		{"short stream", Out{Name: "w", DType: F32, Shape: []int64{2}, Stream: stream(7, nil)}, nil, `tensor "w": the stream ended after 7 of 8 bytes`},
		{"long stream", Out{Name: "w", DType: F32, Shape: []int64{2}, Stream: stream(9, nil)}, nil, `tensor "w": the stream has more bytes`},
		{"failing stream", Out{Name: "w", DType: F32, Shape: []int64{2}, Stream: stream(8, broken)}, nil, `tensor "w": source gone`},
		{"given twice", ok, nil, `tensor "ok" is given twice`},
		{"unknown dtype", Out{Name: "w", DType: "Q4"}, nil, `tensor "w": unknown dtype "Q4"`},
		{"negative shape", Out{Name: "w", DType: U8, Shape: []int64{-1}}, nil, `tensor "w": shape [-1] is negative`},
		{"nine dimensions", Out{Name: "w", DType: U8, Shape: make([]int64, 9)}, nil, `tensor "w": 9 dimensions`},
		{"reserved name", Out{Name: "__metadata__", DType: U8, Shape: []int64{0}}, nil, `tensor "__metadata__": a name is`},
		{"name not UTF-8", Out{Name: "\xff", DType: U8, Shape: []int64{0}}, nil, `tensor "\xff": a name is`},
		{"metadata not UTF-8", Out{Name: "w", DType: U8, Shape: []int64{0}}, map[string]string{"k": "\xff"}, `metadata "k" is not UTF-8`},
		{"file over int64", Out{Name: "w", DType: U8, Shape: []int64{1<<63 - 1}, Stream: stream(0, nil)}, nil, `tensor "w": the file would pass 2^63-1 bytes`},
		{"header over the limit", Out{Name: "w", DType: U8, Shape: []int64{0}}, map[string]string{"k": strings.Repeat("v", MaxHeaderBytes)}, "the format allows 100000000"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x.safetensors")
			if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
				t.Fatal(err)
			}
			err := Write(path, []Out{ok, test.out}, test.metadata)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v lacks %q or the path", err, test.want)
			}
			entries, _ := os.ReadDir(dir)
			if old, _ := os.ReadFile(path); len(entries) != 1 || string(old) != "old" {
				t.Errorf("left behind: %v, old file %q", entries, old)
			}
		})
	}
	if err := Write(filepath.Join(t.TempDir(), "none", "x.safetensors"), nil, nil); err == nil {
		t.Error("writing into a folder that is not there succeeded")
	}
}
