// Package planned is the device that runs a bundle: whatever a plan's steps need but
// the processor itself. It checks rows and slots, fills step parameters, binds
// arguments, has the arena and the caches, reads logits and tokens, shows values to
// whoever observes, and closes. The processor is a Machine, which knows nothing of
// that.
package planned

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/devmem"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/runtime/sampling"
)

// Options say how a device runs.
type Options struct {
	// Name is the device's name in package devices.
	Name string
	// Poison fills the arena with NaNs before every step.
	Poison bool
	// Observe, if not nil, sees the arena's named values after the dispatch that
	// writes them, as many bytes as the step needs, and may change them. Steps then
	// run dispatch by dispatch. It must call nothing of the device.
	Observe func(name string, data []byte)
	// Context, if not nil, ends steps early where the machine can leave them: such a
	// step fails with the context's error, and so do all after it.
	Context context.Context
	// Begin, if not nil, is told how opening goes on.
	Begin progress.Begin
}

// Device is a device.Planned, a device.ScoringRunner and a device.Keeper. Its methods are called from one
// goroutine at a time, but for Close.
type Device struct {
	opts    Options
	b       *bundle.Bundle
	ck      *checkpoint.Checkpoint
	machine Machine
	vocab   int
	slots   *devmem.Slots
	caches  Address
	kept    *devmem.Kept
	parts   Address // of what is kept
	arena   Address // of both kinds of steps, one at a time
	steps   [2]*step
	last    lastStep
	ahead   ahead
	buffer  []byte // of what was read last

	running atomic.Pointer[step] // nil between steps

	mu     sync.Mutex // held while the machine is called
	closed bool
	failed error // the machine's first failure; nothing runs after it
}

// Open makes a machine and prepares all that the bundle's steps need on it. The
// checkpoint must stay open as long as the device is used.
func Open(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options, make Make) (*Device, error) {
	end := o.Begin.Wait("checking the routing tables")
	err := ck.Ready()
	end()
	if err != nil {
		return nil, err
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	m, b, err := make(b)
	if err != nil {
		return nil, err
	}
	d := &Device{opts: o, b: b, ck: ck, machine: m}
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Device) start() (err error) {
	if d.vocab, err = devmem.Vocab(d.b.Module); err != nil {
		return err
	}
	d.slots = devmem.NewSlots(d.b.Plan, d.vocab)
	if d.caches, err = d.machine.Alloc("caches", max(d.b.Plan.CacheBytes, 1)); err != nil {
		return err
	}
	if err := d.makeKept(); err != nil {
		return err
	}
	arena := int64(1)
	for _, s := range d.b.Plan.Steps {
		arena = max(arena, s.ArenaBytes)
	}
	if d.arena, err = d.machine.Alloc("activations", arena); err != nil {
		return err
	}
	args, err := d.bind()
	if err != nil {
		return err
	}
	for i, s := range d.b.Plan.Steps {
		bound, err := d.machine.Prepare(s, args[i])
		if err != nil {
			return err
		}
		d.steps[i] = newStep(d, s, bound)
	}
	return d.machine.Begin()
}

// Close waits for the step that runs, if any, and gives everything back. Steps
// after it fail; closing again does nothing.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.machine.Close()
}

var errClosed = errors.New("the device is closed")

// Name is the device's name.
func (d *Device) Name() string { return d.opts.Name }

// Vocab is the number of logits per row.
func (d *Device) Vocab() int { return d.vocab }

// Reset forgets a slot.
func (d *Device) Reset(slot int32) { d.slots.Reset(slot) }

// Length is the number of tokens in a slot.
func (d *Device) Length(slot int32) int { return d.slots.Length(slot) }

// Bundle is the bundle that runs: the one the device was opened with, planned for its
// machine.
func (d *Device) Bundle() *bundle.Bundle { return d.b }

// Pace is how many dispatches of the step that runs have begun, of how many; a total of
// 0 where the machine does not tell.
func (d *Device) Pace() (done, total int) {
	s := d.running.Load()
	if s == nil {
		return 0, 0
	}
	bound, ok := s.bound.(Paced)
	if !ok {
		return 0, 0
	}
	return int(s.from.Load()) + bound.Begun(), s.plan.Scoring()
}

// Caches are the slots' caches. What is done to them must not run beside a step.
func (d *Device) Caches() *devmem.Caches {
	return devmem.NewCaches(d.b.Plan, cacheMemory{d}, d.slots)
}

// CacheRow is the row of a slot that index has in a cache.
func (d *Device) CacheRow(c *plan.Cache, slot int32, index int) ([]byte, error) {
	row := make([]byte, c.Row.Bytes)
	err := cacheMemory{d}.Read(row, c.Offset+int64((int(slot)*c.Capacity+index)*c.Row.Bytes))
	return row, err
}

// Prefill runs rows of prompts through the prefill kernels.
func (d *Device) Prefill(rows []ir.Row, wanted []int) ([]float32, error) {
	return d.run(program.Prefill, rows, wanted)
}

// Decode runs one row of each slot through the decode kernels.
func (d *Device) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	return d.run(program.Decode, rows, wanted)
}

func (d *Device) run(p program.Phase, rows []ir.Row, wanted []int) ([]float32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.take(d.steps[p], asked{rows: rows, wanted: wanted}); err != nil {
		return nil, err
	}
	return d.logits(d.steps[p], 0, len(wanted))
}

// asked is what a step is to do.
type asked struct {
	rows    []ir.Row
	wanted  []int
	choices []sampling.Choice // nil: no tokens are picked
}

// take runs a step, and makes its rows part of their slots.
func (d *Device) take(s *step, a asked) error {
	if err := d.ready(s, a.rows, a.wanted); err != nil {
		return err
	}
	if err := d.settle(); err != nil {
		return err
	}
	if err := s.fill(a); err != nil {
		return err
	}
	if err := s.use(0, s.plan.Scoring()); err != nil {
		return err
	}
	if a.choices != nil {
		d.ahead.set, d.ahead.picked = 0, len(a.choices)
	}
	if err := d.note(s.run(0, s.plan.Scoring())); err != nil {
		return err
	}
	d.slots.Take()
	d.last = lastStep{s, len(a.wanted), len(a.choices)}
	return nil
}

// usable refuses calls of a device that is closed or has failed.
func (d *Device) usable() error {
	if d.closed {
		return errClosed
	}
	if d.failed != nil {
		return fmt.Errorf("a step failed before, and the model must be opened again: %w", d.failed)
	}
	return nil
}

// ready refuses steps that cannot run.
func (d *Device) ready(s *step, rows []ir.Row, wanted []int) error {
	if err := d.usable(); err != nil {
		return err
	}
	return d.slots.Check(s.plan, rows, wanted)
}

// Exclusively calls a function of the machine's that must not run beside a step; it
// fails where the device is closed.
func (d *Device) Exclusively(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	if d.failed == nil {
		if err := d.wait(d.ahead.starts); err != nil {
			return err
		}
	}
	return f()
}
