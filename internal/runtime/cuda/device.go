// Package cuda runs a bundle's Metal kernels on NVIDIA's cards, without cgo: their
// text is compiled by NVRTC against a stand-in for Metal's library (package
// internal/codegen/msl/cuda), so that what Macs get is what runs here. Weights are
// uploaded from the mapped files; a decode step is one graph, a prefill step a
// stream.
package cuda

import (
	"errors"
	"fmt"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/cuda/driver"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/models/checkpoint"
)

// Options says how to run.
type Options struct {
	// GPU is the number of the card, as the driver counts them.
	GPU int
	// Cache keeps machine code; nil keeps none.
	Cache *codecache.Cache
	// Begin, if not nil, is told how opening goes on.
	Begin progress.Begin
	// Stop, if not nil, is asked while the model is opened, between kernels and
	// between pieces of weights; its error ends that.
	Stop func() error
	// unmarked kernels leave no number for messages about faults, to see what that costs.
	unmarked bool
	// Kept is how many bytes there may be for what is kept of slots, or admission.Auto.
	Kept int64
	// Poison and Observe are planned.Options'.
	Poison  bool
	Observe func(name string, data []byte)
}

// Device is a device.Profiled, a device.Runner and a device.Timed.
type Device struct {
	*planned.Profiled
	machine *machine
}

// ErrNotHere says that the machine has no NVIDIA driver or card, or not the one
// asked for.
var ErrNotHere = driver.ErrNotHere

// Here tells whether the machine has a driver and a card.
func Here() error {
	api, err := driver.Open()
	if err != nil {
		return err
	}
	_, err = api.Cards()
	return err
}

// Open compiles the bundle's kernels and uploads the weights. A bundle whose kernels have
// another text than Metal's is planned anew. The checkpoint must stay open as long as the device is used.
func Open(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) (*Device, error) {
	if o.Stop == nil {
		o.Stop = func() error { return nil }
	}
	var m *machine
	d, err := planned.Open(b, ck, planned.Options{Name: "cuda", Poison: o.Poison, Observe: o.Observe}, func(b *bundle.Bundle) (planned.Machine, *bundle.Bundle, error) {
		var err error
		if m, err = newMachine(b, ck, o); err != nil {
			return nil, nil, errors.Join(err, m.Close())
		}
		return m, m.b, nil
	})
	if err != nil {
		return nil, err
	}
	return &Device{planned.Profiling(d, m), m}, nil
}

// StepTime is how long the card took for the last step, from its first dispatch to
// its last; 0 before the first step.
func (d *Device) StepTime() (t time.Duration, err error) {
	err = d.Exclusively(func() error {
		return d.machine.do(func() error {
			t, err = d.machine.stepTime()
			return err
		})
	})
	return t, err
}

// Timeline is how long the card worked on steps so far, and had nothing to do between
// them.
func (d *Device) Timeline() (busy, idle time.Duration, err error) {
	err = d.Exclusively(func() error {
		busy, idle = d.machine.starts.busy, d.machine.starts.idle
		return nil
	})
	return busy, idle, err
}

// choose finds the card.
func choose(api *driver.API, ordinal int) (driver.Card, error) {
	cards, err := api.Cards()
	if err != nil {
		return driver.Card{}, err
	}
	if ordinal < 0 || ordinal >= len(cards) {
		return driver.Card{}, fmt.Errorf("GPU %d: the driver sees %d, numbered from 0", ordinal, len(cards))
	}
	return cards[ordinal], nil
}
