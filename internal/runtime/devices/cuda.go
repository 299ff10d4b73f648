package devices

import (
	"errors"
	"sync"

	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/cuda"
	"smelt.example/smelt/internal/runtime/device"
)

var cudaKind = Kind{
	Name: "cuda", Doc: "the Metal kernels, compiled by NVRTC, on an NVIDIA card", Needs: "an NVIDIA driver and libnvrtc", Target: "metal", Profiles: true,
	here: cuda.Here,
	open: openCUDA,
}

func openCUDA(m Model, o Options) (device.Device, error) {
	options := cuda.Options{GPU: o.GPU, Stop: o.Stop, Observe: o.Observe, Poison: o.Poison}
	if !o.Anew {
		options.Cache = codecache.User(cuda.CacheName)
	}
	compiled := sync.OnceFunc(o.Watch.begin("compiling kernels"))
	if o.Watch.Read != nil {
		options.Progress = func(done, total int64) {
			compiled()
			o.Watch.Read(done, total)
		}
	}
	d, err := cuda.Open(m.Bundle, m.Checkpoint, options)
	compiled()
	if errors.Is(err, cuda.ErrNotHere) {
		return nil, notHere(err)
	}
	if err != nil {
		return nil, err // and not a device that is a nil pointer
	}
	o.built(d)
	return d, nil
}
