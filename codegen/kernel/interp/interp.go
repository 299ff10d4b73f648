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

	"smelt/codegen/kernel"
)

// Launch is what a dispatch binds to a kernel.
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
	for z := range l.Grid[2] {
		for y := range l.Grid[1] {
			for x := range l.Grid[0] {
				if err := runGroup(k, l, [3]int{x, y, z}); err != nil {
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

func runGroup(k *kernel.Kernel, l Launch, group [3]int) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case fault:
			err = r.error
		default:
			panic(r)
		}
	}()
	m := &machine{
		kernel: k, launch: l, group: group, threads: k.Schedule.Threads, width: k.Schedule.SimdWidth,
		shared: map[string]*sharedArray{}, locals: map[string][]value{}, fragments: map[string][]fragment{},
	}
	for _, s := range k.Shared {
		m.shared[s.Name] = newShared(s)
	}
	all := make([]bool, m.threads)
	for t := range all {
		all[t] = true
	}
	m.run(k.Body, all)
	return nil
}

// value is what one thread has: of a float type in f, else in i; Bool is 0 or 1.
type value struct {
	f [4]float32
	i [4]int64
}

// fragment is a matrix, row by row.
type fragment struct {
	*kernel.Fragment
	at []float32
}

// machine is one threadgroup at work.
type machine struct {
	kernel         *kernel.Kernel
	launch         Launch
	group          [3]int
	threads, width int
	shared         map[string]*sharedArray
	locals         map[string][]value    // by thread
	fragments      map[string][]fragment // by SIMD group

	free [][]value // spare operands
	used [][]value // operands of the running statement
}

// operand is room for one value of each thread, until the statement ends.
func (m *machine) operand() []value {
	var v []value
	if n := len(m.free); n > 0 {
		v, m.free = m.free[n-1], m.free[:n-1]
	} else {
		v = make([]value, m.threads)
	}
	m.used = append(m.used, v)
	return v
}

// release gives back the operands since mark.
func (m *machine) release(mark int) {
	m.free = append(m.free, m.used[mark:]...)
	m.used = m.used[:mark]
}
