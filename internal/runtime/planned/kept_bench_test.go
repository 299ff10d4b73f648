package planned_test

import (
	"testing"
	"unsafe"

	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/planned"
)

// host is memory that the host sees, as that of processors and of Apple's GPU.
type host struct{ planned.Visible }

func (h *host) Alloc(_ string, n int64) (planned.Address, error) {
	memory := make([]byte, n)
	at := planned.Address(uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
	h.Show(at, memory)
	return at, nil
}

// BenchmarkKept keeps and restores texts of V4-Flash.
func BenchmarkKept(b *testing.B) { devicetest.KeptSpeed(b, &host{}) }
