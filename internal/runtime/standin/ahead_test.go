package standin

import (
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
)

var _ device.Keeper = (*Device)(nil)

// TestAhead: the emitted Metal kernels take tokens that were picked before, and leave no
// trace of what is taken back.
func TestAhead(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: package cpu takes back what the same kernels did")
	}
	t.Parallel()
	room := func(*bundle.Bundle, ...admission.Part) (int64, error) { return devicetest.KeptRoom, nil }
	devicetest.Ahead(t, devicetest.Fixture("b-official-fp8fp4"), 3, 6, open(Options{SameOrder: true, Quick: true, Admit: room}))
}
