package ops

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Shapes and ranges: elements keep their values and their order.
var (
	// Reshape keeps the elements in order under another shape.
	Reshape = &ir.Op{
		Name: "reshape", Doc: "the same elements in order, in another shape",
		Arity: ir.Arity{Min: 1, Max: 1}, Attr: ShapeAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:   reshapeRule,
		Execute: ir.Both(reshape[float32], reshape[float64]),
	}

	// Broadcast repeats dimensions of 1 up to the sizes of its attribute.
	Broadcast = &ir.Op{
		Name: "broadcast", Doc: "repeat dimensions of 1 up to a shape of the same rank",
		Arity: ir.Arity{Min: 1, Max: 1}, Attr: ShapeAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:   broadcastRule,
		Execute: ir.Both(broadcast[float32], broadcast[float64]),
	}

	// Slice keeps a range of one axis.
	Slice = &ir.Op{
		Name: "slice", Doc: "elements [from, from+count) of an axis",
		Arity: ir.Arity{Min: 1, Max: 1}, Attr: SliceAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:   sliceRule,
		Execute: ir.Both(slice[float32], slice[float64]),
	}

	// Concat joins two or more tensors along an axis.
	Concat = &ir.Op{
		Name: "concat", Doc: "operands one after the other along an axis",
		Arity: ir.Arity{Min: 2, Max: 16}, Attr: AxisAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:   concatRule,
		Execute: ir.Both(concat[float32], concat[float64]),
	}
)

// ShapeAttr is the shape that [Reshape] and [Broadcast] give their result.
type ShapeAttr struct{ Shape []ir.Expr }

func reshapeRule(s *ir.Signature) (ir.Type, error) {
	t, want := s.Args[0], s.Attr.(ShapeAttr).Shape
	if t.State {
		return t, fmt.Errorf("operand must be a tensor")
	}
	if from, to := product(t.Shape), product(want); len(want) == 0 || !from.Equal(to) {
		return t, fmt.Errorf("%s elements do not fit shape %s", from, want)
	}
	return ir.Tensor(t.Elem, want...), nil
}

func product(shape []ir.Expr) ir.Expr {
	p := ir.Const(1)
	for _, d := range shape {
		p = p.Mul(d)
	}
	return p
}

func reshape[F tensor.Float](c *ir.Call[F]) error {
	c.Out = tensor.Value[F]{Shape: c.Shape}
	var err error
	if c.Node.Result.Type.Elem == ir.I32 {
		c.Out.I, err = c.Args[0].Ints()
	} else {
		c.Out.F = c.Args[0].Dense()
	}
	return err
}

func broadcastRule(s *ir.Signature) (ir.Type, error) {
	if err := operand(s, 0, ir.F32); err != nil {
		return ir.Type{}, err
	}
	t := s.Args[0]
	want := s.Attr.(ShapeAttr).Shape
	ok := len(want) == t.Rank()
	for i := 0; ok && i < len(want); i++ {
		ok = t.Shape[i].Equal(want[i]) || isOne(t.Shape[i])
	}
	if !ok {
		return t, fmt.Errorf("shape %s does not repeat to %s", t.Shape, want)
	}
	return ir.Tensor(ir.F32, want...), nil
}

func broadcast[F tensor.Float](c *ir.Call[F]) error {
	x := c.Args[0].Dense()
	steps := broadcastStrides(c.Args[0].Shape, c.Shape)
	out := newReal(c)
	walk(c.Shape, steps, steps, func(o, i, _ int) { out[o] = x[i] })
	return nil
}

// SliceAttr cuts [From, From+Count) out of an axis.
type SliceAttr struct{ Axis, From, Count int }

func sliceRule(s *ir.Signature) (ir.Type, error) {
	if err := operand(s, 0, ir.F32); err != nil {
		return ir.Type{}, err
	}
	t := s.Args[0]
	a := s.Attr.(SliceAttr)
	at, err := axis(a.Axis, t.Rank())
	if err != nil {
		return t, err
	}
	n, known := t.Shape[at].Value()
	if !known || a.From < 0 || a.Count <= 0 || int64(a.From) > n-int64(a.Count) {
		return t, fmt.Errorf("[%d, %d+%d) is not a range of an axis of %s", a.From, a.From, a.Count, t.Shape[at])
	}
	return ir.Tensor(ir.F32, replaced(t.Shape, at, ir.Const(int64(a.Count)))...), nil
}

func slice[F tensor.Float](c *ir.Call[F]) error {
	a := c.Node.Attr.(SliceAttr)
	x, shape := c.Args[0].Dense(), c.Args[0].Shape
	at, _ := axis(a.Axis, len(shape))
	outer, n, inner := split(shape, at)
	out := newReal(c)
	for o := range outer {
		from := (o*n + a.From) * inner
		copy(out[o*a.Count*inner:(o+1)*a.Count*inner], x[from:])
	}
	return nil
}

func concatRule(s *ir.Signature) (ir.Type, error) {
	first := s.Args[0]
	if first.State {
		return first, fmt.Errorf("operands must be tensors")
	}
	at, err := axis(s.Attr.(AxisAttr).Axis, first.Rank())
	if err != nil {
		return first, err
	}
	var sum ir.Expr
	for i, t := range s.Args {
		if t.State || t.Elem != first.Elem || t.Rank() != first.Rank() ||
			!slices.EqualFunc(replaced(t.Shape, at), replaced(first.Shape, at), ir.Expr.Equal) {
			return t, fmt.Errorf("operand %d differs from the first outside axis %d", i, at)
		}
		sum = sum.Add(t.Shape[at])
	}
	return ir.Tensor(first.Elem, replaced(first.Shape, at, sum)...), nil
}

func concat[F tensor.Float](c *ir.Call[F]) error {
	at, _ := axis(c.Node.Attr.(AxisAttr).Axis, len(c.Shape))
	if c.Node.Result.Type.Elem == ir.I32 {
		return join(newInts(c), c, at, tensor.Value[F].Ints)
	}
	return join(newReal(c), c, at, func(v tensor.Value[F]) ([]F, error) { return v.Dense(), nil })
}

func join[E any, F tensor.Float](out []E, c *ir.Call[F], at int, data func(tensor.Value[F]) ([]E, error)) error {
	outer, n, inner := split(c.Shape, at)
	from := 0
	for _, arg := range c.Args {
		x, err := data(arg)
		if err != nil {
			return err
		}
		run := arg.Shape[at] * inner
		for o := range outer {
			copy(out[o*n*inner+from:], x[o*run:(o+1)*run])
		}
		from += run
	}
	return nil
}
