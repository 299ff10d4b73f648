// Package metal runs a bundle's kernels on Apple's GPU, without cgo: Objective-C
// is called through package objc. Weights are the checkpoint's mapped files, of
// which buffers are views; everything else a plan needs is a handful of buffers
// made once, and a step only fills its parameters, encodes the plan's dispatches
// and waits.
//
// It was written and checked without Apple hardware, against a fake Objective-C
// runtime (package fake) that keeps Metal's rules; `smelt doctor` says on a Mac
// what a report needs.
package metal

import (
	"errors"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/models/checkpoint"
)

// Options says how to run.
type Options struct {
	// API reaches Metal; nil means this machine's.
	API *objc.API
	// Archives is the folder where pipelines' machine code is kept; "" keeps none.
	Archives string
	// PageSize is that of memory; 0 means the system's.
	PageSize int
	// Progress, if not nil, is told how many bytes of weights are in memory.
	Progress func(done, total int64)
	// Stop, if not nil, is asked while the model is opened, between kernels and
	// between pieces of weights; its error ends that.
	Stop func() error
	// Begin, if not nil, is told how opening goes on, but for what Progress is told.
	Begin progress.Begin
	// Groups puts each dispatch into a debug group named after its kernel and
	// labels command buffers, for Xcode's capture. It costs two calls a dispatch.
	Groups bool
	// Kept is how many bytes there may be for what is kept of slots, or admission.Auto.
	Kept int64
	// Poison and Observe are planned.Options'.
	Poison  bool
	Observe func(name string, data []byte)
}

// Device is a device.Profiled, a device.Sampler and a device.Clocked. Its methods are
// called from one goroutine at a time, but for Close; all of Metal's queue is used from
// one thread.
type Device struct {
	*planned.Profiled
	machine *machine
}

// Native reaches this machine's Metal. Its error is objc.ErrNotHere where there
// is none.
func Native() (*objc.API, error) {
	e, err := objc.Native()
	if err != nil {
		return nil, err
	}
	return objc.Bind(e)
}

// Open prepares the bundle's kernels and memory. A bundle for another target is
// planned anew for this one. The checkpoint must stay open as long as the device
// is used.
func Open(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) (*Device, error) {
	m, err := newMachine(o)
	if err != nil {
		return nil, err
	}
	var d *planned.Device
	err = m.api.Pool(func() (err error) {
		d, err = planned.Open(b, ck, planned.Options{Name: "metal", Poison: o.Poison, Observe: o.Observe, Begin: o.Begin}, func(b *bundle.Bundle) (planned.Machine, *bundle.Bundle, error) {
			if err := m.start(b, ck); err != nil {
				return nil, nil, errors.Join(err, m.Close())
			}
			return m, m.b, nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Device{planned.Profiling(d, m), m}, nil
}

// StepTime is how long the GPU took for the last step, from its first dispatch to
// its last; 0 before the first step.
func (d *Device) StepTime() (t time.Duration, err error) {
	err = d.Exclusively(func() error {
		t, err = d.machine.stepTime()
		return err
	})
	return t, err
}

// Timeline is how long the GPU worked on steps so far, and had nothing to do between them.
func (d *Device) Timeline() (busy, idle time.Duration, err error) {
	err = d.Exclusively(func() error {
		busy, idle, err = d.machine.timeline()
		return err
	})
	return busy, idle, err
}
