package reference_test

import (
	"errors"
	"testing"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/models"
)

var _ device.Keeper = (*reference.Device)(nil)

// TestKept: what the evaluator keeps of a text goes on in another slot as the text does.
func TestKept(t *testing.T) {
	m, err := models.Open(devicetest.Fixture("a-bf16"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d, err := reference.New(m.Graph, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := d.KeepFrontier(0, 0); err != nil || p.Bytes() != 0 {
		t.Errorf("nothing of an empty slot is %v, %v", p, err)
	}
	length := 140
	if testing.Short() {
		length = 20
	}
	if _, err := d.Prefill(devicetest.Rows(0, 0, 9, d.Vocab()), nil); err != nil {
		t.Fatal(err)
	}
	if p, err := d.KeepEntries(0, 0, 9); !errors.Is(err, device.ErrNoRoom) || p != nil {
		t.Errorf("without room %v is kept, %v", p, err)
	}
	d.Reset(0)
	d.Allow(2 << 20)
	devicetest.KeptOn(t, d, length, 60)
	devicetest.KeptRefused(t, d)
}
