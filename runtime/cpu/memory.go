package cpu

import (
	"errors"
	"fmt"
	"unsafe"

	"smelt/internal/option"
	"smelt/runtime/planned"
)

// memory is what a device holds outside Go's heap: native code keeps addresses
// into it, and the garbage collector need not look at it.
type memory struct{ regions [][]byte }

func (m *memory) alloc(what string, n int64) ([]byte, error) {
	b, err := reserve(int(n))
	if err != nil {
		return nil, option.Errorf("%d bytes for %s: %w; compile with a smaller %s, %s or %s", n, what, err, option.Name("Context"), option.Name("Chunk"), option.Name("Slots"))
	}
	m.regions = append(m.regions, b)
	return b[:n:n], nil
}

// at is the n bytes at an address of a region.
func (m *memory) at(a planned.Address, n int64) ([]byte, error) {
	for _, r := range m.regions {
		if at := uint64(a) - address(r); at <= uint64(len(r)) && uint64(n) <= uint64(len(r))-at {
			return r[at:][:n], nil
		}
	}
	return nil, fmt.Errorf("%d bytes at %#x lie in no memory of the device", n, uint64(a))
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
