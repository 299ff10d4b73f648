package fusion

import (
	"slices"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Norm is an RMS norm: x / sqrt(mean(x^2)+Eps), times the parameter Weight if
// it is not empty.
type Norm struct {
	Eps    float64
	Weight string
}

// Postprocess lists the operations on a vector before it is stored or compared: norm, rotation,
// transform and rounding, in this order; each may be absent.
type Postprocess struct {
	Norm     *Norm
	Rope     *ops.RopeAttr
	Hadamard bool
	Round    []ops.RoundAttr
}

// postprocess walks back from a finished vector v to what it was made from:
// norm, rotation, transform and rounding, each of which may be absent.
// positions are the rotation's, nil if there is none.
func (w *walk) postprocess(v *ir.Value) (f Postprocess, x, positions *ir.Value) {
	for w.is(v, ops.RoundTo) {
		n := w.def(v, ops.RoundTo)
		f.Round = append(f.Round, n.Attr.(ops.RoundAttr))
		v = n.Args[0]
	}
	slices.Reverse(f.Round)
	if w.is(v, ops.Hadamard) {
		f.Hadamard = true
		v = w.def(v, ops.Hadamard).Args[0]
	}
	if w.is(v, ops.Rope) {
		n := w.def(v, ops.Rope)
		a := n.Attr.(ops.RopeAttr)
		f.Rope, v, positions = &a, n.Args[0], n.Args[1]
	}
	if norm, x := w.norm(v); norm != nil {
		f.Norm, v = norm, x
	}
	return f, v, positions
}

// norm walks back over an RMS norm and its weight; nil if v is not one.
func (w *walk) norm(v *ir.Value) (*Norm, *ir.Value) {
	var out Norm
	if w.isNormed(v) && w.is(v, ops.Mul) {
		normed, factor := w.operands(w.def(v, ops.Mul), w.isOp(ops.RMSNorm))
		out.Weight, v = w.vector(factor, w.size(v, -1)), normed
	}
	if !w.is(v, ops.RMSNorm) {
		return nil, v
	}
	n := w.def(v, ops.RMSNorm)
	out.Eps = n.Attr.(ops.RMSNormAttr).Eps
	return &out, n.Args[0]
}

// isNormed reports whether v is an RMS norm, with or without a weight.
func (w *walk) isNormed(v *ir.Value) bool {
	if !w.is(v, ops.Mul) {
		return w.is(v, ops.RMSNorm)
	}
	a, b := v.Def.Args[0], v.Def.Args[1]
	return w.is(a, ops.RMSNorm) && w.isWeight(b) || w.is(b, ops.RMSNorm) && w.isWeight(a)
}

// isFinished reports whether v ends in any step of finish.
func (w *walk) isFinished(v *ir.Value) bool {
	return w.is(v, ops.RoundTo) || w.is(v, ops.Hadamard) || w.is(v, ops.Rope) || w.isNormed(v)
}

// swiglu walks back from silu(min(gate, limit)) * clamp(up, -limit, limit),
// with limit 0 where neither is clamped.
func (w *walk) swiglu(v *ir.Value) (gate, up *ir.Value, limit float64) {
	active, up := w.operands(w.def(v, ops.Mul), w.isOp(ops.Silu))
	gate = w.def(active, ops.Silu).Args[0]
	if !w.is(gate, ops.Clamp) {
		w.check(!w.is(up, ops.Clamp), up, "is clamped, but the gate is not")
		return gate, up, 0
	}
	g, u := w.def(gate, ops.Clamp), w.def(up, ops.Clamp)
	high, both := g.Attr.(ops.ClampAttr), u.Attr.(ops.ClampAttr)
	limit = high.Max
	w.check(isBelow(high.Min) && limit > 0 && both.Max == limit && both.Min == -limit, u.Result,
		"expected limits -L and L, and L alone for the gate; are %v, %v and %v", both.Min, both.Max, high)
	return g.Args[0], u.Args[0], limit
}
