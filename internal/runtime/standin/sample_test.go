package standin

import (
	"testing"

	"smelt.example/smelt/internal/runtime/agreement"
)

// TestSampled: tokens that the kernel's Metal text picks are those the host picks.
func TestSampled(t *testing.T) {
	t.Parallel()
	agreement.Sampled(t, agreement.Fixture("a-bf16"), open(Options{SameOrder: true}))
}
