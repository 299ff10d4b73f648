// Package output writes the files that a command makes. Nothing that is read, and
// nothing that somebody else made, is lost by it:
//
//   - A file appears under its name complete or not at all: it is written beside its
//     place under a hidden name, handed to the disk, and renamed. What was there
//     keeps its mode; of a link, what it leads to is replaced.
//   - A file that the command reads is not replaced, whatever name or link leads to
//     it, and nothing is written into the folder of a checkpoint or a bundle.
//   - Another file is replaced only if it carries the mark of smelt's own, is empty,
//     or the user insists.
//   - A pipe, a terminal, a socket or a character device is written to as it is.
//
// All of this is judged before the work begins, so that an hour of it does not end
// in a refusal, and again when the file is to take its place.
package output

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"smelt.example/smelt/internal/option"
)

// Rules decide whether a file may be written.
type Rules struct {
	Flag   string  // stands before errors: "--logits"
	Format Format  // of what is written, and of what may be replaced
	Force  bool    // replace files without the format's mark too
	Inputs []Input // never replaced
	Kinds  []Kind  // folders in which nothing is written
}

// An Input is a file or folder that the command reads. With a folder, all files in it
// and below are inputs, and nothing is written into it.
type Input struct {
	What string // "the checkpoint", "the text of --text-file"
	Path string
}

// A Kind is a kind of folder that nothing is written into: smelt's own, and those
// it reads.
type Kind struct {
	What string // "a checkpoint"
	Is   func(dir string) bool
}

// A File is a file to be written.
type File struct {
	path  string
	rules Rules
}

// New judges whether a file may be written to path and has a place there. Nothing is
// left of the attempt.
func New(path string, rules Rules) (*File, error) {
	f := &File{path, rules}
	at, err := f.judge()
	if err != nil {
		return nil, err
	}
	if !at.direct() {
		if err := probe(at); err != nil {
			return nil, f.refuse("%s: %w; choose another place", path, plain(err))
		}
	}
	return f, nil
}

// Path is where the file goes, as the user wrote it.
func (f *File) Path() string { return f.path }

// Also adds inputs that were not known before, and judges again.
func (f *File) Also(inputs ...Input) error {
	f.rules.Inputs = append(f.rules.Inputs, inputs...)
	_, err := f.judge()
	return err
}

// Same reports whether both files would be one: whichever is written last would
// replace the other.
func (f *File) Same(other *File) bool {
	a, errA := resolve(f.path)
	b, errB := resolve(other.path)
	if errA != nil || errB != nil || a.direct() || b.direct() {
		return false
	}
	return a.path == b.path || a.info != nil && b.info != nil && os.SameFile(a.info, b.info)
}

// Write writes the file's content by way of write. Errors of write come back as they
// are, and then, as after any error, what was there before is there. It can be called
// again. When ctx ends while a pipe is not taken, the error is that of ctx.
func (f *File) Write(ctx context.Context, write func(io.Writer) error) error {
	at, err := f.judge()
	if err != nil {
		return err
	}
	if at.direct() {
		return f.writeDirect(ctx, at, write)
	}
	return replace(at, f.path, write, func() error {
		now, err := f.judge()
		if err == nil && now.path != at.path {
			err = f.refuse("%s leads elsewhere than before; try again", f.path)
		}
		return err
	})
}

// Replace writes the file at path as Write does, without judging what is there.
func Replace(path string, write func(io.Writer) error) error {
	at, err := resolve(path)
	if err != nil {
		return err
	}
	return replace(at, path, write, func() error { return nil })
}

// refuse makes an error that begins with the flag.
func (f *File) refuse(format string, args ...any) error {
	return option.Errorf(f.rules.Flag+": "+format, args...)
}

// bufferBytes are gathered before the system is asked to write them.
const bufferBytes = 1 << 20

// fill writes the content to an open file. name stands for it in errors.
func fill(file *os.File, name string, write func(io.Writer) error) error {
	w := bufio.NewWriterSize(&sink{file, name}, bufferBytes)
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}

// sink names in its errors the file that the user knows.
type sink struct {
	file *os.File
	name string
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	if err != nil {
		err = fmt.Errorf("writing %s: %w", s.name, plain(err))
	}
	return n, err
}

// plain takes from an error of the system the name of the file, a hidden one.
func plain(err error) error {
	var of *os.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
