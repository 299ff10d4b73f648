package devices

import (
	"errors"
	"os"
	"sync"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/metal"
	"smelt.example/smelt/internal/runtime/metal/objc"
)

var metalKind = Kind{
	Name: "metal", Doc: "the kernels on Apple's GPU", Needs: "a Mac", Target: "metal", Auto: true, Profiles: true,
	here: func() error {
		_, err := metal.Native()
		return err
	},
	open: openMetal,
}

func openMetal(m Model, o Options) (device.Device, error) {
	options := metal.Options{Groups: os.Getenv("MTL_CAPTURE_ENABLED") == "1", Stop: o.Stop, Observe: o.Observe, Poison: o.Poison}
	if !o.Anew {
		options.Archives = metal.UserArchives()
	}
	compiled := sync.OnceFunc(o.Watch.begin("compiling kernels"))
	if o.Watch.Read != nil {
		options.Progress = func(done, total int64) {
			compiled()
			o.Watch.Read(done, total)
		}
	}
	d, err := metal.Open(m.Bundle, m.Checkpoint, options)
	compiled()
	if errors.Is(err, objc.ErrNotHere) {
		return nil, notHere(err)
	}
	if err != nil {
		return nil, err // and not a device that is a nil pointer
	}
	o.built(d)
	return d, nil
}
