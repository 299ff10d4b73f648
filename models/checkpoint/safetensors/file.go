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
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"smelt/internal/message"
	"smelt/internal/regular"
)

// A File is one open file. Its methods may be called from several goroutines;
// Close may not run beside them.
type File struct {
	path        string
	data        []byte // the whole file, mapped; read-only unless made by InMemory; nil once closed
	size        int64
	headerBytes int64
	header      *Header
	hash        string   // of the header's bytes
	handle      *os.File // of data, kept to tell whether the file changes; nil if made by InMemory
	opened      stamp    // what it told when the file was opened
}

// Open maps the file at path and checks its header. Errors about the content
// are *FormatError, others are those of regular.Open and name the path.
// While it is open the file should not be shortened or written to: Intact tells,
// and Go code reads bytes in Guard.
func Open(path string) (*File, error) {
	osFile, info, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := open(osFile, info, path)
	if err != nil {
		osFile.Close() // only read; err says what is wrong
		return nil, err
	}
	return f, nil
}

// open makes a file of its handle, which is the file's if that succeeds.
func open(osFile *os.File, info os.FileInfo, path string) (*File, error) {
	size := info.Size()
	header, err := readHeader(osFile, size, path)
	if err != nil {
		return nil, err
	}
	f, err := newFile(path, header, size)
	if err != nil {
		return nil, err
	}
	if f.data, err = mapFile(osFile, size); err != nil {
		return nil, fmt.Errorf("mapping %s (%d bytes): %w", path, size, err)
	}
	f.handle, f.opened = osFile, stampFrom(info)
	return f, nil
}

// newFile checks the header; the file's bytes are the caller's to add.
func newFile(path string, header []byte, size int64) (*File, error) {
	sum := sha256.Sum256(header)
	f := &File{path: path, size: size, headerBytes: int64(len(header)), hash: hex.EncodeToString(sum[:])}
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
	case bytes.Equal(length[:], []byte("version ")):
		e := &FormatError{Path: path, Advice: "run `git lfs pull` in the folder or download the file itself"}
		e.addf("this is a Git LFS pointer, not the weights")
		return nil, e
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

// Path is the path given to Open or InMemory.
func (f *File) Path() string { return f.path }

// Size is the size of the file in bytes.
func (f *File) Size() int64 { return f.size }

// Bytes is the whole file, for devices that read weights where they lie. It is
// not to be modified, and valid until Close. Go code reads it in Guard.
func (f *File) Bytes() []byte { return f.data }

// ReadAt reads the file itself and not its mapping, for those who read more of it
// than should stay in memory; see io.ReaderAt.
func (f *File) ReadAt(into []byte, offset int64) (int, error) {
	if f.handle == nil {
		return bytes.NewReader(f.data).ReadAt(into, offset)
	}
	return f.handle.ReadAt(into, offset)
}

// ReadAhead asks the system to read n bytes from an offset on, a multiple of the
// page size, before they are used. It does not wait, and the system may not do it.
func (f *File) ReadAhead(offset, n int64) {
	if offset >= 0 && offset < f.size {
		readAhead(f.data[offset:min(offset+n, f.size)])
	}
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

// Close unmaps the file. Data handed out before is no longer valid. A second
// Close does nothing.
func (f *File) Close() error {
	if f.data == nil {
		return nil
	}
	data := f.data
	f.data = nil
	if f.handle != nil {
		f.handle.Close() // only read
		f.handle = nil
	}
	if err := unmap(data); err != nil {
		return fmt.Errorf("unmapping %s: %w", f.path, err)
	}
	return nil
}
