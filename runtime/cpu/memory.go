package cpu

import (
	"errors"
	"fmt"
	"unsafe"
)

// memory is what a device holds outside Go's heap: native code keeps addresses
// into it, and the garbage collector need not look at it.
type memory struct {
	regions [][]byte
	bytes   int64
}

func (m *memory) alloc(what string, n int64) ([]byte, error) {
	b, err := reserve(int(n))
	if err != nil {
		return nil, fmt.Errorf("%d bytes for %s: %w; compile with a smaller --context, --chunk or --slots", n, what, err)
	}
	m.regions = append(m.regions, b)
	m.bytes += n
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
