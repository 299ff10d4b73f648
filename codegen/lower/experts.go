package lower

import (
	"fmt"

	"smelt/codegen/kernel"
	"smelt/ir"
	"smelt/ir/encoding"
	"smelt/passes/fusion"
)

func lowerExperts(in *Input) ([]Launch, error) {
	e, err := fusion.ViewExperts(in.Module, in.Region)
	if err != nil {
		return nil, err
	}
	if in.Kind == Prefill {
		return expertsPrefill(in, e)
	}
	return expertsDecode(in, e)
}

// expertMatrix binds the experts' matrices. A launch touches those of the
// rows' choices: at most one for each choice.
func (u *unit) expertMatrix(name, param string, ids *ir.Value) *matrix {
	before := len(u.args)
	m := u.matrix(name, param)
	if m == nil {
		return nil
	}
	rows, _ := rowsSymbol(ids)
	choices := u.in.expertsTouched(rows, dim(ids, 1), m.p.Lead)
	for i := before; i < len(u.args); i++ {
		w := u.args[i].Weight
		if w == nil || w.Table {
			continue
		}
		plane := u.in.planeBytes(m.p.Name, w.Role) / int64(m.p.Lead)
		touched := choices.Mul(ir.Const(plane))
		u.args[i].Touched = &touched
	}
	return m
}

// expertsTouched bounds how many experts a step's rows choose: each row its
// own in decode; in prefill all.
func (in *Input) expertsTouched(rows string, k, experts int) ir.Expr {
	if in.Kind == Prefill {
		return ir.Const(int64(experts))
	}
	return ir.Sym(rows).Mul(ir.Const(int64(min(k, experts))))
}

// planeBytes is the size of a parameter's plane.
func (in *Input) planeBytes(param string, r encoding.Role) int64 {
	p, err := in.Params.Get(param)
	if err != nil {
		return 0
	}
	planes, err := p.Encoding.Planes(p.Rows, p.Cols)
	if err != nil {
		return 0
	}
	for _, pl := range planes {
		if pl.Role == r {
			return int64(pl.Bytes())
		}
	}
	return 0
}

// expertsDecode is one launch: every threadgroup routes its row again (a few
// hundred scores) and makes a tile of one chosen expert's hidden vector.
func expertsDecode(in *Input, e *fusion.Experts) ([]Launch, error) {
	outputs := linearDecodeThreads / in.Target.SimdWidth * matvecRows
	u := in.begin(in.kernelName(""), kernel.Schedule{Threads: linearDecodeThreads, Settings: []kernel.Setting{
		{Name: "outputs per threadgroup", Value: fmt.Sprint(outputs), Why: "of one expert and one row"},
		{Name: "routing", Value: "in every threadgroup", Why: "a dispatch less; scores are few"},
	}}, in.doc("routing, then a tile of a chosen expert's hidden vector")...)
	r := u.router(e)
	x := u.activation4("x", e.X, kernel.Read)
	gate, up := u.expertMatrix("gate", e.Gate, e.IDs), u.expertMatrix("up", e.Up, e.IDs)
	mid := u.activation("mid", e.Mid, kernel.Write)
	if u.err != nil {
		return nil, u.err
	}
	row, choice := u.Let("row", kernel.Group(2)), u.Let("choice", kernel.Group(1))
	ids, weights := r.route(row)
	u.If(kernel.Group(0).Add(choice).Add(kernel.Thread()).Eq(i32(0)), func() { r.store(row, ids, weights) }, nil)
	expert := u.Let("expert", pick(choice, ids))
	weight := u.Let("weight", pick(choice, weights))
	first := u.Let("first", kernel.Group(0).Mul(i32(outputs)).Add(kernel.Simd().Mul(i32(matvecRows))))
	u.If(first.Lt(i32(e.F)), func() {
		in := []input{u.contiguous(x, u.Let("x_row", row.Mul(i32(dim(e.X, 1)/4))))}
		g := u.dot(u.rowsFrom(gate.open(expert), first, e.F), in)
		y := u.dot(u.rowsFrom(up.open(expert), first, e.F), in)
		u.If(kernel.Lane().Eq(i32(0)), func() {
			for j := range y {
				n := first.Add(i32(j))
				u.guard(nil, n.Lt(i32(e.F)), e.F%matvecRows != 0, func() {
					at := row.Mul(i32(e.K)).Add(choice).Mul(i32(e.F)).Add(n)
					mid.Set(at, swiglu(g[j][0], y[j][0], e.Limit).Mul(weight))
				})
			}
		}, nil)
	}, nil)
	rows, err := rowsSymbol(e.X)
	if err != nil {
		return nil, err
	}
	l, err := u.launch("", ir.Const(int64((e.F+outputs-1)/outputs)), ir.Const(int64(e.K)), ir.Sym(rows))
	return []Launch{l}, err
}

// pick is the i-th of a few values.
func pick(i *kernel.Expr, of []*kernel.Expr) *kernel.Expr {
	v := of[len(of)-1]
	for n := len(of) - 2; n >= 0; n-- {
		v = i.Eq(i32(n)).Select(of[n], v)
	}
	return v
}
