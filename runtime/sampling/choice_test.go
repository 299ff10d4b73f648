package sampling

import (
	"math"
	"testing"
)

// TestChoice: fixed point, the edges of each filter, and what is off.
func TestChoice(t *testing.T) {
	p := Params{Temperature: 0.5, TopK: 40, TopP: 0.75, MinP: 0.25, Seed: 5}
	if got, want := p.Choice(7, 9), (Choice{Inv: 2, TopK: 40, TopP: 3 << 30, MinP: 1 << 22, Random: random(5, 7, 9)}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := (Params{TopK: 3, TopP: 0.1, MinP: 1, Seed: 4}).Choice(1, 2); got != (Choice{}) {
		t.Errorf("greedy is %+v", got)
	}
	for _, c := range []struct {
		temperature float64
		want        float32
	}{{math.SmallestNonzeroFloat64, math.MaxFloat32}, {math.MaxFloat64, 0x1p-126}} {
		if got := (Params{Temperature: c.temperature, TopP: 1}).Choice(0, 0); got.Inv != c.want || got.TopP != 0 {
			t.Errorf("temperature %g: %+v", c.temperature, got)
		}
	}
	// A share that rounds up to all is off; the least is kept apart from off.
	for p, want := range map[float64]uint32{1: 0, math.Nextafter(1, 0): 0, 1 - 0x1p-32: math.MaxUint32, 1e-300: 1} {
		if got := (Params{Temperature: 1, TopP: p}).Choice(0, 0).TopP; got != want {
			t.Errorf("top-p %g: %d, expected %d", p, got, want)
		}
	}
}
