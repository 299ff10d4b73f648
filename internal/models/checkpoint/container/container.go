// Package container says what a checkpoint needs of the files that hold its
// tensors, whatever their format. A package such as safetensors reads one format;
// package checkpoint lists them. Most of a File is a Mapping, which knows bytes and
// nothing of tensors.
package container

import (
	"fmt"

	"smelt.example/smelt/internal/ir/encoding"
)

// A File is one open file of weights. Values compare equal if and only if they are
// the same open file. Methods may be called from several goroutines; Close may not
// run beside them.
type File interface {
	// Path is the path of opening; a name for messages if the file lies in memory.
	Path() string
	// Size is the size of the file in bytes.
	Size() int64
	// Bytes is the whole file where it lies, nil once it is closed. It is not to be
	// modified. Go code reads it in Guard.
	Bytes() []byte
	// ReadAt reads the file itself and not its mapping, see io.ReaderAt.
	ReadAt(into []byte, offset int64) (int, error)
	// ReadAhead asks the system to read n bytes from an offset on, a multiple of the
	// page size, before they are used. It does not wait.
	ReadAhead(offset, n int64)
	// Tensors lists the tensors sorted by name. The slice is the file's own.
	Tensors() []Tensor
	// HeaderHash is the SHA-256, in hex, of everything that says where tensors lie.
	// With Size it tells whether the file still has the layout it had.
	HeaderHash() string
	// Intact is a *ChangedError if the file was cut short or written to since it was
	// opened. It is cheap and allocates nothing.
	Intact() error
	// StillAt fails if another file than the one that is open lies at a path.
	StillAt(path string) error
	// Close gives the mapping back. A second Close does nothing.
	Close() error
}

// A Tensor is one tensor of a file.
type Tensor struct {
	Name   string
	DType  encoding.DType
	Shape  []int64 // outermost first; empty for a scalar; not to be modified
	Offset int64   // first byte in the file; any value, often unaligned
	Bytes  int64   // size of the data
	File   File    // the file that holds it; nil straight out of a header
}

// Data is the tensor's bytes inside the file, little-endian, row-major, len =
// t.Bytes. Those of a mapped file are read-only (a write is a fault); they start at
// any address and are valid until the file is closed. Calling it on a tensor of a
// closed file, or of none, is a programming error and panics.
func (t *Tensor) Data() []byte {
	if t.File == nil || t.File.Bytes() == nil {
		panic(fmt.Sprintf("container: data of tensor %q asked for without an open file", t.Name))
	}
	end := t.Offset + t.Bytes
	return t.File.Bytes()[t.Offset:end:end]
}

// String gives name, type and shape, as messages show a tensor.
func (t Tensor) String() string { return fmt.Sprintf("%s %s%v", t.Name, t.DType, t.Shape) }

// A Format is a kind of file that holds tensors: one row of the checkpoint's table.
type Format struct {
	Name string // for messages: "safetensors"
	// Extension ends the names of its files, with the dot: ".safetensors".
	Extension string
	// Magic begins every file; empty if the format has none.
	Magic string
	// Open maps a file and checks its header. Errors name the path.
	Open func(path string) (File, error)
}
