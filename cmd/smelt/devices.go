package main

import (
	"fmt"

	"smelt/codegen/bundle"
	"smelt/models/checkpoint"
	"smelt/models/deepseekv4"
	"smelt/runtime/reference"
	"smelt/runtime/session"
	"smelt/runtime/standin"
)

// The devices of --device.
const (
	deviceReference = "reference"
	deviceStandin   = "standin"
)

var deviceNames = []string{deviceReference, deviceStandin}

// device runs a model's steps.
type device interface {
	session.Device
	Name() string
	Close() error
}

// evaluator is the reference device, which holds nothing that must be closed.
type evaluator struct{ *reference.Device }

func (evaluator) Close() error { return nil }

// openDevice prepares the device of that name; b is nil for a checkpoint. Of a
// bundle it says on standard error what runs it, and why.
func openDevice(io stdio, name string, m *deepseekv4.Model, b *bundle.Bundle) (device, error) {
	if b == nil {
		if name != deviceReference {
			return nil, fmt.Errorf("--device %s runs the kernels of a bundle, %s is a checkpoint; make one: smelt compile %s -o DIR", name, m.Checkpoint.Dir, m.Checkpoint.Dir)
		}
		d, err := reference.New(m.Graph, m.Weights)
		return evaluator{d}, err
	}
	if name == deviceStandin {
		fmt.Fprintf(io.err, "device standin, as asked for: the bundle's Metal kernels compiled by clang, on the CPU\n")
		wait := startWaiting(io.err, "compiling kernels")
		defer wait.done()
		return openStandin(b, m.Checkpoint)
	}
	fmt.Fprintf(io.err, "device reference: the bundle's module in plain Go; metal needs a Mac and is not part of this smelt yet\n")
	d, err := reference.New(b.Module, m.Weights)
	return evaluator{d}, err
}

func openStandin(b *bundle.Bundle, ck *checkpoint.Checkpoint) (device, error) {
	d, err := standin.Open(b, ck, standin.Options{})
	if err != nil {
		return nil, err // and not a device that is a nil pointer
	}
	return d, nil
}
