package standin

import (
	"testing"

	"smelt.example/smelt/internal/runtime/devicetest"
)

// TestAhead: the emitted Metal kernels take tokens that were picked before, and leave no
// trace of what is taken back.
func TestAhead(t *testing.T) {
	to := 12
	if testing.Short() {
		to = 4
	}
	t.Parallel()
	devicetest.Ahead(t, devicetest.Fixture("b-official-fp8fp4"), 3, to, open(Options{SameOrder: true, Quick: true}))
}
