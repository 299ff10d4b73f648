package safetensors

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// rawFile is a file with the given header and data, whatever they are.
func rawFile(header string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func save(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "some.safetensors")
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestBrokenFiles(t *testing.T) {
	length := func(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
	whole := rawFile(`{`+entry("a", 0, 4)+`,`+entry("b", 4, 9)+`}`, make([]byte, 9))
	tests := []struct {
		name    string
		content []byte
		want    []string
	}{
		{"empty", nil, []string{"the file has 0 bytes, a safetensors file at least 8"}},
		{"seven bytes", make([]byte, 7), []string{"7 bytes"}},
		{"zero header", make([]byte, 8), []string{"does not start with '{'"}},
		{"header over the format's limit", append(length(MaxHeaderBytes+1), "{}"...), []string{"a header of 100000001 bytes, the format allows 100000000"}},
		{"header length over int64", append(length(1<<63), "{}"...), []string{"9223372036854775808 bytes", "not a safetensors file"}},
		{"header beyond the file", append(length(1000), "{}"...), []string{"truncated: the header takes 1000 bytes, the file has 2", "download"}},
		{"cut in the header", whole[:30], []string{"truncated: the header takes"}},
		{"cut in the data", whole[:len(whole)-3], []string{"truncated", "9 bytes of data, the file has 6", `from "b" on`}},
		{"cut before the data", whole[:len(whole)-9], []string{"truncated", "the file has 0", `2 tensors from "a" on`}},
		{"bytes appended", append(bytes.Clone(whole), 0), []string{`no tensor covers 1 byte of data after the last tensor "b"`}},
		{"web page", []byte("<!DOCTYPE html><html></html>"), []string{"not a safetensors file"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := save(t, test.content)
			_, err := Open(path)
			var format *FormatError
			if !errors.As(err, &format) || format.Path != path {
				t.Fatalf("got %v, want a *FormatError for %s", err, path)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}

	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a folder; expected a regular file") {
		t.Errorf("folder: %v", err)
	}
}

// TestUnaligned imitates MLX's writer: an unpadded header, data in an order of
// its own and starting at any byte; every tensor reads back.
func TestUnaligned(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	want := map[string][]byte{}
	var entries []string
	var data []byte
	for range 200 {
		n := rng.IntN(40)
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		name := fmt.Sprintf("t%d", rng.Uint32())
		entries = append(entries, entry(name, int64(len(data)), int64(len(data)+n)))
		want[name], data = b, append(data, b...)
	}
	rng.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	header := "{" + strings.Join(entries, ",") + "}"
	for len(header)%8 != 3 {
		header += " "
	}
	f := mustOpen(t, save(t, rawFile(header, data)))
	if len(f.Tensors()) != len(want) {
		t.Fatalf("%d tensors, want %d", len(f.Tensors()), len(want))
	}
	odd := 0
	for i := range f.Tensors() {
		x := &f.Tensors()[i]
		if !bytes.Equal(x.Data(), want[x.Name]) {
			t.Errorf("seed %d: %v at %d differs", seed, x, x.Offset)
		}
		if x.Offset%2 == 1 {
			odd++
		}
	}
	if odd == 0 {
		t.Error("no tensor at an odd offset: the test tests nothing")
	}
}

func TestFileFacts(t *testing.T) {
	header := `{"__metadata__":{"format":"mlx"},` + entry("a", 0, 4) + `}   `
	path := save(t, rawFile(header, []byte("abcd")))
	f := mustOpen(t, path)
	if f.Path() != path || f.Size() != int64(8+len(header)+4) || f.HeaderBytes() != int64(len(header)) || f.DataStart() != int64(8+len(header)) {
		t.Errorf("path %s, size %d, header %d, data at %d", f.Path(), f.Size(), f.HeaderBytes(), f.DataStart())
	}
	if want := map[string]string{"format": "mlx"}; !maps.Equal(f.Metadata(), want) {
		t.Errorf("metadata %v, want %v", f.Metadata(), want)
	}
	sum := sha256.Sum256([]byte(header))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, want := f.HeaderHash(), hex.EncodeToString(sum[:]); got != want {
				t.Errorf("hash %s, want %s", got, want)
			}
		})
	}
	wg.Wait()
	if x := f.Tensors()[0]; x.File != f || string(x.Data()) != "abcd" || cap(x.Data()) != 4 {
		t.Errorf("data %q of capacity %d", x.Data(), cap(x.Data()))
	}
}

func TestClose(t *testing.T) {
	f, err := Open(save(t, rawFile(`{`+entry("a", 0, 1)+`}`, []byte("x"))))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), `tensor "a"`) {
			t.Errorf("data after Close: %v", r)
		}
	}()
	f.Tensors()[0].Data()
}
