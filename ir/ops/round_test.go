package ops_test

import (
	"fmt"
	"math"
	"math/bits"
	"testing"

	"smelt.example/smelt/ir/ops"
)

func init() {
	opTests["hadamard"] = testHadamard
	opTests["round_to"] = testRoundTo
}

// testHadamard compares with the matrix of signs.
func testHadamard(t *testing.T) {
	r := newSource(t, 81)
	for _, n := range []int{1, 2, 4, 8, 32, 64, 128} {
		for _, lead := range [][]int{{1}, {0}, {7}, {3, 5}} {
			x := r.reals(append(lead, n)...)
			want := result{f: []float64{}, n: bits.Len(uint(n)) + 2} // the sum's depth, the constant and the product
			each(x.shape, func(idx []int) {
				row := append([]int{}, idx...)
				var s sum
				for k := range n {
					row[len(row)-1] = k
					sign := 1 - 2*float64(bits.OnesCount(uint(k&idx[len(idx)-1]))%2)
					s.add(sign * x.at(row...) / math.Sqrt(float64(n)))
				}
				want.append(s)
			})
			check(t, fmt.Sprint(x.shape), call{op: ops.Hadamard}, []operand{x}, want)
		}
	}
	for _, shape := range [][]int{{3, 6}, {4, 0}} {
		fails(t, call{op: ops.Hadamard}, fmt.Sprintf("the last dimension, %d, must be a power of two", shape[1]), r.reals(shape...))
	}
}

// TestHadamardOrder: the documented order of additions, on numbers where another order shows.
func TestHadamardOrder(t *testing.T) {
	a, b, c, d := float32(1), float32(0x1p-24), float32(-1), float32(0x1p-25)
	want := (((a + b) + (c + d)) * 0.5)
	if got := executed[float32](t, ops.Hadamard, nil, reals(float64(a), float64(b), float64(c), float64(d)))[0]; got != float64(want) {
		t.Errorf("sum of four is %g, want %g", got, want)
	}
}

// grids lists the magnitudes of the block formats, in order of their codes.
func grids(format string) (grid []float64, largest, least float64) {
	if format == "e2m1" {
		return []float64{0, 0.5, 1, 1.5, 2, 3, 4, 6}, 6, 0x1p-126
	}
	for m := range 8 {
		grid = append(grid, float64(m)/512)
	}
	for e := -6; e <= 8; e++ {
		for m := range 8 {
			grid = append(grid, math.Ldexp(1+float64(m)/8, e))
		}
	}
	return grid[:len(grid)-1], 448, 0x1p-22 // the last code is NaN
}

// roundBlock scales by doubling until the largest element fits, and searches the grid.
func roundBlock(format string, x []float64) []float64 {
	grid, largest, scale := grids(format)
	for _, v := range x {
		for math.Abs(v) > largest*scale {
			scale *= 2
		}
	}
	out := make([]float64, len(x))
	for i, v := range x {
		best := 0
		for k, g := range grid {
			near, far := math.Abs(math.Abs(v)/scale-g), math.Abs(math.Abs(v)/scale-grid[best])
			if near < far || near == far && k%2 == 0 {
				best = k
			}
		}
		out[i] = math.Copysign(grid[best]*scale, v)
	}
	return out
}

func testRoundTo(t *testing.T) {
	r := newSource(t, 82)
	for _, a := range []ops.RoundAttr{
		{Format: "e4m3", Block: 64, Count: 64}, {Format: "e4m3", Block: 64, Count: 96}, {Format: "e4m3", Block: 8, From: 3, Count: 70},
		{Format: "e2m1", Block: 32, Count: 64}, {Format: "e2m1", Block: 32, Count: 128}, {Format: "e2m1", Block: 5, From: 127, Count: 1},
		{Format: "e4m3", Block: 1000, Count: 128}, {Format: "bf16", Count: 128}, {Format: "bf16", From: 7, Count: 9},
	} {
		for _, lead := range [][]int{{0}, {1}, {9}, {2, 3}} {
			for _, magnitude := range []float64{1, 0x1p-30, 3e20, 0} {
				x := r.reals(append(lead, 128)...)
				for i := range x.f {
					x.f[i] = float64(float32(x.f[i] * magnitude * math.Exp2(float64(r.IntN(6)))))
				}
				want := result{f: append([]float64{}, x.f...)}
				for at := 0; at < len(x.f); at += 128 {
					naiveRound(a, want.f[at+a.From:at+a.From+a.Count])
				}
				check(t, fmt.Sprint(a, x.shape, magnitude), call{op: ops.RoundTo, attr: a}, []operand{x}, want)
				check(t, "again", call{op: ops.RoundTo, attr: a}, []operand{{shape: x.shape, f: want.f}}, want)
			}
		}
	}
	for _, c := range []struct {
		attr ops.RoundAttr
		want string
	}{
		{ops.RoundAttr{Format: "e4m3", Block: 8}, "[0, 0+0) is not a range of the last dimension, 9"},
		{ops.RoundAttr{Format: "e4m3", Block: 8, From: 8, Count: 2}, "[8, 8+2) is not a range of the last dimension, 9"},
		{ops.RoundAttr{Format: "e4m3", Block: 8, From: -1, Count: 2}, "[-1, -1+2) is not a range of the last dimension, 9"},
		{ops.RoundAttr{Format: "bf16", From: 2, Count: math.MaxInt}, "[2, 2+9223372036854775807) is not a range of the last dimension, 9"},
		{ops.RoundAttr{Format: "e4m3", Count: 2}, "e4m3 needs a block of 1 or more, is 0"},
		{ops.RoundAttr{Format: "bf16", Block: 8, Count: 2}, "bf16 has no blocks; block is 8"},
		{ops.RoundAttr{Format: "fp8", Block: 8, Count: 2}, `format "fp8" must be bf16, e4m3 or e2m1`},
	} {
		fails(t, call{op: ops.RoundTo, attr: c.attr}, c.want, r.reals(2, 9))
	}
}

