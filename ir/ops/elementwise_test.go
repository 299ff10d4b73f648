package ops_test

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

func init() {
	opTests["add"] = testBinary(ops.Add, func(a, b float64) float64 { return a + b })
	opTests["mul"] = testBinary(ops.Mul, func(a, b float64) float64 { return a * b })
	opTests["div"] = testBinary(ops.Div, func(a, b float64) float64 { return a / b })
	opTests["scale"] = testUnary(ops.Scale, ops.ByAttr{By: 0.3}, func(x float64) float64 { return x * 0.3 })
	opTests["offset"] = testUnary(ops.Offset, ops.ByAttr{By: 0.375}, func(x float64) float64 { return x + 0.375 })
	opTests["clamp"] = testUnary(ops.Clamp, ops.ClampAttr{Min: -0.5, Max: 0.75}, func(x float64) float64 { return min(max(x, -0.5), 0.75) })
	opTests["relu"] = testUnary(ops.Relu, nil, func(x float64) float64 { return max(x, 0) })
	opTests["sqrt"] = testUnary(ops.Sqrt, nil, func(x float64) float64 { return bigSqrt(x) })
	opTests["sigmoid"] = testUnary(ops.Sigmoid, nil, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) })
	opTests["silu"] = testUnary(ops.Silu, nil, func(x float64) float64 { return x / (1 + math.Exp(-x)) })
	opTests["softplus"] = testUnary(ops.Softplus, nil, func(x float64) float64 {
		return math.Log1p(math.Exp(-math.Abs(x))) + max(x, 0)
	})
}

func bigSqrt(x float64) float64 {
	if x < 0 {
		return math.NaN()
	}
	f, _ := new(big.Float).SetPrec(200).Sqrt(big.NewFloat(x)).Float64()
	return f
}

// testUnary compares f on random numbers of several sizes and magnitudes.
func testUnary(op *ir.Op, attr any, f func(float64) float64) func(t *testing.T) {
	return func(t *testing.T) {
		r := newSource(t, 31)
		for _, n := range []int{0, 1, 7, 8, 9, 1000} {
			for _, magnitude := range []float64{1, 1.0 / 1024, 16} {
				x := r.reals(n, 3)
				want := result{f: []float64{}}
				for i := range x.f {
					x.f[i] = float64(float32(x.f[i] * magnitude))
					want.f = append(want.f, f(x.f[i]))
				}
				check(t, fmt.Sprintf("%d elements of magnitude %g", len(x.f), magnitude), call{op: op, attr: attr}, []operand{x}, want)
			}
		}
	}
}

func testBinary(op *ir.Op, f func(a, b float64) float64) func(t *testing.T) {
	return func(t *testing.T) {
		r := newSource(t, 32)
		for _, c := range [][3][]int{ // a, b, result
			{{3, 4}, {3, 4}, {3, 4}},
			{{0, 4}, {4}, {0, 4}},
			{{5, 0}, {5, 1}, {5, 0}},
			{{7, 9}, {9}, {7, 9}},
			{{9}, {7, 9}, {7, 9}},
			{{7, 1}, {7, 9}, {7, 9}},
			{{7, 9}, {1}, {7, 9}},
			{{2, 3, 1}, {2, 1, 5}, {2, 3, 5}},
			{{2, 3, 4}, {3, 1}, {2, 3, 4}},
			{{1, 1, 1}, {2, 3, 4}, {2, 3, 4}},
			{{1}, {1}, {1}},
			{{2, 1, 4, 1}, {3, 1, 5}, {2, 3, 4, 5}},
		} {
			a, b := r.reals(c[0]...), r.reals(c[1]...)
			want := result{f: []float64{}}
			each(c[2], func(idx []int) {
				want.f = append(want.f, f(a.at(repeated(a.shape, idx)...), b.at(repeated(b.shape, idx)...)))
			})
			check(t, fmt.Sprint(c), call{op: op}, []operand{a, b}, want)
		}
	}
}

// repeated is the index into an operand of that shape which an index of the result means.
func repeated(shape, idx []int) []int {
	out := append([]int{}, idx[len(idx)-len(shape):]...)
	for d, n := range shape {
		if n == 1 {
			out[d] = 0
		}
	}
	return out
}

// TestElementwiseSpecials has the values for which the documentation promises something, bit for bit.
func TestElementwiseSpecials(t *testing.T) {
	inf, nan, negZero := math.Inf(1), math.NaN(), math.Copysign(0, -1)
	for _, c := range []struct {
		op       *ir.Op
		attr     any
		x, wants []float64
	}{
		{ops.Clamp, ops.ClampAttr{Min: -1, Max: 2}, []float64{nan, inf, -inf, negZero, 0, -1, 2}, []float64{nan, 2, -1, negZero, 0, -1, 2}},
		{ops.Clamp, ops.ClampAttr{Min: -inf, Max: 2}, []float64{nan, inf, -inf, 3}, []float64{nan, 2, -inf, 2}},
		{ops.Clamp, ops.ClampAttr{Min: 0, Max: 0}, []float64{5, -5, negZero}, []float64{0, 0, negZero}},
		{ops.Relu, nil, []float64{nan, inf, -inf, negZero, 0, -1}, []float64{nan, inf, 0, negZero, 0, 0}},
		{ops.Sigmoid, nil, []float64{nan, inf, -inf, 0, negZero}, []float64{nan, 1, 0, 0.5, 0.5}},
		{ops.Silu, nil, []float64{nan, inf, -inf, 0, negZero}, []float64{nan, inf, negZero, 0, negZero}},
		{ops.Softplus, nil, []float64{nan, inf, -inf, 100}, []float64{nan, inf, 0, 100}},
		{ops.Sqrt, nil, []float64{nan, inf, -1, negZero, 4}, []float64{nan, inf, nan, negZero, 2}},
		{ops.Scale, ops.ByAttr{By: -2}, []float64{nan, inf, 0, 3}, []float64{nan, -inf, negZero, -6}},
		{ops.Offset, ops.ByAttr{By: 1}, []float64{nan, inf, -1, negZero}, []float64{nan, inf, 0, 1}},
	} {
		for name, got := range map[string][]float64{
			"float32": executed[float32](t, c.op, c.attr, reals(c.x...)),
			"float64": executed[float64](t, c.op, c.attr, reals(c.x...)),
		} {
			for i, w := range c.wants {
				if !close(got[i], w, 0) {
					t.Errorf("%s %+v of %v in %s is %v, want %v", c.op.Name, c.attr, c.x[i], name, got[i], w)
				}
			}
		}
	}
}

// executed returns an operation's result as float64.
func executed[F float32 | float64](t *testing.T, op *ir.Op, attr any, args ...operand) []float64 {
	t.Helper()
	v, err := execute[F](call{op: op, attr: attr}, args, false, 3)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(v.F))
	for i, x := range v.F {
		out[i] = float64(x)
	}
	return out
}

// TestConstantsAreRounded: the constant counts in the evaluation's precision.
func TestConstantsAreRounded(t *testing.T) {
	by := 0.1
	got := executed[float32](t, ops.Scale, ops.ByAttr{By: by}, reals(3))
	if want := float64(float32(3) * float32(by)); got[0] != want {
		t.Errorf("3 * 0.1 in float32 is %v, want %v", got[0], want)
	}
	got = executed[float32](t, ops.Offset, ops.ByAttr{By: by}, reals(-float64(float32(by))))
	if got[0] != 0 {
		t.Errorf("-float32(0.1) + 0.1 in float32 is %v, want 0", got[0])
	}
}
