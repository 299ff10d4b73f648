// Package devices is the table of devices: what they are called, what they need,
// what they are good for, and how they are opened. A new device is one file here,
// and one row of All.
package devices

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/device"
)

// Kind is a device of the table.
type Kind struct {
	Name  string
	Doc   string // what it runs, and on what
	Needs string // what the machine must have; "" if nothing
	// Targets are the names of the targets whose kernels it can run, first the one that
	// it takes unasked; none if it runs the model's graph, without kernels.
	Targets []string
	// Auto: taken, in the order of the table, if nobody names a device.
	Auto bool
	// Slow: there to prove kernels, not to be used for text.
	Slow bool
	// Files: it maps the checkpoint's files itself, so a model that was made in
	// memory is not for it.
	Files bool
	// Profiles: it is a device.Profiled, which can be measured kernel by kernel.
	Profiles bool
	// Verifies: its steps prove the text that a bundle's kernels have.
	Verifies bool

	// here, if not nil, tells cheaply whether the machine can have the device.
	here func() error
	open func(m Model, o Options) (device.Device, error)
}

// All is the table, best first.
func All() Table { return Table{metalKind, cpuKind, cudaKind, referenceKind, standinKind} }

// Auto is the name for the best device there is.
const Auto = "auto"

// ErrNotHere says that a machine lacks what a device needs.
var ErrNotHere = errors.New("not on this machine")

// Model is a model to be run on a device.
type Model struct {
	bundle.Source
	// Weights are the checkpoint's, as the evaluator reads them.
	Weights eval.Weights
	// Bundle has the kernels. Where it is nil they are compiled when a device that
	// needs them is opened.
	Bundle *bundle.Bundle

	made bool // Bundle was compiled for this opening
}

// Options say how to open a device. What a device has no use for it passes over.
type Options struct {
	// Target is the name of the target whose kernels are run, of those that the device
	// can run; "" for the device's first. A bundle for another is planned anew, in memory.
	Target string
	// Threads that run kernels; 0 for all processors.
	Threads int
	// GPU is the number of the card, where there may be several.
	GPU int
	// Context, Chunk and Slots size the kernels of a model without a bundle, and what the
	// evaluator is to have room for; 0 for the defaults.
	Context, Chunk, Slots int
	// Wanted is of how many rows a step gives logits at least; 0 for the default. A
	// bundle that was planned for fewer is planned anew, in memory.
	Wanted int
	// CacheRAM is how many bytes there may be for what is kept of slots beside them
	// (device.Keeper); admission.Auto is what can be spared.
	CacheRAM int64
	// Anew compiles machine code even if it was kept.
	Anew bool
	// Steady makes a step compute the same bits each time, also where a device could
	// vary.
	Steady bool
	// Poison fills the arena with NaNs before every step.
	Poison bool
	// Sanitize builds kernels with sanitizers, where the device has them.
	Sanitize bool
	// AllowPaging starts devices that map weights for which there is no room.
	AllowPaging bool
	// Gate says which devices may start; nil means this machine's.
	Gate *admission.Gate
	// Stop, if not nil, is asked while a device is opened; its error ends that.
	Stop func() error
	// Observe, if not nil, sees the values that kernels write after the dispatch that
	// writes them, and may change them.
	Observe func(name string, data []byte)
	// Watch is told how opening goes.
	Watch Watch
}

// Watch is told how a device is opened. Its functions may be nil.
type Watch struct {
	// Begin is told of each phase that may take long: its name, and how much there is to
	// do in units such as "kernels" or "bytes"; a total of 0 is not known. What it returns
	// is told of each further part that is done, by any goroutine, and of the end. A phase
	// that begins while another goes on is a part of that.
	Begin func(name string, total int64, unit string) (done func(n int64), end func())
	// Paging is told how slow a model will be for whose weights there is no room.
	Paging func(text string)
	// Note is told why machine code is compiled anew, and is not kept.
	Note func(why string)
}

// built tells why code is not kept. Whoever observes has opened the device before,
// and was told.
func (o Options) built(d device.Described) {
	if why := d.Build().Note; why != "" && o.Observe == nil && o.Watch.Note != nil {
		o.Watch.Note(why)
	}
}

// Table is a list of devices, best first.
type Table []Kind

// Names are the devices' names.
func (t Table) Names() (names []string) {
	for _, k := range t {
		names = append(names, k.Name)
	}
	return names
}

// Where are the kinds that a condition holds for.
func (t Table) Where(holds func(Kind) bool) (some Table) {
	for _, k := range t {
		if holds(k) {
			some = append(some, k)
		}
	}
	return some
}

