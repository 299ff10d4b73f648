package ops

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Sums and norms along an axis.
var (
	// ReduceSum adds up one axis, which goes away.
	ReduceSum = &ir.Op{
		Name: "reduce_sum", Doc: "sum along an axis, which goes away",
		Arity: ir.Arity{Min: 1, Max: 1}, Attr: AxisAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Reduction},
		Types:   reduceSumRule,
		Execute: ir.Both(reduceSum[float32], reduceSum[float64]),
	}

	// RMSNorm divides each last-axis vector by its root mean square:
	// x / sqrt(mean(x*x) + eps). The weight, if any, is a following Mul.
	RMSNorm = &ir.Op{
		Name: "rms_norm", Doc: "x / sqrt(mean(x*x) + eps) along the last axis",
		Arity: ir.Arity{Min: 1, Max: 1}, Attr: RMSNormAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Reduction},
		Types:   sameAsFirst,
		Execute: ir.Both(rmsNorm[float32], rmsNorm[float64]),
	}

	// Softmax is exp(x-max) / sum of the same, along one axis. Entries of -inf get
	// zero; an axis of only -inf is an error.
	Softmax = &ir.Op{
		Name: "softmax", Doc: "softmax along an axis; -inf entries get 0",
		Arity: ir.Arity{Min: 1, Max: 1}, Attr: AxisAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Reduction},
		Types:   softmaxRule,
		Execute: ir.Both(softmax[float32], softmax[float64]),
	}

	// SinkSoftmax is a softmax along the last axis of scores [T, H, K] with one
	// extra logit per head, sink [H], whose value vector is zero: it counts in the
	// denominator only (docs/model.md#attention).
	SinkSoftmax = &ir.Op{
		Name: "sink_softmax", Doc: "softmax along the last axis with a per-head sink in the denominator",
		Arity: ir.Arity{Min: 2, Max: 2}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Reduction},
		Types:   sinkSoftmaxRule,
		Execute: ir.Both(sinkSoftmax[float32], sinkSoftmax[float64]),
	}

	// Sinkhorn turns each n x n matrix of logits into a nearly doubly stochastic
	// one: softmax over each row, add eps, divide columns by (column sum + eps);
	// then Iters-1 times rows and columns, each divided by (sum + eps)
	// (docs/model.md#residual-streams).
	Sinkhorn = &ir.Op{
		Name: "sinkhorn", Doc: "row softmax, then alternating column and row normalisation of n x n matrices",
		Arity: ir.Arity{Min: 1, Max: 1}, Attr: SinkhornAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Reduction},
		Types:   sinkhornRule,
		Execute: ir.Both(sinkhorn[float32], sinkhorn[float64]),
	}
)

// Every sum of the evaluator has one order: element k goes to lane k mod 8,
// each lane adds its elements in ascending k, starting from zero, and the
// lanes are added as ((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7)). Products are
// rounded before they are added. The order depends on k alone, so a row's
// result depends neither on its companions nor on how a prompt was cut, and
// zeros at the end change nothing.
const lanes = 8

