// Package interp runs kernels in plain Go: the meaning of kernel IR, executable.
// It is slow and meant for tests, in which it finds what a device would not
// say: two threads that touch an element of threadgroup memory between two
// barriers, one of them writing; barriers and SIMD-group operations that not all
// threads reach; places outside a buffer; integer divisions that the IR leaves
// undefined.
//
// The threads of a threadgroup run in lock step, threadgroups one after
// another. Sums over a SIMD group are taken in the order of lanes.
package interp

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
)

// Launch holds what a dispatch binds to a kernel.
type Launch struct {
	Buffers map[string][]byte // by pointer parameter; little-endian
	Scalars map[string]int32  // by scalar parameter, bits
	Step    []byte            // the step block
	Grid    [3]int            // threadgroups
}

// Run executes a kernel. It fails at the first fault, naming the kernel, the
// threadgroup, and what was wrong.
func Run(k *kernel.Kernel, l Launch) error {
	for _, p := range k.Params {
		_, isBuffer := l.Buffers[p.Name]
		_, isScalar := l.Scalars[p.Name]
		if p.Pointer && !isBuffer || !p.Pointer && !isScalar {
			return fmt.Errorf("kernel %s: nothing is bound to %s", k.Name, p.Name)
		}
	}
	m := newMachine(k, l)
	for z := range l.Grid[2] {
		for y := range l.Grid[1] {
			for x := range l.Grid[0] {
				if err := m.runGroup([3]int{x, y, z}); err != nil {
					return fmt.Errorf("kernel %s, threadgroup %d,%d,%d: %w", k.Name, x, y, z, err)
				}
			}
		}
	}
	return nil
}

// fault is a panic of a running threadgroup that Run turns into an error.
type fault struct{ error }

func failf(format string, args ...any) { panic(fault{fmt.Errorf(format, args...)}) }

// runGroup runs a threadgroup with fresh threadgroup memory.
func (m *machine) runGroup(group [3]int) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case fault:
			err = r.error
		default:
			panic(r)
		}
	}()
	m.group = group
	for _, s := range m.kernel.Shared {
		m.shared[s.Name] = newShared(s)
	}
	for name, local := range m.locals {
		delete(m.locals, name)
		m.free = append(m.free, local)
	}
	clear(m.fragments)
	m.run(m.kernel.Body, m.all)
	return nil
}

// value is a thread's value: floats are in f, all else in i; Bool is 0 or 1. The other
// array, and lanes beyond the type's, are never read.
type value struct {
	f [4]float32
	i [4]int64
}

// fragment is a matrix, row by row.
type fragment struct {
	*kernel.Fragment
	at []float32
}

// machine runs threadgroups, one after another.
type machine struct {
	kernel         *kernel.Kernel
	launch         Launch
	threads, width int
	all            []bool                   // the mask of all threads
	fixed          map[*kernel.Expr][]value // of expressions that are the same in every threadgroup
	places         map[placeName]*place     // buffers and fields of the step block

	// The threadgroup at work.
	group     [3]int
	shared    map[string]*sharedArray
	locals    map[string][]value    // by thread
	fragments map[string][]fragment // by SIMD group

	free [][]value // spare operands
	used [][]value // operands of the running statement
}

func newMachine(k *kernel.Kernel, l Launch) *machine {
	m := &machine{
		kernel: k, launch: l, threads: k.Schedule.Threads, width: k.Schedule.SimdWidth,
		fixed: map[*kernel.Expr][]value{}, places: map[placeName]*place{},
		shared: map[string]*sharedArray{}, locals: map[string][]value{}, fragments: map[string][]fragment{},
	}
	m.all = make([]bool, m.threads)
	for t := range m.all {
		m.all[t] = true
	}
	return m
}

// operand is room for one value of each thread, until the statement ends.
func (m *machine) operand() []value {
	v := m.spare()
	m.used = append(m.used, v)
	return v
}

// spare is room for one value of each thread, with arbitrary contents.
func (m *machine) spare() []value {
	if n := len(m.free); n > 0 {
		v := m.free[n-1]
		m.free = m.free[:n-1]
		return v
	}
	return make([]value, m.threads)
}

// release gives back the operands since mark.
func (m *machine) release(mark int) {
	m.free = append(m.free, m.used[mark:]...)
	m.used = m.used[:mark]
}
