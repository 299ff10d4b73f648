package devices

import (
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/reference"
)

var referenceKind = Kind{Name: "reference", Doc: "the model's graph in plain Go", Auto: true, open: openReference}

func openReference(m Model, o Options) (device.Device, error) {
	graph := m.Graph
	if m.Bundle != nil {
		graph = m.Bundle.Module
	}
	kept, err := evaluates[float32](graph, m, o)
	if err != nil {
		return nil, err
	}
	d, err := reference.New(graph, m.Weights)
	if err != nil {
		return nil, err // and not a device that is a nil pointer
	}
	d.Allow(kept)
	return d, nil
}
