package devices

import (
	"errors"

	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/cuda"
	"smelt.example/smelt/internal/runtime/device"
)

var cudaKind = Kind{
	Name: "cuda", Doc: "the Metal kernels on an NVIDIA card, compiled by NVRTC", Needs: "an NVIDIA driver and libnvrtc", Targets: []string{"cuda", "metal"}, Profiles: true, Verifies: true,
	here: cuda.Here,
	open: openCUDA,
}

func openCUDA(m Model, o Options) (device.Device, error) {
	options := cuda.Options{GPU: o.GPU, Stop: o.Stop, Observe: o.Observe, Poison: o.Poison, Begin: o.Watch.Begin, Kept: o.CacheRAM}
	if !o.Anew {
		options.Cache = codecache.User(cuda.CacheName)
	}
	d, err := cuda.Open(m.Bundle, m.Checkpoint, options)
	if errors.Is(err, cuda.ErrNotHere) {
		return nil, notHere(err)
	}
	if err != nil {
		return nil, err // and not a device that is a nil pointer
	}
	o.built(d)
	return d, nil
}