// WithKernels are the devices that run kernels.
func (t Table) WithKernels() Table { return t.Where(func(k Kind) bool { return len(k.Targets) > 0 }) }

// String lists the names: "metal, cpu".
func (t Table) String() string { return strings.Join(t.Names(), ", ") }

// Needing lists the names with what each needs: "metal, which needs a Mac, or cpu,
// which needs libLLVM".
func (t Table) Needing() string {
	var all []string
	for _, k := range t {
		one := k.Name
		if k.Needs != "" {
			one += ", which needs " + k.Needs
		}
		all = append(all, one)
	}
	return strings.Join(all, ", or ")
}

// Choice is a device that was opened, and why it was this one.
type Choice struct {
	Kind Kind
	// Why says what kept better devices from being taken; "" if the device was named.
	Why string
}

// Open opens the named device, or for Auto the first that the machine has. The
// error is an ErrNotHere if the machine lacks what the named one needs. Errors of
// devices that are there are told, not passed over.
func (t Table) Open(name string, m Model, o Options) (device.Device, Choice, error) {
	why := "the best there is"
	found := false
	for _, k := range t {
		if name != k.Name && !(name == Auto && k.Auto) {
			continue
		}
		found = true
		d, err := k.Open(m, o)
		switch {
		case err == nil && name == Auto:
			return d, Choice{k, why}, nil
		case err == nil:
			return d, Choice{Kind: k}, nil
		case name != Auto || !errors.Is(err, ErrNotHere):
			return nil, Choice{}, err
		}
		why = err.Error()
	}
	if !found {
		return nil, Choice{}, fmt.Errorf("device %s: expected %s", name, t.Choices())
	}
	return nil, Choice{}, errors.New(why)
}

// Named is the device of that name.
func (t Table) Named(name string) (Kind, bool) {
	i := slices.IndexFunc(t, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return t[i], true
}

// Choices lists what Open takes: "auto, metal, cpu".
func (t Table) Choices() string { return Auto + ", " + t.String() }

// Open opens the device, with the kernels it needs. The error is an ErrNotHere if
// the machine lacks what it needs.
func (k Kind) Open(m Model, o Options) (device.Device, error) {
	if k.here != nil {
		if err := k.here(); err != nil {
			return nil, notHere(err)
		}
	}
	t, err := k.Runs(o.Target)
	if err != nil {
		return nil, err
	}
	if len(k.Targets) > 0 {
		m.made = m.Bundle == nil
		if m.Bundle, err = k.planned(m, t, o); err != nil {
			return nil, err
		}
	}
	d, err := k.open(m, o)
	if err != nil {
		return nil, err
	}
	if err := o.enough(d); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Runs is the target of that name where the device runs its kernels, its own for "".
// The zero Target is that of a device without kernels. The error names those it has.
func (k Kind) Runs(name string) (target.Target, error) {
	if name == "" && len(k.Targets) == 0 {
		return target.Target{}, nil
	}
	if name == "" {
		return target.Named(k.Targets[0])
	}
	asked, err := target.Named(name)
	if err != nil {
		return asked, option.Errorf("%s %s: %w", option.Name("Target"), name, err)
	}
	for _, own := range k.Targets {
		if t, err := target.Named(own); err == nil && t == asked {
			return t, nil
		}
	}
	if len(k.Targets) == 0 {
		return asked, option.Errorf("%s %s: the device %s runs no kernels", option.Name("Target"), name, k.Name)
	}
	return asked, option.Errorf("%s %s: the device %s runs the kernels of %s", option.Name("Target"), name, k.Name, strings.Join(k.Targets, " or "))
}

// planned is the model's bundle, compiled for a target or planned anew where need be. A
// device of one target plans a bundle by itself, when it knows its machine.
func (k Kind) planned(m Model, t target.Target, o Options) (*bundle.Bundle, error) {
	if m.Bundle != nil {
		b := m.Bundle
		if len(k.Targets) > 1 {
			var err error
			if b, err = b.For(t); err != nil {
				return nil, err
			}
		}
		return b.Wanting(o.Wanted)
	}
	b, _, err := bundle.Compile(m.Source, bundle.Options{Lean: true, Target: t, Context: o.Context, Chunk: o.Chunk, Slots: o.Slots, Wanted: o.Wanted, Begin: o.Watch.Begin})
	return b, err
}

// notHere says that an error means the machine lacks what a device needs.
func notHere(err error) error { return fmt.Errorf("%w: %w", ErrNotHere, err) }
