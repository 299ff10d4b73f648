package devices

import (
	"smelt.example/smelt/internal/runtime/cpu"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
)

var cpuKind = Kind{
	Name: "cpu", Doc: "the kernels as machine code on the processor, made by libLLVM", Needs: "libLLVM", Targets: []string{"cpu"}, Auto: true, Profiles: true,
	open: openCPU,
}

func openCPU(m Model, o Options) (device.Device, error) {
	l, err := jit.Open("")
	if err != nil {
		return nil, notHere(err)
	}
	options := cpu.Options{Threads: o.Threads, LLVM: l, Admit: o.admit("cpu", m), Observe: o.Observe, Poison: o.Poison, Begin: o.Watch.Begin}
	if !o.Anew {
		options.Cache = jit.UserCache()
	}
	d, err := cpu.Open(m.Bundle, m.Checkpoint, options)
	if err != nil {
		return nil, err // and not a device that is a nil pointer
	}
	o.built(d)
	return d, nil
}
