package ops

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Add, Mul and Div combine two tensors whose shapes agree from the last
// dimension backwards; a dimension of 1, or one that is not there, repeats.
var (
	Add = binary("add", "a + b, with dimensions of 1 repeated", add[float32], add[float64])
	Mul = binary("mul", "a * b, with dimensions of 1 repeated", mul[float32], mul[float64])
	Div = binary("div", "a / b, with dimensions of 1 repeated", div[float32], div[float64])
)

func add[F tensor.Float](a, b F) F { return a + b }
func mul[F tensor.Float](a, b F) F { return a * b }
func div[F tensor.Float](a, b F) F { return a / b }

func binary(name, doc string, f32 func(a, b float32) float32, f64 func(a, b float64) float64) *ir.Op {
	return &ir.Op{
		Name: name, Doc: doc, Arity: ir.Arity{Min: 2, Max: 2},
		Effect: ir.Pure, Class: ir.Class{Kind: ir.Elementwise, ULP: 1},
		Types: binaryRule,
		Execute: ir.Both(
			func(c *ir.Call[float32]) error { return zip(c, f32) },
			func(c *ir.Call[float64]) error { return zip(c, f64) }),
	}
}

func binaryRule(s *ir.Signature) (ir.Type, error) {
	if err := operands(s, ir.F32, ir.F32); err != nil {
		return ir.Type{}, err
	}
	a, b := s.Args[0], s.Args[1]
	long, short := a.Shape, b.Shape
	if len(short) > len(long) {
		long, short = short, long
	}
	out := append([]ir.Expr(nil), long...)
	skip := len(long) - len(short)
	for i, d := range short {
		switch l := long[skip+i]; {
		case l.Equal(d) || isOne(d):
		case isOne(l):
			out[skip+i] = d
		default:
			return a, fmt.Errorf("sizes %s and %s do not combine", a.Shape, b.Shape)
		}
	}
	return ir.Tensor(ir.F32, out...), nil
}

func isOne(e ir.Expr) bool { n, ok := e.Value(); return ok && n == 1 }

func zip[F tensor.Float](c *ir.Call[F], f func(a, b F) F) error {
	a, b := c.Args[0].Dense(), c.Args[1].Dense()
	sa, sb := broadcastStrides(c.Args[0].Shape, c.Shape), broadcastStrides(c.Args[1].Shape, c.Shape)
	out := newReal(c)
	walk(c.Shape, sa, sb, func(o, i, j int) { out[o] = f(a[i], b[j]) })
	return nil
}

// broadcastStrides gives each dimension of shape the step it means in an array
// of the smaller shape from; 0 where from repeats.
func broadcastStrides(from, shape []int) []int {
	out := make([]int, len(shape))
	step := 1
	for i := 1; i <= len(from); i++ {
		d := from[len(from)-i]
		if d != 1 {
			out[len(shape)-i] = step
		}
		step *= d
	}
	return out
}

// walk visits every element of shape in order, with the offsets that two
// stride vectors give.
func walk(shape, sa, sb []int, visit func(o, i, j int)) {
	if tensor.Len(shape) == 0 {
		return
	}
	at := make([]int, len(shape))
	last := len(shape) - 1
	o, i, j := 0, 0, 0
	for {
		for range shape[last] {
			visit(o, i, j)
			o, i, j = o+1, i+sa[last], j+sb[last]
		}
		i, j = i-shape[last]*sa[last], j-shape[last]*sb[last]
		d := last - 1
		for ; d >= 0; d-- {
			at[d]++
			i, j = i+sa[d], j+sb[d]
			if at[d] < shape[d] {
				break
			}
			i, j = i-shape[d]*sa[d], j-shape[d]*sb[d]
			at[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

// ByAttr is the constant of Scale and Offset. It is rounded to the
// evaluation's precision before it is used.
type ByAttr struct{ By float64 }

// ClampAttr bounds Clamp, Min <= Max; either may be infinite. Both are rounded
// to the evaluation's precision before they are used.
type ClampAttr struct{ Min, Max float64 }

// Functions of one element. Transcendental ones are computed in float64 and
// rounded once.
var (
	Scale = unary("scale", "x * by", ByAttr{}, 1,
		func(a any) func(float32) float32 { return scaleBy[float32](a) },
		func(a any) func(float64) float64 { return scaleBy[float64](a) })
	Offset = unary("offset", "x + by", ByAttr{}, 1,
		func(a any) func(float32) float32 { return offsetBy[float32](a) },
		func(a any) func(float64) float64 { return offsetBy[float64](a) })
	Clamp = withRule(clampRule, unary("clamp", "min where x < min, max where x > max, else x; NaN stays NaN", ClampAttr{}, 1,
		func(a any) func(float32) float32 { return clampTo[float32](a) },
		func(a any) func(float64) float64 { return clampTo[float64](a) }))
	Sigmoid  = function("sigmoid", "1 / (1 + exp(-x))", num.Sigmoid)
	Silu     = function("silu", "x * sigmoid(x)", num.Silu)
	Relu     = function("relu", "0 where x < 0, else x; NaN stays NaN", relu)
	Softplus = function("softplus", "log(1 + exp(x))", num.Softplus)
	Sqrt     = function("sqrt", "square root", math.Sqrt)
)

func scaleBy[F tensor.Float](attr any) func(F) F {
	by := F(attr.(ByAttr).By)
	return func(x F) F { return x * by }
}

func offsetBy[F tensor.Float](attr any) func(F) F {
	by := F(attr.(ByAttr).By)
	return func(x F) F { return x + by }
}

func clampTo[F tensor.Float](attr any) func(F) F {
	lo, hi := F(attr.(ClampAttr).Min), F(attr.(ClampAttr).Max)
	return func(x F) F {
		switch {
		case x < lo:
			return lo
		case x > hi:
			return hi
		}
		return x
	}
}

func clampRule(s *ir.Signature) (ir.Type, error) {
	if a := s.Attr.(ClampAttr); !(a.Min <= a.Max) {
		return ir.Type{}, fmt.Errorf("min %v must be at most max %v", a.Min, a.Max)
	}
	return sameAsFirst(s)
}

func withRule(rule func(*ir.Signature) (ir.Type, error), op *ir.Op) *ir.Op {
	op.Types = rule
	return op
}

func relu(x float64) float64 {
	if x < 0 {
		return 0
	}
	return x
}

// function makes the row of an attribute-less function of one element.
func function(name, doc string, f func(float64) float64) *ir.Op {
	return unary(name, doc, nil, 2,
		func(any) func(float32) float32 { return func(x float32) float32 { return float32(f(float64(x))) } },
		func(any) func(float64) float64 { return f })
}

func unary(name, doc string, attr any, ulp int, f32 func(any) func(float32) float32, f64 func(any) func(float64) float64) *ir.Op {
	return &ir.Op{
		Name: name, Doc: doc, Arity: ir.Arity{Min: 1, Max: 1}, Attr: attr,
		Effect: ir.Pure, Class: ir.Class{Kind: ir.Elementwise, ULP: ulp},
		Types: sameAsFirst,
		Execute: ir.Both(
			func(c *ir.Call[float32]) error { return apply(c, f32(c.Node.Attr)) },
			func(c *ir.Call[float64]) error { return apply(c, f64(c.Node.Attr)) }),
	}
}

func apply[F tensor.Float](c *ir.Call[F], f func(F) F) error {
	x := c.Args[0].Dense()
	out := newReal(c)
	c.Parallel(len(x), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			out[i] = f(x[i])
		}
	})
	return nil
}
