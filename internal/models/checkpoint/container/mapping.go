package container

import (
	"bytes"
	"fmt"
	"os"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/regular"
)

// A Mapping is a file in memory, mapped and never copied: the part of a File that
// does not depend on the format.
type Mapping struct {
	path   string
	data   []byte // the whole file; read-only unless made by Anonymous; nil once closed
	size   int64
	handle *os.File // of data, kept to tell whether the file changes; nil if made by Anonymous
	opened stamp    // what it told when the file was opened
}

// Map maps the file at path. Errors are those of regular.Open, or name the path.
// check, if not nil, reads what it needs before the file is mapped, such as the
// header; its error ends it. While a file is mapped it should not be shortened or
// written to: Intact tells, and Go code reads bytes in Guard.
func Map(path string, check func(f *os.File, size int64) error) (*Mapping, error) {
	f, info, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	m := &Mapping{path: path, size: info.Size(), handle: f, opened: stampFrom(info)}
	if check != nil {
		err = check(f, m.size)
	}
	if err == nil {
		if m.data, err = mapFile(f, m.size); err != nil {
			err = fmt.Errorf("mapping %s (%s): %w; ulimit -v, if it is set, limits mapped files too", path, message.Bytes(m.size), err)
		}
	}
	if err != nil {
		f.Close() // only read; err says what is wrong
		return nil, err
	}
	return m, nil
}

// Anonymous is a mapping of size zeros that is on no disk. It may be written to;
// pages that nothing was written to take up no memory. path stands for the file in
// messages.
func Anonymous(path string, size int64) (*Mapping, error) {
	data, err := mapAnonymous(size)
	if err != nil {
		return nil, fmt.Errorf("reserving %d bytes for %s: %w", size, path, err)
	}
	return &Mapping{path: path, data: data, size: size}, nil
}

// Path is the path given to Map or Anonymous.
func (m *Mapping) Path() string { return m.path }

// Size is the size of the file in bytes.
func (m *Mapping) Size() int64 { return m.size }

// Bytes is the whole file, for devices that read weights where they lie. It is
// not to be modified, and valid until Close. Go code reads it in Guard.
func (m *Mapping) Bytes() []byte { return m.data }

// ReadAt reads the file itself and not its mapping, for those who read more of it
// than should stay in memory; see io.ReaderAt.
func (m *Mapping) ReadAt(into []byte, offset int64) (int, error) {
	if m.handle == nil {
		return bytes.NewReader(m.data).ReadAt(into, offset)
	}
	return m.handle.ReadAt(into, offset)
}

// ReadAhead asks the system to read n bytes from an offset on, a multiple of the
// page size, before they are used. It does not wait, and the system may not do it.
func (m *Mapping) ReadAhead(offset, n int64) {
	if offset >= 0 && offset < m.size {
		readAhead(m.data[offset:min(offset+n, m.size)])
	}
}

// Close unmaps the file. Data handed out before is no longer valid. A second
// Close does nothing.
func (m *Mapping) Close() error {
	if m.data == nil {
		return nil
	}
	data := m.data
	m.data = nil
	if m.handle != nil {
		m.handle.Close() // only read
		m.handle = nil
	}
	if err := unmap(data); err != nil {
		return fmt.Errorf("unmapping %s: %w", m.path, err)
	}
	return nil
}
