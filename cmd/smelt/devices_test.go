package main

import (
	"bytes"
	"testing"

	"smelt.example/smelt/internal/runtime/devices"
)

// TestDeviceChoice: of a device that nobody named, standard error says which it is
// and why; of a named one nothing is said.
func TestDeviceChoice(t *testing.T) {
	c := openForTest(t, "--context", "12", "--chunk", "8")
	reference, _ := devices.All().Named("reference")
	for name, says := range map[string]string{devices.Auto: "device reference: the model's graph in plain Go (the best there is)\n", "reference": ""} {
		var errs bytes.Buffer
		d, err := openFirst(devices.Table{reference}, stdio{err: &errs}, deviceOptions{name: name}, modelFor(c.model, c.Bundle))
		if err != nil || d.Name() != "reference" || errs.String() != says {
			t.Errorf("%s: %v, says %q, expected %q", name, err, errs.String(), says)
		}
	}
}