func naiveRound(a ops.RoundAttr, x []float64) {
	for at := 0; at < len(x); at += max(a.Block, 1) {
		block := x[at:min(at+max(a.Block, 1), len(x))]
		if a.Format != "bf16" {
			copy(block, roundBlock(a.Format, block))
			continue
		}
		_, e := math.Frexp(block[0])
		unit := math.Ldexp(1, e-8)
		block[0] = math.RoundToEven(block[0]/unit) * unit
	}
}

// TestRoundToSpecials has ties, edges of the scale's steps and values that are no numbers.
func TestRoundToSpecials(t *testing.T) {
	inf, nan, up := math.Inf(1), math.NaN(), float64(math.Nextafter32(448, 500))
	negZero := math.Copysign(0, -1)
	e4m3 := ops.RoundAttr{Format: "e4m3", Block: 64, Count: 4}
	e2m1 := ops.RoundAttr{Format: "e2m1", Block: 32, Count: 4}
	bf16 := ops.RoundAttr{Format: "bf16", Count: 4}
	for _, c := range []struct {
		attr ops.RoundAttr
		x, y []float64
	}{
		{e4m3, []float64{448, 17, 19, 0x1p-10}, []float64{448, 16, 20, 0}},                              // scale 1; ties to even, half of the smallest to zero
		{e4m3, []float64{up, 18, 38, 3 * 0x1p-10}, []float64{448, 18, 40, 2 * 0x1p-9}},                  // scale 2 above 448
		{e4m3, []float64{1e-4, 0x1p-31, 3 * 0x1p-32, 0}, []float64{416 * 0x1p-22, 0x1p-31, 0x1p-30, 0}}, // the least scale
		{e4m3, []float64{0, negZero, 0, 0}, []float64{0, negZero, 0, 0}},
		{e4m3, []float64{nan, 448, -17, 0}, []float64{nan, 448, -16, 0}},
		{e2m1, []float64{6, 2.5, 3.5, -5}, []float64{6, 2, 4, -4}},
		{e2m1, []float64{6.25, 0.5, 1.5, -7}, []float64{6, 0, 2, -8}}, // scale 2
		{e2m1, []float64{0, 0, 0, negZero}, []float64{0, 0, 0, negZero}},
		{e2m1, []float64{0x1p-126, 0x1p-127, 0x1p-128, 0x1p-149}, []float64{0x1p-126, 0x1p-127, 0, 0}}, // the least scale
		{e2m1, []float64{nan, 6, 1, 0}, []float64{6, 6, 1, 0}},
		{bf16, []float64{1 + 0x1p-8, 1 + 3*0x1p-8, nan, -inf}, []float64{1, 1 + 0x1p-6, nan, -inf}},
	} {
		for name, got := range map[string][]float64{
			"float32": executed[float32](t, ops.RoundTo, c.attr, reals(c.x...)),
			"float64": executed[float64](t, ops.RoundTo, c.attr, reals(c.x...)),
		} {
			for i, w := range c.y {
				if !close(got[i], w, 0) {
					t.Errorf("%+v of %v in %s is %v, want %v", c.attr, c.x, name, got, c.y)
					break
				}
			}
		}
	}
	// float64 values that float32 would round to a tie
	got := executed[float64](t, ops.RoundTo, bf16, reals(1+0x1p-8+0x1p-40, 1+0x1p-8-0x1p-40, -1-0x1p-8-0x1p-40, 0x1p-133+0x1p-160))
	for i, w := range []float64{1 + 0x1p-7, 1, -1 - 0x1p-7, 0x1p-133} {
		if got[i] != w {
			t.Errorf("bf16 of float64 gives %v", got)
		}
	}
}
