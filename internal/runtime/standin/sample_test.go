package standin

import (
	"testing"

	"smelt.example/smelt/internal/runtime/devicetest"
)

// TestSampled: tokens that the kernel's Metal text picks are those the host picks.
func TestSampled(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: package lower runs the sampler's kernel in the interpreter")
	}
	t.Parallel()
	devicetest.Sampled(t, devicetest.Fixture("a-bf16"), open(Options{SameOrder: true}))
}
