package smelt

import (
	"context"
	"errors"

	"math"

	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/runtime/scheduler"
	"smelt.example/smelt/internal/runtime/session"
)

// Options say how to run a model. The zero value is ready for use.
type Options struct {
	// Device is the name of what runs the model, one of Devices; "" takes the best
	// that this machine has.
	Device string
	// Target is the name of the machine whose kernels are run, where the device can run
	// those of several: cuda or metal by the device cuda, to try Apple's kernels on a
	// card; "" takes the device's own.
	Target string
	// Threads of the processor that run kernels; 0 means all.
	Threads int
	// GPU is the number of the card that runs kernels, where there are several.
	GPU int
	// Context is the number of tokens of the longest text, prompt included; 0 means
	// the model's, or that of the bundle's kernels.
	Context int
	// Chunk is how many tokens of a prompt are read in one step; 0 means 128, or
	// the limit of the bundle's kernels if that is less.
	Chunk int
	// Slots is how many texts are generated at once; 0 means 1, or as many as the
	// bundle's kernels have room for.
	Slots int
	// CacheRAM is how many bytes there are, beside the texts that are generated, for what
	// was computed of texts before; 0 means none, and -1 a quarter of the memory that all
	// else leaves free, at most 8 GiB. Options of a Model say how many it has. Opening fails
	// with a *MemoryError where they do not fit.
	CacheRAM int64
	// Queue is how many requests may wait for a slot; 0 means any number, and less
	// means none.
	Queue int
	// AllowPaging lets the processor run weights that do not fit its memory, as fast as
	// the disk gives them. Opening fails with a *MemoryError otherwise, as it does where
	// memory does not suffice for all else, which no option changes.
	AllowPaging bool
	// Anew compiles kernels even if their machine code was kept from an earlier run.
	Anew bool
	// Watch is told how opening goes.
	Watch Watch
}

// Watch is told how opening goes, by the goroutine that opens. Its functions may be
// nil.
type Watch = devices.Watch

// Devices lists the names of devices, best first. Which of them a machine has,
// opening tells.
func Devices() []string { return devices.All().Names() }

// defaultChunk is that of the slowest device.
const defaultChunk = devices.DefaultChunk

// Complete fills in the defaults. It refuses, with an *OptionError, what the model
// or the bundle has no room for.
func (f *Files) Complete(o Options) (Options, error) {
	if o.Device == "" {
		o.Device = devices.Auto
	}
	if o.Queue == 0 {
		o.Queue = math.MaxInt32
	}
	for _, x := range []struct {
		name  option.Name
		value int
	}{{"Context", o.Context}, {"Chunk", o.Chunk}, {"Slots", o.Slots}, {"Threads", o.Threads}, {"GPU", o.GPU}} {
		if x.value < 0 {
			return o, option.Errorf("%s: found %d, expected 0 (the default) or more", x.name, x.value)
		}
	}
	if o.CacheRAM < admission.Auto {
		return o, option.Errorf("%s: found %d, expected a number of bytes, 0 for none, or %d for what can be spared", option.Name("CacheRAM"), o.CacheRAM, admission.Auto)
	}
	if f.Bundle != nil {
		if err := f.limit(&o); err != nil {
			return o, err
		}
	}
	if o.Context > f.Model.Context {
		return o, option.Errorf("%s %d: the model was made for at most %d tokens; give no more", option.Name("Context"), o.Context, f.Model.Context)
	}
	if o.Context == 0 {
		o.Context = f.Model.Context
	}
	if o.Chunk == 0 {
		o.Chunk = defaultChunk
	}
	o.Slots = max(o.Slots, 1)
	return o, nil
}

// limit holds the sizes to what a bundle was compiled for.
func (f *Files) limit(o *Options) error {
	p := f.Bundle.Plan
	for _, x := range []struct {
		name     option.Name
		value    *int
		most, by int // by is the default
	}{{"Context", &o.Context, p.Context, p.Context}, {"Chunk", &o.Chunk, p.Chunk, min(p.Chunk, defaultChunk)}, {"Slots", &o.Slots, p.Slots, p.Slots}} {
		if *x.value > x.most {
			return option.Errorf("%s %d: the bundle was compiled for at most %d; compile it with %s %d", x.name, *x.value, x.most, x.name, *x.value)
		}
		if *x.value == 0 {
			*x.value = x.by
		}
	}
	return nil
}

// Start runs the files' model on a device. Closing the Model then closes the files;
// on an error they stay open. The error is an ErrNotHere if the machine lacks what
// the named device needs, a *MemoryError, an *OptionError, or ctx's.
func (f *Files) Start(ctx context.Context, o Options) (*Model, error) {
	chunk := o.Chunk // where nobody chose, the compiler has a default of its own
	o, err := f.Complete(o)
	if err != nil {
		return nil, err
	}
	how := devices.Options{Target: o.Target, Threads: o.Threads, GPU: o.GPU, Context: o.Context, Chunk: chunk, Slots: o.Slots, CacheRAM: o.CacheRAM, Anew: o.Anew, AllowPaging: o.AllowPaging, Stop: ctx.Err, Watch: o.Watch}
	model := devices.Model{Source: f.Source(), Weights: f.Model.Weights, Bundle: f.Bundle}
	d, choice, err := devices.All().Open(o.Device, model, how)
	if err != nil {
		return nil, err
	}
	o.CacheRAM = 0
	if k, ok := d.(device.Keeper); ok {
		_, o.CacheRAM = k.Room()
	}
	m := &Model{files: f, options: o, choice: choice, device: d}
	if m.scheduler, err = schedule(d, o); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return m, nil
}

func schedule(d device.Device, o Options) (*scheduler.Scheduler, error) {
	size := session.Options{Slots: o.Slots, Chunk: o.Chunk, Context: o.Context}
	if p, ok := d.(device.Planned); ok {
		size.Wanted = p.Bundle().Plan.Wanted
	}
	sess, err := session.New(d, size)
	if err != nil {
		return nil, err
	}
	return scheduler.New(sess, scheduler.Options{Queue: max(o.Queue, 0)})
}
