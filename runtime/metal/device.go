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
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"

	"smelt/codegen/bundle"
	"smelt/codegen/plan"
	"smelt/codegen/program"
	"smelt/codegen/target"
	"smelt/ir"
	"smelt/models/checkpoint"
	"smelt/runtime/binding"
	"smelt/runtime/device"
	"smelt/runtime/metal/objc"
	"smelt/runtime/profile"
	"smelt/runtime/sampling"
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
	// Groups puts each dispatch into a debug group named after its kernel and
	// labels command buffers, for Xcode's capture. It costs two calls a dispatch.
	Groups bool
	// Observe, if not nil, sees the arena's named values after the dispatch that
	// writes them, as many bytes as the step needs, and may change them. Steps then
	// run dispatch by dispatch.
	Observe func(name string, data []byte)
	// Poison fills the arena with NaNs before every step.
	Poison bool
}

// Device is a device.Device. Its methods are called from one goroutine at a
// time, but for Close; all of Metal's queue is used from one thread.
type Device struct {
	mu       sync.Mutex // held while the GPU works or its results are read
	closed   bool
	api      *objc.API
	opts     Options
	b        *bundle.Bundle
	ck       *checkpoint.Checkpoint
	machine  *Machine
	gpu      objc.ID
	kernels  map[string]objc.ID // pipelines, by kernel
	extra    extra
	memory   *memory
	queue    *queue
	steps    [2]*step
	slots    *binding.Slots
	vocab    int
	last     lastStep
	mode     profile.Mode
	probes   *probes // nil until they are needed
	failed   error   // the first fault; nothing runs after it
	build    device.Build
	kept     bool // pipelines came from the archive of an earlier run
	rescaled int  // threads of a threadgroup that pipelines allowed, if fewer than planned
}

// poisonByte makes NaNs, and -1 of integers.
const poisonByte = 0xff

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
	d, err := newDevice(o)
	if err != nil {
		return nil, err
	}
	if err := d.api.Pool(func() error { return d.start(b, ck) }); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func newDevice(o Options) (*Device, error) {
	if o.API == nil {
		api, err := Native()
		if err != nil {
			return nil, err
		}
		o.API = api
	}
	if o.Stop == nil {
		o.Stop = func() error { return nil }
	}
	if o.PageSize == 0 {
		o.PageSize = os.Getpagesize()
	}
	return &Device{api: o.API, opts: o, kernels: map[string]objc.ID{}}, nil
}

// find finds the GPU and plans the bundle for it.
func (d *Device) find(b *bundle.Bundle) (err error) {
	if d.gpu = d.api.DefaultDevice(); d.gpu == 0 {
		return fmt.Errorf("%w: the system names no GPU", objc.ErrNotHere)
	}
	d.machine = describe(d.api, d.gpu)
	if err := d.machine.check(); err != nil {
		return err
	}
	d.b, err = b.For(target.GPU)
	return err
}

func (d *Device) start(b *bundle.Bundle, ck *checkpoint.Checkpoint) (err error) {
	d.ck = ck
	if err := ck.Ready(); err != nil {
		return err
	}
	if err := d.find(b); err != nil {
		return err
	}
	if err := d.admit(); err != nil {
		return err
	}
	if d.vocab, err = binding.Vocab(d.b.Module); err != nil {
		return err
	}
	if err := d.compile(); err != nil {
		return err
	}
	if d.rescaled > 0 { // another plan
		if err := d.admit(); err != nil {
			return err
		}
	}
	if d.memory, err = d.newMemory(ck); err != nil {
		return err
	}
	m := d.memory
	where := &binding.Memory{Params: d.b.Params, Caches: m.caches.address, File: m.fileAddress, Table: m.table}
	for i, s := range d.b.Plan.Steps {
		if d.steps[i], err = d.newStep(s, where); err != nil {
			return err
		}
	}
	d.slots = binding.NewSlots(d.b.Plan, d.vocab)
	if err := m.pageIn(d.opts.Progress, d.opts.Stop); err != nil {
		return err
	}
	d.queue, err = newQueue(d.api, d.gpu, d.memory)
	return err
}

// Close waits for the step that runs, if any, and gives everything back. Steps
// after it fail.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	if d.queue != nil {
		d.queue.close()
	}
	if d.probes != nil {
		d.probes.close(d.api)
	}
	if d.memory != nil {
		d.memory.close()
	}
	for _, p := range d.kernels {
		d.api.Release(p)
	}
	d.api.Release(d.gpu)
	return nil
}

var errClosed = errors.New("the device is closed")

// Name is what --device calls it.
func (d *Device) Name() string { return "metal" }

// Machine is the GPU and what it can do.
func (d *Device) Machine() *Machine { return d.machine }

// Vocab is the number of logits per row.
func (d *Device) Vocab() int { return d.vocab }

// Reset forgets a slot.
func (d *Device) Reset(slot int32) { d.slots.Reset(slot) }

// Bundle is what the device runs: the one it was opened with, planned for Metal.
func (d *Device) Bundle() *bundle.Bundle { return d.b }

// Caches is the memory of the slots. What is done to it must not run beside a step.
func (d *Device) Caches() *binding.Caches {
	return binding.NewCaches(d.b.Plan, d.memory.caches.bytes, d.slots)
}

// CacheRow is the row of a slot that index has in a cache.
func (d *Device) CacheRow(c *plan.Cache, slot int32, index int) ([]byte, error) {
	at := c.Offset + int64((int(slot)*c.Capacity+index)*c.Row.Bytes)
	return d.memory.caches.bytes[at:][:c.Row.Bytes], nil
}

// Prefill runs rows of prompts through the prefill kernels.
func (d *Device) Prefill(rows []ir.Row, wanted []int) ([]float32, error) {
	return d.run(d.steps[program.Prefill], rows, wanted)
}

// Decode runs one row of each slot through the decode kernels.
func (d *Device) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	return d.run(d.steps[program.Decode], rows, wanted)
}

func (d *Device) run(s *step, rows []ir.Row, wanted []int) ([]float32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.take(s, rows, wanted, nil); err != nil {
		return nil, err
	}
	return s.logits(0, len(wanted)), nil
}

// take runs a step, which picks tokens if there are choices, and makes its rows
// part of their slots.
func (d *Device) take(s *step, rows []ir.Row, wanted []int, choices []sampling.Choice) error {
	if d.closed {
		return errClosed
	}
	if d.failed != nil {
		return fmt.Errorf("a step failed before, and the model must be opened again: %w", d.failed)
	}
	if err := d.slots.Check(s.plan, rows, wanted); err != nil {
		return err
	}
	if err := s.prepare(rows, wanted, choices); err != nil {
		return err
	}
	// What the GPU makes of bytes that are gone from a file is not said: zeros, or
	// a fault. The file is why.
	err := d.queue.run(s, d.mode)
	if err := cmp.Or(d.ck.Intact(), err); err != nil {
		d.failed = err
		return err
	}
	d.slots.Take()
	d.last = lastStep{s, len(wanted)}
	return nil
}
