package ops_test

import (
	"fmt"
	"math"
	"testing"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

func init() {
	opTests["reduce_sum"] = testReduceSum
	opTests["rms_norm"] = testRMSNorm
	opTests["softmax"] = testSoftmax
	opTests["sink_softmax"] = testSinkSoftmax
	opTests["sinkhorn"] = testSinkhorn
}

// shapesWithAxis are operands whose axis straddles the eight lanes, in each place.
func shapesWithAxis() (shapes [][]int, axes []int) {
	for _, n := range sizes {
		for _, c := range []struct {
			shape []int
			axis  int
		}{{[]int{n, 3}, 0}, {[]int{3, n}, 1}, {[]int{3, n}, -1}, {[]int{2, n, 5}, 1}, {[]int{0, n, 5}, 1}, {[]int{2, n, 0}, -2}} {
			shapes, axes = append(shapes, c.shape), append(axes, c.axis)
		}
	}
	return shapes, axes
}

// vectors visits the offsets of each vector along an axis.
func vectors(shape []int, axis int, visit func(at []int)) {
	if axis < 0 {
		axis += len(shape)
	}
	rest := append([]int{}, shape...)
	rest[axis] = 1
	each(rest, func(idx []int) {
		at := make([]int, shape[axis])
		for k := range at {
			idx[axis] = k
			at[k] = offset(shape, idx)
		}
		idx[axis] = 0
		visit(at)
	})
}

func testReduceSum(t *testing.T) {
	r := newSource(t, 41)
	shapes, axes := shapesWithAxis()
	shapes, axes = append(shapes, []int{3, 0}), append(axes, 1)
	for i, shape := range shapes {
		x := r.reals(shape...)
		want := result{f: []float64{}, n: shape[(axes[i]+len(shape))%len(shape)]}
		vectors(shape, axes[i], func(at []int) {
			sum, abs := 0.0, 0.0
			for _, o := range at {
				sum, abs = sum+x.f[o], abs+math.Abs(x.f[o])
			}
			want.f, want.scale = append(want.f, sum), append(want.scale, abs)
		})
		check(t, fmt.Sprint(shape, " along ", axes[i]), call{op: ops.ReduceSum, attr: ops.AxisAttr{Axis: axes[i]}}, []operand{x}, want)
	}
}

func testRMSNorm(t *testing.T) {
	r := newSource(t, 42)
	for _, n := range sizes {
		for _, shape := range [][]int{{n}, {7, n}, {0, n}, {2, 3, n}, {2, 0}} {
			for _, eps := range []float64{0, 1e-6, 0.5} {
				x := r.reals(shape...)
				want := result{f: make([]float64, len(x.f)), n: n + 8} // the sum, and some roundings after it
				vectors(shape, -1, func(at []int) {
					sum := 0.0
					for _, o := range at {
						sum += x.f[o] * x.f[o]
					}
					for _, o := range at {
						want.f[o] = x.f[o] / math.Sqrt(sum/float64(len(at))+eps)
					}
				})
				check(t, fmt.Sprint(shape, " eps ", eps), call{op: ops.RMSNorm, attr: ops.RMSNormAttr{Eps: eps}}, []operand{x}, want)
			}
		}
	}
}

// softmax is the naive one; sink is one more logit in the denominator, or -inf.
func softmax(x []float64, at []int, sink float64, out []float64) {
	top := sink
	for _, o := range at {
		top = math.Max(top, x[o])
	}
	sum := math.Exp(sink - top)
	for _, o := range at {
		sum += math.Exp(x[o] - top)
	}
	for _, o := range at {
		out[o] = math.Exp(x[o]-top) / sum
	}
}

func testSoftmax(t *testing.T) {
	r := newSource(t, 43)
	shapes, axes := shapesWithAxis()
	for i, shape := range shapes {
		x := r.reals(shape...)
		n := shape[(axes[i]+len(shape))%len(shape)]
		want := result{f: make([]float64, len(x.f)), n: n + 24} // x-max is rounded: up to 8 units more
		vectors(shape, axes[i], func(at []int) {
			for _, o := range at[1:] {
				if r.IntN(4) == 0 {
					x.f[o] = math.Inf(-1)
				}
			}
			softmax(x.f, at, math.Inf(-1), want.f)
		})
		check(t, fmt.Sprint(shape, " along ", axes[i]), call{op: ops.Softmax, attr: ops.AxisAttr{Axis: axes[i]}}, []operand{x}, want)
	}
	inf, along := math.Inf(1), call{op: ops.Softmax, attr: ops.AxisAttr{Axis: -1}}
	fails(t, along, "softmax over 2 entries whose largest is -Inf", reals(0, 0, -inf, -inf, 0, 0).as(3, 2))
	fails(t, along, "softmax over 2 entries whose largest is +Inf", reals(0, inf).as(1, 2))
	fails(t, along, "softmax over 3 entries whose largest is NaN", reals(0, math.NaN(), inf).as(1, 3))
	fails(t, along, "softmax over 0 entries whose largest is -Inf", operand{shape: []int{1, 0}, f: []float64{}})
	big := executed[float32](t, ops.Softmax, ops.AxisAttr{}, reals(3e38, -3e38, 3e38))
	if big[0] != 0.5 || big[1] != 0 || big[2] != 0.5 {
		t.Errorf("softmax of huge numbers is %v", big)
	}
}

func testSinkSoftmax(t *testing.T) {
	r := newSource(t, 44)
	c := call{op: ops.SinkSoftmax}
	for _, n := range append([]int{0}, sizes...) {
		for _, rows := range []int{0, 1, 7} {
			x, sink := r.reals(rows, 3, n), r.reals(3)
			sink.f[1] = math.Inf(-1)
			for k := range x.f {
				if n > 1 && k%4 == 1 {
					x.f[k] = math.Inf(-1)
				}
			}
			if n == 0 {
				sink.f[1] = 0.5
			}
			want := result{f: make([]float64, len(x.f)), n: n + 24}
			head := 0
			vectors(x.shape, 2, func(at []int) {
				softmax(x.f, at, sink.f[head%3], want.f)
				head++
			})
			check(t, fmt.Sprintf("%d rows of %d", rows, n), c, []operand{x, sink}, want)
		}
	}
	inf := math.Inf(1)
	fails(t, c, "softmax over 1 entries whose largest is -Inf", reals(-inf).as(1, 1, 1), reals(-inf))
	fails(t, c, "softmax over 1 entries whose largest is NaN", reals(1).as(1, 1, 1), reals(math.NaN()))
	got := executed[float64](t, ops.SinkSoftmax, nil, reals(-inf, -inf).as(1, 1, 2), reals(3))
	if got[0] != 0 || got[1] != 0 {
		t.Errorf("nothing but the sink: %v", got)
	}
}

func testSinkhorn(t *testing.T) {
	r := newSource(t, 45)
	for _, n := range []int{1, 2, 4, 7, 8, 9} {
		for _, shape := range [][]int{{n, n}, {5, n, n}, {0, n, n}, {2, 3, n, n}} {
			for _, iters := range []int{1, 2, 20} {
				const eps = 1e-6
				x := r.reals(shape...)
				want := result{f: make([]float64, len(x.f)), n: (n + 4) * 2 * iters}
				for m := 0; m < len(x.f); m += n * n {
					sinkhorn(x.f[m:m+n*n], want.f[m:m+n*n], n, iters, eps)
				}
				check(t, fmt.Sprint(shape, iters, " rounds"), call{op: ops.Sinkhorn, attr: ops.SinkhornAttr{Iters: iters, Eps: eps}}, []operand{x}, want)
			}
		}
	}
	c := call{op: ops.Sinkhorn, attr: ops.SinkhornAttr{Iters: 1}}
	fails(t, c, "softmax over 2 entries whose largest is NaN", reals(0, 0, 0, math.NaN()).as(2, 2))
	if got, err := execute[float32](c, []operand{{shape: []int{3, 0, 0}, f: []float64{}}}, false, 3); err != nil || len(got.F) != 0 {
		t.Errorf("empty matrices: %v, %v", got, err)
	}
}

// sinkhorn follows docs/model.md#residual-streams.
func sinkhorn(x, m []float64, n, iters int, eps float64) {
	row := func(i int) (at []int) {
		for j := range n {
			at = append(at, i*n+j)
		}
		return at
	}
	column := func(j int) (at []int) {
		for i := range n {
			at = append(at, i*n+j)
		}
		return at
	}
	divide := func(line func(int) []int) {
		for k := range n {
			sum := eps
			for _, o := range line(k) {
				sum += m[o]
			}
			for _, o := range line(k) {
				m[o] /= sum
			}
		}
	}
	for i := range n {
		softmax(x, row(i), math.Inf(-1), m)
	}
	for i := range m {
		m[i] += eps
	}
	divide(column)
	for range iters - 1 {
		divide(row)
		divide(column)
	}
}

// inLanes is the documented order of a sum, written down once more.
func inLanes[F tensor.Float](terms []F) F {
	var lane [8]F
	for k, x := range terms {
		lane[k%8] += x
	}
	even := (lane[0] + lane[4]) + (lane[2] + lane[6])
	odd := (lane[1] + lane[5]) + (lane[3] + lane[7])
	return even + odd
}

// TestOrderOfSums compares bits: every operation that sums does it in the
// documented order, and zeros behind change nothing.
func TestOrderOfSums(t *testing.T) {
	orderOfSums[float32](t)
	orderOfSums[float64](t)
}

func orderOfSums[F tensor.Float](t *testing.T) {
	r := newSource(t, 46)
	for n := 1; n < 70; n++ {
		a, b := r.reals(1, n), r.reals(1, n)
		products, plain := make([]F, n), make([]F, n)
		for k := range n {
			products[k], plain[k] = F(a.f[k])*F(b.f[k]), F(a.f[k])
		}
		want, wantPlain := inLanes(products), inLanes(plain)
		if longer := inLanes(append(products, make([]F, 11)...)); longer != want {
			t.Fatalf("%d terms: zeros behind change %v to %v", n, want, longer)
		}
		ids := ints(0).as(1, 1)
		for _, c := range []struct {
			name string
			call call
			args []operand
			want F
		}{
			{"matmul", call{op: ops.Matmul}, []operand{a, b}, want},
			{"einsum of rows", call{op: ops.Einsum, attr: ops.EinsumAttr{Spec: "ik,jk->ij"}}, []operand{a, b}, want},
			{"einsum of columns", call{op: ops.Einsum, attr: ops.EinsumAttr{Spec: "ki,kj->ij"}}, []operand{a.as(n, 1), b.as(n, 1)}, want},
			{"expert_matmul", call{op: ops.ExpertMatmul}, []operand{a, ids, b.as(1, 1, n)}, want},
			{"reduce_sum", call{op: ops.ReduceSum, attr: ops.AxisAttr{Axis: 1}}, []operand{a}, wantPlain},
			{"reduce_sum of columns", call{op: ops.ReduceSum, attr: ops.AxisAttr{}}, []operand{a.as(n, 1)}, wantPlain},
		} {
			got, err := execute[F](c.call, c.args, false, 3)
			if err != nil || got.F[0] != c.want {
				t.Errorf("%s of %d terms is %v (%v), want %v", c.name, n, got.F, err, c.want)
			}
		}
	}
}

func TestReductionsRefuseEmptyRank(t *testing.T) {
	_, err := ops.ReduceSum.Types(&ir.Signature{Attr: ops.AxisAttr{}, Args: []ir.Type{ir.Tensor(ir.F32, ir.Const(3))}})
	if err == nil {
		t.Error("a sum over the only dimension leaves no tensor; it was accepted")
	}
}