func foldLanes[F tensor.Float](l *[lanes]F) F {
	return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

// dot is the sum of a[k]*b[k]; len(b) >= len(a).
func dot[F tensor.Float](a, b []F) F {
	var l0, l1, l2, l3, l4, l5, l6, l7 F
	b = b[:len(a)]
	for len(a) >= lanes && len(b) >= lanes {
		l0 += F(a[0] * b[0])
		l1 += F(a[1] * b[1])
		l2 += F(a[2] * b[2])
		l3 += F(a[3] * b[3])
		l4 += F(a[4] * b[4])
		l5 += F(a[5] * b[5])
		l6 += F(a[6] * b[6])
		l7 += F(a[7] * b[7])
		a, b = a[lanes:], b[lanes:]
	}
	l := [lanes]F{l0, l1, l2, l3, l4, l5, l6, l7}
	for k := range a {
		l[k] += F(a[k] * b[k])
	}
	return foldLanes(&l)
}

// sumStrided is the sum of n elements of x from offset at, stride apart.
func sumStrided[F tensor.Float](x []F, at, n, stride int) F {
	var l [lanes]F
	for k := range n {
		l[k%lanes] += x[at+k*stride]
	}
	return foldLanes(&l)
}

// AxisAttr names the axis that [ReduceSum], [Softmax] and [Concat] work along; negative counts
// from the end.
type AxisAttr struct{ Axis int }

func reduceSumRule(s *ir.Signature) (ir.Type, error) {
	if err := operand(s, 0, ir.F32); err != nil {
		return ir.Type{}, err
	}
	t := s.Args[0]
	if t.Rank() < 2 {
		return t, fmt.Errorf("operand must have two dimensions or more")
	}
	at, err := axis(s.Attr.(AxisAttr).Axis, t.Rank())
	if err != nil {
		return t, err
	}
	return ir.Tensor(ir.F32, replaced(t.Shape, at)...), nil
}

func reduceSum[F tensor.Float](c *ir.Call[F]) error {
	x := c.Args[0].Dense()
	at, _ := axis(c.Node.Attr.(AxisAttr).Axis, len(c.Args[0].Shape))
	outer, n, inner := split(c.Args[0].Shape, at)
	out := newReal(c)
	for o := range outer {
		for i := range inner {
			out[o*inner+i] = sumStrided(x, o*n*inner+i, n, inner)
		}
	}
	return nil
}

// RMSNormAttr holds the epsilon added to the mean square.
type RMSNormAttr struct{ Eps float64 }

func rmsNorm[F tensor.Float](c *ir.Call[F]) error {
	x, eps := c.Args[0].Dense(), F(c.Node.Attr.(RMSNormAttr).Eps)
	outer, n, _ := split(c.Shape, len(c.Shape)-1)
	out := newReal(c)
	c.Parallel(outer, func(lo, hi int) {
		for o := lo; o < hi; o++ {
			row := x[o*n : (o+1)*n]
			rms := F(math.Sqrt(float64(dot(row, row)/F(n) + eps)))
			for i, v := range row {
				out[o*n+i] = v / rms
			}
		}
	})
	return nil
}

func softmaxRule(s *ir.Signature) (ir.Type, error) {
	if err := operand(s, 0, ir.F32); err != nil {
		return ir.Type{}, err
	}
	_, err := axis(s.Attr.(AxisAttr).Axis, s.Args[0].Rank())
	return s.Args[0], err
}

func softmax[F tensor.Float](c *ir.Call[F]) error {
	x := c.Args[0].Dense()
	at, _ := axis(c.Node.Attr.(AxisAttr).Axis, len(c.Shape))
	outer, n, inner := split(c.Shape, at)
	out := newReal(c)
	errs := newFirstError(outer)
	c.Parallel(outer, func(lo, hi int) {
		for o := lo; o < hi; o++ {
			for i := range inner {
				if err := softmaxAlong(out, x, o*n*inner+i, n, inner, nil); err != nil {
					errs.set(o, err)
				}
			}
		}
	})
	return errs.err()
}

// softmaxAlong handles one vector. sink, if given, is one more logit that
// counts in the denominator only.
func softmaxAlong[F tensor.Float](out, x []F, at, n, stride int, sink *F) error {
	top := F(math.Inf(-1))
	if sink != nil {
		top = *sink
	}
	for k := range n {
		if v := x[at+k*stride]; v > top || v != v {
			top = v
		}
	}
	if math.IsInf(float64(top), 0) || top != top {
		return fmt.Errorf("softmax over %d entries whose largest is %v", n, top)
	}
	for k := range n {
		out[at+k*stride] = F(num.Exp(float64(x[at+k*stride] - top)))
	}
	sum := sumStrided(out, at, n, stride)
	if sink != nil {
		sum += F(num.Exp(float64(*sink - top)))
	}
	for k := range n {
		out[at+k*stride] /= sum
	}
	return nil
}

func sinkSoftmaxRule(s *ir.Signature) (ir.Type, error) {
	if err := operands(s, ir.F32, ir.F32); err != nil {
		return ir.Type{}, err
	}
	t, sink := s.Args[0], s.Args[1]
	if t.Rank() != 3 || sink.Rank() != 1 || !sink.Shape[0].Equal(t.Shape[1]) {
		return t, fmt.Errorf("takes scores [rows, heads, keys] and a sink [heads]")
	}
	return t, nil
}

func sinkSoftmax[F tensor.Float](c *ir.Call[F]) error {
	x, sink := c.Args[0].Dense(), c.Args[1].Dense()
	outer, n, _ := split(c.Shape, 2)
	out := newReal(c)
	errs := newFirstError(outer)
	c.Parallel(outer, func(lo, hi int) {
		for o := lo; o < hi; o++ {
			if err := softmaxAlong(out, x, o*n, n, 1, &sink[o%len(sink)]); err != nil {
				errs.set(o, err)
			}
		}
	})
	return errs.err()
}

// SinkhornAttr holds the number of rounds and the epsilon of each division.
type SinkhornAttr struct {
	Iters int
	Eps   float64
}

func sinkhornRule(s *ir.Signature) (ir.Type, error) {
	if err := operand(s, 0, ir.F32); err != nil {
		return ir.Type{}, err
	}
	t := s.Args[0]
	if t.Rank() < 2 || !t.Shape[t.Rank()-1].Equal(t.Shape[t.Rank()-2]) {
		return t, fmt.Errorf("operand must end in a square matrix")
	}
	if a := s.Attr.(SinkhornAttr); a.Iters < 1 {
		return t, fmt.Errorf("iters must be 1 or more, is %d", a.Iters)
	}
	return t, nil
}

func sinkhorn[F tensor.Float](c *ir.Call[F]) error {
	a := c.Node.Attr.(SinkhornAttr)
	x, eps := c.Args[0].Dense(), F(a.Eps)
	out := newReal(c)
	n := c.Shape[len(c.Shape)-1]
	normalise := func(at, stride int) { // divides one row or column by its sum + eps
		sum := sumStrided(out, at, n, stride) + eps
		for k := range n {
			out[at+k*stride] /= sum
		}
	}
	for m := 0; m < len(x); m += n * n {
		for i := range n {
			if err := softmaxAlong(out, x, m+i*n, n, 1, nil); err != nil {
				return err
			}
		}
		for i := m; i < m+n*n; i++ {
			out[i] += eps
		}
		for round := range a.Iters {
			for i := 0; round > 0 && i < n; i++ {
				normalise(m+i*n, 1)
			}
			for j := range n {
				normalise(m+j, n)
			}
		}
	}
	return nil
}
