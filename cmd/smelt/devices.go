package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"smelt/codegen/bundle"
	msl "smelt/codegen/msl/standin"
	"smelt/internal/message"
	"smelt/models/deepseekv4"
	"smelt/runtime/cpu"
	"smelt/runtime/cpu/jit"
	"smelt/runtime/metal"
	"smelt/runtime/metal/objc"
	"smelt/runtime/reference"
	"smelt/runtime/session"
	"smelt/runtime/standin"
)

// deviceAuto is the best device there is.
const deviceAuto = "auto"

// device runs a model's steps.
type device interface {
	session.Device
	Name() string
	Close() error
}

// deviceKind is a device that --device can name.
type deviceKind struct {
	name string
	doc  string
	// auto: taken, in the order of the table, if nobody names one
	auto bool
	// kernels: it runs a bundle's; of a checkpoint they are compiled first
	kernels bool
	// here, if not nil, tells cheaply whether the machine can have the device
	here func() error
	open func(io stdio, m *deepseekv4.Model, b *bundle.Bundle, o deviceOptions) (device, error)
}

// deviceOptions are the flags that concern devices.
type deviceOptions struct {
	name           string
	threads        int
	context, chunk int  // of a checkpoint whose kernels are compiled first; 0: the defaults
	slots          int  // the same
	uncached       bool // compile kernels even if their code was kept
	// stop, if not nil, is asked while a device is opened; its error ends that.
	stop func() error
	// steady: a step computes the same bits each time, also where a device could vary.
	steady bool
	// observe, if not nil, sees the values that kernels write, and may change them.
	observe func(name string, data []byte)
}

// deviceKinds is the table of devices, best first.
var deviceKinds = []deviceKind{
	{name: "metal", doc: "the kernels on Apple's GPU", auto: true, kernels: true, here: metalHere, open: openMetal},
	{name: "cpu", doc: "the kernels as machine code on the processor, made by libLLVM", auto: true, kernels: true, open: openCPU},
	{name: "reference", doc: "the model's graph in plain Go", auto: true, open: openReference},
	{name: "standin", doc: "the kernels' Metal text on the processor by way of clang: slow, to prove them", kernels: true, open: openStandin},
}

func deviceNames() []string {
	names := []string{deviceAuto}
	for _, k := range deviceKinds {
		names = append(names, k.name)
	}
	return names
}

func (o deviceOptions) check() error {
	if !slices.Contains(deviceNames(), o.name) {
		return fmt.Errorf("--device %s: expected %s", o.name, strings.Join(deviceNames(), ", "))
	}
	return nil
}

// openDevice prepares a device; b is nil for a checkpoint. Of a device that
// nobody named it says on standard error which it is and why.
func openDevice(io stdio, o deviceOptions, m *deepseekv4.Model, b *bundle.Bundle) (device, error) {
	return openFirst(deviceKinds, io, o, m, b)
}

// openFirst opens the named device of the kinds, or the first that this machine
// has.
func openFirst(kinds []deviceKind, io stdio, o deviceOptions, m *deepseekv4.Model, b *bundle.Bundle) (device, error) {
	why := "the best there is"
	for _, k := range kinds {
		if o.name != k.name && !(o.name == deviceAuto && k.auto) {
			continue
		}
		d, err := k.openFor(io, m, b, o)
		switch {
		case err == nil && o.name == deviceAuto:
			fmt.Fprintf(io.err, "device %s: %s (%s)\n", k.name, k.doc, why)
			return d, nil
		case err == nil:
			return d, nil
		case o.name != deviceAuto || !errors.Is(err, errNoDevice):
			return nil, err
		}
		why = err.Error()
	}
	return nil, errors.New(why)
}

// errNoDevice says that a machine lacks what a device needs.
var errNoDevice = errors.New("not on this machine")

// openFor opens the device, with the kernels it needs.
func (k deviceKind) openFor(io stdio, m *deepseekv4.Model, b *bundle.Bundle, o deviceOptions) (device, error) {
	if k.here != nil {
		if err := k.here(); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoDevice, err)
		}
	}
	if k.kernels && b == nil {
		var err error
		options := bundle.Options{Lean: true, Context: o.context, Chunk: o.chunk, Slots: o.slots}
		b, _, err = bundle.Compile(sourceOf(m), options)
		if err != nil {
			return nil, err
		}
	}
	return k.open(io, m, b, o)
}

func openReference(_ stdio, m *deepseekv4.Model, b *bundle.Bundle, _ deviceOptions) (device, error) {
	graph := m.Graph
	if b != nil {
		graph = b.Module
	}
	d, err := reference.New(graph, m.Weights)
	return evaluator{d}, err
}

// evaluator is the reference device, which holds nothing that must be closed.
type evaluator struct{ *reference.Device }

func (evaluator) Close() error { return nil }

func metalHere() error {
	_, err := metal.Native()
	return err
}

func openMetal(io stdio, m *deepseekv4.Model, b *bundle.Bundle, o deviceOptions) (device, error) {
	options := metal.Options{Groups: os.Getenv("MTL_CAPTURE_ENABLED") == "1", Stop: o.stop, Observe: o.observe}
	if !o.uncached {
		options.Archives = metalArchives()
	}
	compiled := sync.OnceFunc(startWaiting(io.err, "compiling kernels").done)
	var bar progress
	options.Progress = func(done, total int64) {
		if bar.bar == nil {
			compiled()
			bar = newBytesProgress(io.err, total, "reading weights")
		}
		bar.SetBytes(done)
	}
	d, err := metal.Open(b, m.Checkpoint, options)
	compiled()
	bar.Clear()
	if errors.Is(err, objc.ErrNotHere) {
		return nil, fmt.Errorf("%w: %w", errNoDevice, err)
	}
	if err != nil {
		return nil, err // and not a device that is a nil pointer
	}
	if why := d.Build().Note; why != "" {
		noteNotKept(io, o, why)
	}
	return d, nil
}

// metalArchives is where pipelines are kept; "" where the user has no cache.
func metalArchives() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "smelt", "metal")
}

func openCPU(io stdio, m *deepseekv4.Model, b *bundle.Bundle, o deviceOptions) (device, error) {
	l, err := jit.Open("")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDevice, err)
	}
	cache := jit.UserCache()
	if o.uncached {
		cache = nil
	}
	wait := startWaiting(io.err, "compiling kernels")
	d, err := cpu.Open(b, m.Checkpoint, cpu.Options{Threads: o.threads, LLVM: l, Cache: cache, Observe: o.observe})
	wait.done()
	if err != nil {
		return nil, err // and not a device that is a nil pointer
	}
	if bypassed := d.Build().CacheError; bypassed != nil {
		noteNotKept(io, o, bypassed.Error())
	}
	return d, nil
}

// noteNotKept says in one line why machine code is compiled anew. Whoever observes
// has opened the device before, and was told.
func noteNotKept(io stdio, o deviceOptions, why string) {
	if o.observe == nil {
		fmt.Fprintf(io.err, "smelt: compiled anew, and not kept: %s\n", message.Line(why, 400))
	}
}

func openStandin(io stdio, m *deepseekv4.Model, b *bundle.Bundle, o deviceOptions) (device, error) {
	if _, err := msl.Find(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDevice, err)
	}
	options := standin.Options{SameOrder: o.steady}
	if o.observe != nil {
		options.Observe = func(name string, data []byte) []byte {
			o.observe(name, data)
			return data
		}
	}
	wait := startWaiting(io.err, "compiling kernels")
	defer wait.done()
	d, err := standin.Open(b, m.Checkpoint, options)
	if err != nil {
		return nil, err
	}
	return d, nil
}
