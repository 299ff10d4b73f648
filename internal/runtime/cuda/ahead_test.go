package cuda

import (
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/models/checkpoint"
)

var (
	_ device.Runner = (*Device)(nil)
	_ device.Timed  = (*Device)(nil)
)

// TestAhead: graphs that are played while others run leave no trace of what is taken back,
// at lengths of every residue that blocks and rings know.
func TestAhead(t *testing.T) {
	needCard(t)
	for _, name := range []string{"a-bf16", "b-official-fp8fp4", "c-mlx-4bit-stacked"} {
		t.Run(name, func(t *testing.T) { devicetest.Ahead(t, devicetest.Fixture(name), 1, 320, blindly) })
	}
}

// blindly is blind without poison, which waits for the card before each step.
func blindly(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, _ func(string, []byte)) device.Planned {
	t.Helper()
	d := opened(t, b, ck, Options{Kept: devicetest.KeptRoom})
	if !d.Ahead() {
		t.Fatal("the card is said not to work beside the host")
	}
	return d
}
