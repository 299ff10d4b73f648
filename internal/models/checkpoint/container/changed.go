package container

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"
)

// A ChangedError says that a file is not what it was when it was opened, so that
// nobody knows what has been read from its mapping since: bytes behind the end of
// a file that was cut short are zeros up to the end of a page, and a fault after it.
type ChangedError struct {
	Path     string
	Was, Now int64 // size in bytes, when the file was opened and when it was looked at
	// Fault is the offset of a byte that could not be read; -1 if none was seen.
	Fault int64
}

func (e *ChangedError) Error() string {
	what := fmt.Sprintf("was written to while it was in use (it has %d bytes, as when it was opened)", e.Now)
	switch {
	case e.Now < e.Was:
		what = fmt.Sprintf("was cut short while it was in use: %d bytes when it was opened, %d now", e.Was, e.Now)
	case e.Now > e.Was:
		what = fmt.Sprintf("was written to while it was in use: %d bytes when it was opened, %d now", e.Was, e.Now)
	case e.Fault >= 0:
		what = fmt.Sprintf("byte %d of %d cannot be read: the disk failed, or the file was cut short for a time", e.Fault, e.Was)
	}
	return fmt.Sprintf("%s: the file %s; what was computed with it is not given out: put the whole file back and start again", e.Path, what)
}

// stamp is a file's state by its handle: cheap to ask for, and different after any change.
type stamp struct {
	size     int64
	modified time.Duration // since 1970
}

func stampFrom(info os.FileInfo) stamp {
	return stamp{info.Size(), time.Duration(info.ModTime().UnixNano())}
}

// Intact is a *ChangedError if the file was cut short or written to since it was
// opened. It asks the handle that is kept, not the path: what another file of the
// same name has does not matter, for the mapping is of the one that was opened. It
// allocates nothing. A file in memory is always intact.
func (m *Mapping) Intact() error {
	if m.handle == nil {
		return nil
	}
	now, err := stampOf(m.handle)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", m.path, err)
	}
	if now == m.opened {
		return nil
	}
	return &ChangedError{Path: m.path, Was: m.size, Now: now.size, Fault: -1}
}

// StillAt fails if another file than the one that is open lies at a path by now:
// for whoever opens the path once more, such as another process.
func (m *Mapping) StillAt(path string) error {
	if m.handle == nil {
		return nil
	}
	mine, err := m.handle.Stat()
	if err != nil {
		return fmt.Errorf("looking at %s: %w", m.path, err)
	}
	now, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(mine, now) {
		return fmt.Errorf("%s: the file was replaced by another while it was being opened: start again", path)
	}
	return nil
}

// Guard runs read, which reads bytes of the files in the goroutine that calls
// Guard and starts none. A fault on such a byte, of a file that was cut short or a
// disk that fails, is a *ChangedError. Faults elsewhere and other panics pass on.
// Files that are nil are none.
func Guard(read func(), files ...File) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if err = faultOf(r, files); err == nil {
				panic(r)
			}
		}
	}()
	read()
	return nil
}

// faultOf is the error for a recovered fault on a byte of one of the files.
func faultOf(recovered any, files []File) error {
	fault, ok := recovered.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		return nil
	}
	for _, f := range files {
		if f == nil {
			continue
		}
		data := f.Bytes()
		at := fault.Addr() - uintptr(unsafe.Pointer(unsafe.SliceData(data)))
		if at >= uintptr(len(data)) {
			continue
		}
		changed := &ChangedError{Path: f.Path(), Was: f.Size(), Now: f.Size()}
		errors.As(f.Intact(), &changed) // if it has not changed, the disk failed
		changed.Fault = int64(at)
		return changed
	}
	return nil
}
