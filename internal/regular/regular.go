// Package regular opens the files that smelt reads again and again or maps:
// checkpoints, bundles, tokenizers, caches. Such a file must be a regular one. A
// FIFO blocks whoever opens it, a device may never end, and neither can be mapped.
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A KindError says that something else than a regular file is under a path.
type KindError struct {
	Path string
	Mode fs.FileMode // of what is there, links followed
}

func (e *KindError) Error() string {
	return fmt.Sprintf("%s is %s; expected a regular file, put one there or give the path of one", e.Path, Kind(e.Mode))
}

// Kind names what a mode stands for, with its article: "a FIFO".
func Kind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a regular file"
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeCharDevice != 0:
		return "a character device"
	case mode&fs.ModeDevice != 0:
		return "a block device"
	}
	return "something unknown to this system (" + mode.Type().String() + ")"
}

// A LinkError says that a symbolic link leads to no file: the file it names is
// gone or was never downloaded, or links go in a circle.
type LinkError struct {
	Path string
	To   string // what the link says
}

func (e *LinkError) Error() string {
	return fmt.Sprintf("%s is a link to %s, and there is no file at its end; put the file there, or replace or remove the link", e.Path, e.To)
}

// Open opens a regular file for reading and returns what the open file is. It
// never blocks. Links are followed. Anything else than a regular file is a
// *KindError, and a link to nothing a *LinkError; other errors are those of
// os.Open, so that one can ask for fs.ErrNotExist.
func Open(path string) (*os.File, fs.FileInfo, error) {
	// Opening a device or a FIFO may do something to it, so the name is looked at
	// first. What counts is the open file: the name may stand for another by then.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, nil, &KindError{path, info.Mode()}
	}
	f, err := open(path)
	if err != nil {
		return nil, nil, linked(path, err)
	}
	info, err := judge(f, path)
	if err != nil {
		f.Close() // nothing was written
		return nil, nil, err
	}
	return f, info, nil
}

// linked is why a path could not be opened: err, or that it is a link to nothing.
func linked(path string, err error) error {
	if _, statErr := os.Stat(path); statErr == nil || errors.Is(statErr, fs.ErrPermission) {
		return err
	}
	if to, linkErr := os.Readlink(path); linkErr == nil {
		return &LinkError{path, to}
	}
	return err
}

// Stat is os.Stat; a link to nothing is a *LinkError.
func Stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, linked(path, err)
	}
	return info, nil
}

// judge looks at an open file.
func judge(f *os.File, path string) (fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &KindError{path, info.Mode()}
	}
	return info, wait(f)
}

// A SizeError says that a file is larger than what is read of its kind.
type SizeError struct {
	Path  string
	Size  int64 // bytes found; of a file that grows, at least so many
	Limit int64 // bytes read at most
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s has %s, expected at most %s; this is not a file that smelt can use", e.Path, spell(e.Size), spell(e.Limit))
}

// Read reads a whole regular file of at most limit bytes. A larger one is a
// *SizeError, also when it grows while it is read: never are more than limit + 1
// bytes read. Other errors are those of Open and of reading.
func Read(path string, limit int64) ([]byte, error) {
	f, info, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	if info.Size() > limit {
		return nil, &SizeError{path, info.Size(), limit}
	}
	return readAll(f, path, info.Size(), limit)
}

// readAll reads r to its end. The expected size spares copies; what counts is
// what comes: files of /proc say 0, and others grow.
func readAll(r io.Reader, path string, size, limit int64) ([]byte, error) {
	data := make([]byte, 0, min(size, limit)+1)
	for {
		n, err := r.Read(data[len(data):min(int64(cap(data)), limit+1)])
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > limit:
			return nil, &SizeError{path, int64(len(data)), limit}
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, err
		case len(data) == cap(data):
			data = append(data, 0)[:len(data)]
		}
	}
}

// spell says a size in bytes and, from 1 KiB on, in the unit that suits it.
func spell(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	size, unit := float64(n)/(1<<10), 0
	units := [...]string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for size >= 1<<10 && unit < len(units)-1 {
		size /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%d bytes (%.1f %s)", n, size, units[unit])
}
