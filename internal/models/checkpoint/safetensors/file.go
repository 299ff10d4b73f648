// Package safetensors reads and writes files in the safetensors format: eight
// bytes of little-endian header length, a JSON header, and the tensors' data.
// https://github.com/huggingface/safetensors (section "Format") is the
// definition.
//
// Files are mapped, never copied: opening one reads its header only. Headers
// are outside data and are checked in full, see ParseHeader. MLX writes the
// data in hash order behind a header without padding, so a tensor may start at
// any byte; nothing here assumes alignment or order.
package safetensors

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/checkpoint/container"
)

// A File is one open file; it is a container.File.
type File struct {
	*container.Mapping
	headerBytes int64
	header      *Header
	hash        string // of the header's bytes
}

// Container is the format as a row of the checkpoint's table. It has no magic:
// eight bytes of length come first.
func Container() container.Format {
	return container.Format{
		Name: "safetensors", Extension: ".safetensors",
		Open: func(path string) (container.File, error) {
			f, err := Open(path)
			if err != nil {
				return nil, err // and not a File that is a nil pointer
			}
			return f, nil
		},
	}
}

// Open maps the file at path and checks its header. Errors about the content
// are *FormatError, others are those of container.Map.
func Open(path string) (*File, error) {
	var f *File
	m, err := container.Map(path, func(file *os.File, size int64) error {
		header, err := readHeader(file, size, path)
		if err != nil {
			return err
		}
		f, err = newFile(path, header, size)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.Mapping = m
	return f, nil
}

// newFile checks the header; the mapping is the caller's to add.
func newFile(path string, header []byte, size int64) (*File, error) {
	sum := sha256.Sum256(header)
	f := &File{headerBytes: int64(len(header)), hash: hex.EncodeToString(sum[:])}
	var err error
	if f.header, err = ParseHeader(header, size, path); err != nil {
		return nil, err
	}
	for i := range f.header.Tensors {
		f.header.Tensors[i].File = f
	}
	return f, nil
}

// readHeader reads the header's length and the header.
func readHeader(r io.ReaderAt, size int64, path string) ([]byte, error) {
	if size < lengthBytes {
		return nil, formatErrorf(path, "the file has %s, a safetensors file at least %d", message.Count(size, "byte"), lengthBytes)
	}
	var length [lengthBytes]byte
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	switch {
	case n > MaxHeaderBytes:
		return nil, formatErrorf(path, "the first 8 bytes give a header of %d bytes, the format allows %d: not a safetensors file, or damaged", n, MaxHeaderBytes)
	case int64(n) > size-lengthBytes:
		return nil, formatErrorf(path, "truncated: the header takes %d bytes, the file has %d after the length", n, size-lengthBytes)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, lengthBytes); err != nil {
		return nil, fmt.Errorf("reading the header of %s: %w", path, err)
	}
	return header, nil
}

// HeaderBytes is the length of the JSON header with its padding, without the
// eight bytes before it.
func (f *File) HeaderBytes() int64 { return f.headerBytes }

// DataStart is the offset of the data section in the file.
func (f *File) DataStart() int64 { return lengthBytes + f.headerBytes }

// Tensors lists the tensors sorted by name. The slice is the file's own and
// not to be modified.
func (f *File) Tensors() []Tensor { return f.header.Tensors }

// Metadata is the header's __metadata__; nil if it has none.
func (f *File) Metadata() map[string]string { return f.header.Metadata }

// HeaderHash is the SHA-256 of the header's bytes in hex. With Size it tells whether the
// file still has the layout it had, not whether the weights are the same.
func (f *File) HeaderHash() string { return f.hash }
