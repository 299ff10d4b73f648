package standin

import (
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
)

var _ device.Keeper = (*Device)(nil)

// TestKept: Metal's kernels go on from what was kept; package cpu goes through longer texts.
func TestKept(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: package cpu keeps the same")
	}
	t.Parallel()
	room := func(*bundle.Bundle, ...admission.Part) (int64, error) { return devicetest.KeptRoom, nil }
	devicetest.Kept(t, devicetest.Fixture("b-official-fp8fp4"), devicetest.Trained, 30, 40, open(Options{Quick: true, SameOrder: true, Admit: room}))
}
