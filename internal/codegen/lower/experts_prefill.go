package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// expertsPrefill makes three launches: "route" chooses and weighs, "group" and
// "hidden" are a grouped GEMM.
func expertsPrefill(in *Input, e *fusion.Experts) ([]program.Launch, error) {
	rows, err := rowsSymbol(e.X)
	if err != nil {
		return nil, err
	}
	weights := &program.Scratch{Name: "weights", Bytes: ir.Sym(rows).Mul(ir.Const(int64(4 * e.K)))}
	route, err := expertsRoute(in, e, rows, weights)
	if err != nil {
		return nil, err
	}
	group, l, err := groupChoices(in, e.IDs, e.Experts)
	if err != nil {
		return nil, err
	}
	hidden, err := expertsHidden(in, e, l, weights)
	return []program.Launch{route, group, hidden}, err
}

// expertsRoute: a SIMD group a row.
func expertsRoute(in *Input, e *fusion.Experts, rows string, weights *program.Scratch) (program.Launch, error) {
	groups := in.Target.Groups(4)
	u := in.begin(in.kernelName("route"), kernel.Schedule{Threads: groups * in.Target.SimdWidth}, in.doc("a row's experts and their weights, a SIMD group a row")...)
	r := u.router(e)
	to := u.scratch("choice_weights", weights, kernel.F32, kernel.Write)
	if u.err != nil {
		return program.Launch{}, u.err
	}
	row := u.Let("row", kernel.Group(0).Mul(i32(groups)).Add(kernel.Simd()))
	u.If(row.Lt(u.StepValue(rows)), func() {
		c := r.route(row, func(id *kernel.Expr) *kernel.Expr { return r.key(row, id) })
		r.store(row, c)
		r.each(c, func(k, _, weight *kernel.Expr) { to.Set(row.Mul(i32(e.K)).Add(k), weight) })
	}, nil)
	return u.launch("route", ceilDiv(ir.Sym(rows), groups))
}

// expertsHidden is silu(gate)*up times the weight, for every choice.
func expertsHidden(in *Input, e *fusion.Experts, l *lists, weights *program.Scratch) (program.Launch, error) {
	u := in.begin(in.kernelName("hidden"), in.tiling().listSchedule(), in.doc("the experts' hidden vectors, in tiles of each expert's rows")...)
	gate, up := u.expertMatrix("gate", e.Gate, e.IDs), u.expertMatrix("up", e.Up, e.IDs)
	x, d := u.activation("x", e.X, kernel.Read), dim(e.X, 1)
	ws := u.scratch("choice_weights", weights, kernel.F32, kernel.Read)
	mid := u.activation("mid", e.Mid, kernel.Write)
	if u.err != nil {
		return program.Launch{}, u.err
	}
	p := u.listed(l)
	g, m := gate.open(p.expert), up.open(p.expert)
	p.tiles(func(t *tileOfList) {
		load := func(r *kernel.Expr) tileRow { return t.row(r, x, t.choice(r).Div(i32(e.K)), d) }
		p.multiply(g, t.left(), load)
		gates := p.gemm.saveTile()
		p.multiply(m, t.left(), load)
		p.eachKept(gates, func(at, v, gate *kernel.Expr) {
			r, n := u.Let("tile_row", at.Div(i32(p.outputs))), u.Let("n", p.first.Add(at.Rem(i32(p.outputs))))
			u.If(t.live(r).And(n.Lt(i32(e.F))), func() {
				c := t.choice(r)
				mid.Set(c.Mul(i32(e.F)).Add(n), swiglu(gate, v, e.Limit).Mul(ws.At(c)))
			}, nil)
		})
		u.Barrier()
	})
	return u.launch("hidden", ir.Const(int64((e.F+p.outputs-1)/p.outputs)), ir.Const(int64(e.Experts)))
}
