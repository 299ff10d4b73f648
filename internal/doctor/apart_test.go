package doctor

import (
	"math"
	"testing"
)

func TestApart(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		a, b []float32
		want float64
	}{
		{nil, nil, 0},
		{[]float32{1, -4, 0, 0}, []float32{1, -4, 0, 0}, 0},
		{[]float32{1, -4, 8, 2}, []float32{1, -3, 8, 1}, 0.25}, // of 4; of 8 in the other row
		{[]float32{1, -4}, []float32{1}, -1},
		{[]float32{1, nan}, []float32{1, 2}, -1},
		{[]float32{1, 2}, []float32{1, nan}, -1},
		{[]float32{1, nan}, []float32{1, nan}, 0},
		{[]float32{1, inf}, []float32{1, inf}, 0},
		{[]float32{1, 2}, []float32{1, inf}, -1},
		{[]float32{0, 0}, []float32{0, 1}, -1}, // beyond any share of nothing
	} {
		if got := apart(c.a, c.b, 2); got != c.want {
			t.Errorf("%v and %v: %g, expected %g", c.a, c.b, got, c.want)
		}
	}
}
