package ops_test

import (
	"fmt"
	"math"
	"testing"

	"smelt.example/smelt/ir/ops"
)

func init() { opTests["rope"] = testRope }

var ropes = []ops.RopeAttr{
	{Dims: 2, Theta: 10000},
	{Dims: 8, Theta: 10000},
	{Dims: 8, Theta: 10000, Inverse: true},
	{Dims: 64, Theta: 160000, Factor: 16, Original: 65536, BetaFast: 32, BetaSlow: 1},
	{Dims: 16, Theta: 160000, Factor: 4, Original: 64, BetaFast: 32, BetaSlow: 1, Inverse: true},
	{Dims: 8, Theta: 100, Factor: 8, Original: 100000, BetaFast: 1, BetaSlow: 1},
	{Dims: 8, Theta: 100, Factor: 8, Original: 6, BetaFast: 1, BetaSlow: 1}, // the ramp has no length
}

// frequencies follows docs/model.md#rope, with the standard library.
func frequencies(a ops.RopeAttr) []float64 {
	out := make([]float64, a.Dims/2)
	correction := func(beta float64) float64 {
		return float64(a.Dims) * math.Log(float64(a.Original)/(2*math.Pi*beta)) / (2 * math.Log(a.Theta))
	}
	for i := range out {
		out[i] = math.Pow(a.Theta, -2*float64(i)/float64(a.Dims))
		if a.Factor == 0 {
			continue
		}
		lo := math.Max(math.Floor(correction(a.BetaFast)), 0)
		hi := math.Min(math.Ceil(correction(a.BetaSlow)), float64(a.Dims-1))
		if lo == hi {
			hi += 0.001
		}
		ramp := math.Min(math.Max((float64(i)-lo)/(hi-lo), 0), 1)
		out[i] = out[i]*(1-ramp) + out[i]/a.Factor*ramp
	}
	return out
}

func TestRopeFrequencies(t *testing.T) {
	for _, a := range ropes {
		for i, want := range frequencies(a) {
			if got := a.Frequencies()[i]; math.Abs(got-want) > 1e-15*want {
				t.Errorf("%+v: pair %d turns by %v, want %v", a, i, got, want)
			}
		}
	}
}

func testRope(t *testing.T) {
	r := newSource(t, 81)
	for _, a := range ropes {
		for _, shape := range [][]int{{7, a.Dims}, {9, a.Dims + 3}, {2, 3, a.Dims}, {0, a.Dims}, {5, 0, a.Dims}, {1, 2, 2, a.Dims + 1}} {
			x, positions := r.reals(shape...), r.ints(0, 5000, shape[0])
			if len(positions.i) > 1 {
				positions.i[0], positions.i[1] = 0, 4999
			}
			want := result{f: append([]float64{}, x.f...), scale: make([]float64, len(x.f))}
			for i, v := range x.f {
				want.scale[i] = math.Abs(v)
			}
			f := frequencies(a)
			vector := 0
			vectors(shape, -1, func(at []int) {
				row := vector / max(1, len(x.f)/shape[len(shape)-1]/shape[0])
				vector++
				tail := at[len(at)-a.Dims:]
				for i, freq := range f {
					angle := float64(positions.i[row]) * freq
					if a.Inverse {
						angle = -angle
					}
					sin, cos := math.Sincos(angle)
					o, p := tail[2*i], tail[2*i+1]
					want.f[o], want.f[p] = x.f[o]*cos-x.f[p]*sin, x.f[o]*sin+x.f[p]*cos
					// The naive angle itself is off by 2^-52 of up to 5000; in float64 that is what shows.
					size := math.Hypot(x.f[o], x.f[p])
					want.scale[o], want.scale[p] = size+size*math.Abs(angle), size+size*math.Abs(angle)
				}
			})
			c := call{op: ops.Rope, attr: a}
			checkIn[float64](t, fmt.Sprint(a, shape, " in float64"), c, []operand{x, positions}, want)
			want.scale = pairSizes(x, a.Dims)
			checkIn[float32](t, fmt.Sprint(a, shape, " in float32"), c, []operand{x, positions}, want)
		}
	}
}

// pairSizes is |a|+|b| for each element of a rotated pair (a, b), |a| for the others.
func pairSizes(x operand, dims int) []float64 {
	out := make([]float64, len(x.f))
	vectors(x.shape, -1, func(at []int) {
		first := len(at) - dims
		for k, o := range at {
			out[o] = math.Abs(x.f[o])
			if k >= first {
				out[o] += math.Abs(x.f[at[first+((k-first)^1)]])
			}
		}
	})
	return out
}

// TestRopeTurnsBack: the inverse undoes a rotation, position 0 changes nothing.
func TestRopeTurnsBack(t *testing.T) {
	r := newSource(t, 82)
	x := r.reals(3, 8)
	there := ops.RopeAttr{Dims: 8, Theta: 10000}
	back := there
	back.Inverse = true
	turned := executed[float64](t, ops.Rope, there, x, ints(0, 5, 70000))
	again := executed[float64](t, ops.Rope, back, operand{shape: x.shape, f: turned}, ints(0, 5, 70000))
	for i := range x.f {
		if i < 8 && turned[i] != x.f[i] {
			t.Errorf("position 0 turns element %d from %v to %v", i, x.f[i], turned[i])
		}
		if math.Abs(again[i]-x.f[i]) > 1e-15*8 {
			t.Errorf("element %d was %v and comes back as %v", i, x.f[i], again[i])
		}
	}
}
