package cpu

import (
	"testing"

	"smelt.example/smelt/internal/runtime/devicetest"
)

// TestAhead: what ran past its end is taken back without a trace, at lengths of every
// residue that blocks and rings know.
func TestAhead(t *testing.T) {
	for name, to := range map[string]int{"a-bf16": 320, "b-official-fp8fp4": 320} {
		if testing.Short() {
			to = 40
		}
		t.Run(name, func(t *testing.T) { devicetest.Ahead(t, devicetest.Fixture(name), 1, to, roomy) })
	}
}
