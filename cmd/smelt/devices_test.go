package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"smelt/codegen/bundle"
	"smelt/models/deepseekv4"
	"smelt/runtime/metal"
	"smelt/runtime/metal/objc"
)

// TestDeviceChoice: without a name the first device that the machine has is taken,
// and standard error says which and why not another; any other failure is told,
// not passed over.
func TestDeviceChoice(t *testing.T) {
	broken := errors.New("out of memory")
	opens := func(err error) func(stdio, *deepseekv4.Model, *bundle.Bundle, deviceOptions) (device, error) {
		return func(stdio, *deepseekv4.Model, *bundle.Bundle, deviceOptions) (device, error) { return evaluator{}, err }
	}
	kinds := func(metal, cpu error) []deviceKind {
		return []deviceKind{
			{name: "metal", doc: "a GPU", auto: true, here: func() error { return metal }, open: opens(nil)},
			{name: "cpu", doc: "a processor", auto: true, open: opens(cpu)},
			{name: "standin", doc: "clang", open: opens(nil)},
			{name: "reference", doc: "Go", auto: true, open: opens(nil)},
		}
	}
	for name, c := range map[string]struct {
		kinds     []deviceKind
		device    string
		says, err string
	}{
		"metal":          {kinds(nil, nil), deviceAuto, "device metal: a GPU (the best there is)\n", ""},
		"no metal":       {kinds(objc.ErrNotHere, nil), deviceAuto, "device cpu: a processor (not on this machine: the metal device needs macOS on Apple silicon)\n", ""},
		"neither":        {kinds(objc.ErrNotHere, errNoDevice), deviceAuto, "device reference: Go (not on this machine)\n", ""},
		"named":          {kinds(nil, nil), "cpu", "", ""},
		"named, missing": {kinds(objc.ErrNotHere, nil), "metal", "", "the metal device needs macOS on Apple silicon"},
		"broken":         {kinds(objc.ErrNotHere, broken), deviceAuto, "", "out of memory"},
	} {
		var errs bytes.Buffer
		d, err := openFirst(c.kinds, stdio{err: &errs}, deviceOptions{name: c.device}, nil, nil)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || err == nil && d == nil {
			t.Errorf("%s: %v, %v; expected error %q", name, d, err, c.err)
		}
		if errs.String() != c.says {
			t.Errorf("%s: says %q, expected %q", name, errs.String(), c.says)
		}
	}
	order := ""
	for _, k := range deviceKinds {
		if k.auto {
			order += k.name + " "
		}
	}
	if order != "metal cpu reference " {
		t.Errorf("devices are tried in the order %s", order)
	}
	if _, err := metal.Native(); err != nil && !errors.Is(err, objc.ErrNotHere) {
		t.Errorf("no Metal here, but the error does not say so: %v", err)
	}
}
