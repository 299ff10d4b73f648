package llvm

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// Machine is the kind of processor that text is for. Most of the text is the same
// for all; where LLVM has no general instruction for what one of a machine does,
// Lanes tells.
type Machine struct {
	// Lanes are those of a vector register, of 32 bits: 16 with AVX-512, 8 with
	// AVX2, 4 otherwise.
	Lanes int
}

// Host is this machine.
func Host() Machine {
	switch {
	case runtime.GOARCH == "amd64" && cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW:
		return Machine{16}
	case runtime.GOARCH == "amd64" && cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		return Machine{8}
	}
	return Machine{4}
}
