package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// reader reads n elements (1, 2 or 4) of a row of input from column k on, a
// multiple of n.
type reader func(k *kernel.Expr, n int) []*kernel.Expr

// rowsOf is an activation that is read in vectors of 1, 2 or 4 elements.
type rowsOf struct {
	u     *emitter
	name  string
	v     *ir.Value
	bound map[int]kernel.Buffer // by elements
}

// rowsOf binds an activation in vectors of n elements, to begin with.
func (u *emitter) rowsOf(name string, v *ir.Value, n int) *rowsOf {
	r := &rowsOf{u: u, name: name, v: v, bound: map[int]kernel.Buffer{}}
	r.as(n)
	return r
}

// as is the activation as vectors of n elements.
func (r *rowsOf) as(n int) kernel.Buffer {
	b, ok := r.bound[n]
	if ok {
		return b
	}
	b = r.u.bind(r.u.Pointer(r.name, kernel.Vec(kernel.F32, n), kernel.Read), program.Arg{Value: r.v})
	if len(r.bound) > 0 {
		r.u.accesses(ir.Const(0)) // counted with the first
	}
	r.bound[n] = b
	return b
}

// reader reads the row that begins at a vector of four.
func (r *rowsOf) reader(firstQuad *kernel.Expr) reader {
	return func(k *kernel.Expr, n int) []*kernel.Expr {
		at := k.Div(i32(n))
		if !r.u.stages() {
			at = quotient(k, n)
		}
		v := r.u.Let("x4", r.as(n).At(firstQuad.Mul(i32(4/n)).Add(at)))
		if n == 1 {
			return []*kernel.Expr{v}
		}
		x := make([]*kernel.Expr, n)
		for i := range x {
			x[i] = v.Lane(i)
		}
		return x
	}
}
