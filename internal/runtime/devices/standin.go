package devices

import (
	msl "smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/standin"
)

var standinKind = Kind{
	Name: "standin", Doc: "the kernels' Metal text on the processor by way of clang: slow, to prove them", Needs: "clang", Targets: []string{"metal", "cuda"},
	Slow: true, Files: true, Verifies: true,
	here: func() error {
		_, err := msl.Find()
		return err
	},
	open: openStandin,
}

func openStandin(m Model, o Options) (device.Device, error) {
	options := standin.Options{SameOrder: o.Steady, Poison: o.Poison, Sanitize: o.Sanitize, Observe: o.Observe, Admit: o.admit("standin", m), Begin: o.Watch.Begin}
	d, err := standin.Open(m.Bundle, m.Checkpoint, options)
	if err != nil {
		return nil, err // and not a device that is a nil pointer
	}
	return d, nil
}
