package cpu

import (
	"fmt"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/runtime/device"
)

// Text says what kernels run on: the threads, the vector registers, the compiler.
func (d *Device) Text() string {
	return fmt.Sprintf("%s, vectors of %d, LLVM %s", message.Plural(d.machine.opts.Threads, "thread"), d.machine.opts.LLVM.Host().Lanes(), d.machine.opts.LLVM.Version())
}

// Build tells how the kernels' machine code came about.
func (d *Device) Build() device.Build {
	b := d.machine.code.build
	out := device.Build{Compiled: b.Misses, Kept: b.Hits, Elapsed: b.Elapsed, Compiling: b.Compiling}
	if b.CacheError != nil {
		out.Note = b.CacheError.Error()
	}
	return out
}

// Notes say where the machine code came from.
func (d *Device) Notes() []string {
	b := d.Build()
	notes := []string{fmt.Sprintf("%s compiled in %.2f s and %d found in the cache", message.Plural(b.Compiled, "kernel"), b.Elapsed.Seconds(), b.Kept)}
	if b.Note != "" {
		notes = append(notes, "machine code is not kept: "+b.Note)
	}
	return notes
}
