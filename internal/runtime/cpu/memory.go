package cpu

import (
	"errors"
	"unsafe"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/option"
)

// memory lies outside Go's heap: native code keeps addresses into it, and the garbage
// collector need not look at it.
type memory struct{ regions [][]byte }

func (m *memory) alloc(what string, n int64) ([]byte, error) {
	b, err := reserve(int(n))
	if err != nil {
		return nil, option.Errorf("%s for %s: %w; compile with a smaller %s, %s or %s", message.Bytes(n), what, err, option.Name("Context"), option.Name("Chunk"), option.Name("Slots"))
	}
	m.regions = append(m.regions, b)
	return b[:n:n], nil
}

func (m *memory) free() error {
	var errs []error
	for _, r := range m.regions {
		errs = append(errs, release(r))
	}
	m.regions = nil
	return errors.Join(errs...)
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
