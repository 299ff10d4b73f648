//go:build unix

// Package native runs single kernels as machine code, for tests: the
// interpreter's launches (package interp) in native form. What lies behind a
// buffer cannot be touched: a kernel that reads or writes there ends the process.
package native

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/codegen/llvm"
	"smelt.example/smelt/internal/runtime/cpu/jit"
)

// quick makes code in a fraction of the time it takes to make the best.
var quick = jit.Options{Passes: "function(sroa,early-cse,simplifycfg)", Codegen: jit.Less}

// poison fills threadgroup memory at first: bytes of a NaN.
const poison = 0xff

// Code is a kernel as machine code.
type Code struct {
	kernel  *kernel.Kernel
	program *jit.Program
	entry   uintptr
}

// Compile makes code of a kernel for this machine's vector registers.
func Compile(l *jit.LLVM, k *kernel.Kernel) (*Code, error) {
	return CompileFor(l, k, l.Host().Lanes())
}

// CompileFor is Compile for vector registers of so many floats, whatever the
// machine has: LLVM makes do with those there are.
func CompileFor(l *jit.LLVM, k *kernel.Kernel, register int) (*Code, error) {
	text, err := llvm.Module(k, register)
	if err != nil {
		return nil, err
	}
	object, err := l.Compile(k.Name, text, quick)
	if err != nil {
		return nil, err
	}
	program, err := l.Link([][]byte{object})
	if err != nil {
		return nil, err
	}
	entry, err := program.Symbol(k.Name)
	if err != nil {
		return nil, errors.Join(err, program.Close())
	}
	return &Code{k, program, entry}, nil
}

// Close frees the code's memory.
func (c *Code) Close() error { return c.program.Close() }

// Run executes the kernel on the launch's buffers, as interp.Run does.
func (c *Code) Run(launch interp.Launch) (err error) {
	k := c.kernel
	var m memory
	defer func() { err = errors.Join(err, m.free()) }()
	offsets, size := k.Args()
	args, buffers := make([]byte, size), map[string][]byte{}
	for i, p := range k.Params {
		if !p.Pointer {
			binary.LittleEndian.PutUint32(args[offsets[i]:], uint32(launch.Scalars[p.Name]))
			continue
		}
		if launch.Buffers[p.Name] == nil {
			return fmt.Errorf("kernel %s: nothing is bound to %s", k.Name, p.Name)
		}
		buffers[p.Name] = m.fenced(launch.Buffers[p.Name])
		binary.LittleEndian.PutUint64(args[offsets[i]:], address(buffers[p.Name]))
	}
	shared := m.fenced(bytes.Repeat([]byte{poison}, llvm.SharedBytes(k)))
	block, step := m.fenced(args), m.fenced(launch.Step)
	table := m.fenced(llvm.StepTable(k, address(step)))
	if m.err != nil {
		return m.err
	}
	g := launch.Grid
	purego.SyscallN(c.entry, uintptr(address(block)), uintptr(address(table)), uintptr(address(shared)), 0, uintptr(g[0]*g[1]*g[2]), uintptr(g[0]), uintptr(g[1]))
	for name, b := range buffers {
		copy(launch.Buffers[name], b)
	}
	return nil
}

// memory are mappings whose last page cannot be touched.
type memory struct {
	maps [][]byte
	err  error
}

// fenced is a copy that ends where the last page begins. SharedBytes are a
// multiple of a cache line, argument blocks of eight bytes.
func (m *memory) fenced(data []byte) []byte {
	page := unix.Getpagesize()
	n := (len(data) + page - 1) / page * page
	b, err := unix.Mmap(-1, 0, n+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		m.maps = append(m.maps, b)
		err = unix.Mprotect(b[n:], unix.PROT_NONE)
	}
	if err != nil {
		m.err = errors.Join(m.err, err)
		return bytes.Clone(data)
	}
	to := b[n-len(data) : n]
	copy(to, data)
	return to
}

func (m *memory) free() error {
	var errs []error
	for _, b := range m.maps {
		errs = append(errs, unix.Munmap(b))
	}
	return errors.Join(errs...)
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
