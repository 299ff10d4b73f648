// Package cpu runs a bundle's kernels on the processor: they are printed as LLVM
// IR (package internal/codegen/llvm), compiled in this process by libLLVM (package jit)
// and run on a pool of threads, exactly as the plan says. Weights are read where
// the checkpoint's files are mapped.
package cpu

import (
	"fmt"
	"runtime"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/models/checkpoint"
)

// Options says how to run.
type Options struct {
	// Threads that run kernels, at most as many as Go uses processors; 0 means as
	// many.
	Threads int
	// LLVM is libLLVM; nil means jit.Open("").
	LLVM *jit.LLVM
	// Cache keeps compiled kernels; nil keeps none.
	Cache *codecache.Cache
	// Admit, if not nil, is asked before anything is compiled.
	Admit admission.Ask
	// Begin, if not nil, is told how opening goes on.
	Begin progress.Begin
	// Poison and Observe are planned.Options'.
	Poison  bool
	Observe func(name string, data []byte)
}

// Device is a device.Profiled and a device.Sampler.
type Device struct {
	*planned.Profiled
	machine *machine
}

// Open compiles the bundle's kernels for this machine. A bundle for another
// target is planned anew for this one. The checkpoint must stay open as long as
// the device is used.
func Open(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) (*Device, error) {
	if n := runtime.GOMAXPROCS(0); o.Threads < 0 || o.Threads > n {
		return nil, fmt.Errorf("%d threads asked for: expected 1 to %d, the processors there are, or 0 for all; they wait for each other in turns, so more would make steps slower", o.Threads, n)
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	var m *machine
	d, err := planned.Open(b, ck, planned.Options{Name: "cpu", Poison: o.Poison, Observe: o.Observe, Begin: o.Begin}, func(b *bundle.Bundle) (planned.Machine, *bundle.Bundle, error) {
		var err error
		m, b, err = newMachine(b, ck, o)
		return m, b, err
	})
	if err != nil {
		return nil, err
	}
	return &Device{planned.Profiling(d, m), m}, nil
}
