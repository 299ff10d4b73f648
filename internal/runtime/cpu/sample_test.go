package cpu

import (
	"testing"

	"smelt.example/smelt/internal/runtime/devicetest"
)

// TestSampled: tokens that the device picks are those the host picks.
func TestSampled(t *testing.T) {
	skipIfShort(t)
	for _, name := range []string{"a-bf16", "b-official-fp8fp4", "c-mlx-4bit-stacked"} {
		t.Run(name, func(t *testing.T) { devicetest.Sampled(t, devicetest.Fixture(name), open) })
	}
}
