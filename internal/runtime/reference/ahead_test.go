package reference_test

import (
	"testing"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/models"
)

var _ device.Runner = (*reference.Device)(nil)

// TestAhead: the evaluator takes back what ran past its end without a trace.
func TestAhead(t *testing.T) {
	m, err := models.Open(devicetest.Fixture("a-bf16"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var d [2]*reference.Device
	for i := range d {
		if d[i], err = reference.New(m.Graph, m.Weights); err != nil {
			t.Fatal(err)
		}
		d[i].Allow(devicetest.KeptRoom)
	}
	to := 200
	if testing.Short() {
		to = 20
	}
	devicetest.AheadOn(t, d[0], d[1], 2, to)
}
