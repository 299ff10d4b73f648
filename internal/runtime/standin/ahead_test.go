package standin

import (
	"testing"

	"smelt.example/smelt/internal/runtime/devicetest"
)

// TestAhead: the emitted Metal kernels take tokens that were picked before, and leave no
// trace of what is taken back.
func TestAhead(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: package cpu takes back what the same kernels did")
	}
	t.Parallel()
	devicetest.Ahead(t, devicetest.Fixture("b-official-fp8fp4"), 3, 6, open(Options{SameOrder: true, Quick: true}))
}
