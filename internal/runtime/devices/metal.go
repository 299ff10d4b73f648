package devices

import (
	"errors"
	"os"

	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/metal"
	"smelt.example/smelt/internal/runtime/metal/objc"
)

var metalKind = Kind{
	Name: "metal", Doc: "the kernels on Apple's GPU", Needs: "a Mac", Targets: []string{"metal"}, Auto: true, Profiles: true,
	here: func() error {
		_, err := metal.Native()
		return err
	},
	open: openMetal,
}

func openMetal(m Model, o Options) (device.Device, error) {
	options := metal.Options{Groups: os.Getenv("MTL_CAPTURE_ENABLED") == "1", Stop: o.Stop, Observe: o.Observe, Poison: o.Poison, Begin: o.Watch.Begin, Kept: o.CacheRAM}
	if !o.Anew {
		options.Archives = metal.UserArchives()
	}
	end := func() {}
	if o.Watch.Begin != nil {
		var reached func(all int64)
		options.Progress = func(all, total int64) {
			if reached == nil {
				var done func(n int64)
				done, end = o.Watch.Begin("reading weights", total, progress.Bytes)
				reached = progress.Reached(done)
			}
			reached(all)
		}
	}
	d, err := metal.Open(m.Bundle, m.Checkpoint, options)
	end()
	if errors.Is(err, objc.ErrNotHere) {
		return nil, notHere(err)
	}
	if err != nil {
		return nil, err // and not a device that is a nil pointer
	}
	o.built(d)
	return d, nil
}
