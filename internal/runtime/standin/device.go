// Package standin runs a bundle's Metal kernels on a machine without Metal:
// the emitted text is compiled by clang against a stand-in for the Metal
// standard library and executed on the CPU (package internal/codegen/msl/standin). It is
// slow, and there to prove kernels, not to be used for text.
package standin

import (
	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/models/checkpoint"
)

// Options says how kernels run.
type Options struct {
	// Sanitize builds them with address and undefined-behaviour sanitizers.
	Sanitize bool
	// Quick builds them in a fifth of the time, to run several times slower: for
	// short prompts.
	Quick bool
	// SameOrder makes every launch add up a SIMD group's lanes in one order, as
	// a GPU does. Else launches alternate between two, so that nothing can
	// depend on it beyond rounding.
	SameOrder bool
	// Admit, if not nil, is asked before anything is compiled.
	Admit admission.Ask
	// Poison and Observe are planned.Options'.
	Poison  bool
	Observe func(name string, data []byte)
	// Begin, if not nil, is told how opening goes on.
	Begin progress.Begin
}

// Device is a device.Planned and a device.Sampler.
type Device struct{ *planned.Device }

// Open compiles the bundle's kernels and maps the checkpoint's files.
func Open(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) (*Device, error) {
	d, err := planned.Open(b, ck, planned.Options{Name: "standin", Poison: o.Poison, Observe: o.Observe, Begin: o.Begin}, func(b *bundle.Bundle) (planned.Machine, *bundle.Bundle, error) {
		return newMachine(b, ck, o)
	})
	if err != nil {
		return nil, err
	}
	return &Device{d}, nil
}
