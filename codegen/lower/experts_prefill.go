package lower

import (
	"smelt/codegen/kernel"
	"smelt/codegen/program"
	"smelt/ir"
	"smelt/passes/fusion"
)

// In prefill rows are grouped by expert: "route" chooses and weighs, "group"
// lists each expert's choices (row*K+k, ascending), and the products go through
// an expert's list a tile of rows at a time, so that a weight is unpacked once
// for many rows.

// lists are the choices of each expert.
type lists struct {
	counts  *program.Scratch // [experts] i32
	items   *program.Scratch // [experts, rows*K] i32
	k       int
	experts int
	rows    string
}

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
		ids, ws := r.route(row)
		u.If(kernel.Lane().Eq(i32(0)), func() {
			r.store(row, ids, ws)
			for k, w := range ws {
				to.Set(row.Mul(i32(e.K)).Add(i32(k)), w)
			}
		}, nil)
	}, nil)
	return u.launch("route", ceilDiv(ir.Sym(rows), groups))
}

// groupChoices lists, a threadgroup an expert, the choices of that expert.
func groupChoices(in *Input, ids *ir.Value, experts int) (program.Launch, *lists, error) {
	threads, lanes := in.Target.Threads(256), in.Target.SimdWidth
	rows, err := rowsSymbol(ids)
	if err != nil {
		return program.Launch{}, nil, err
	}
	k := dim(ids, 1)
	choices := ir.Sym(rows).Mul(ir.Const(int64(k)))
	l := &lists{k: k, experts: experts, rows: rows,
		counts: &program.Scratch{Name: "expert_counts", Bytes: ir.Const(int64(4 * experts))},
		items:  &program.Scratch{Name: "expert_choices", Bytes: choices.Mul(ir.Const(int64(4 * experts)))},
	}
	u := in.begin(in.kernelName("group"), kernel.Schedule{Threads: threads}, in.doc("the choices of each expert in ascending order, a threadgroup an expert")...)
	chosen := u.activation("ids", ids, kernel.Read)
	counts, items := u.scratch("counts", l.counts, kernel.I32, kernel.Write), u.scratch("choices", l.items, kernel.I32, kernel.Write)
	expert := u.Let("expert", kernel.Group(0))
	total := u.Let("total", u.StepValue(rows).Mul(i32(k)))
	found := u.SharedArray("found", kernel.I32, threads/lanes)
	count := u.Var("count", i32(0))
	u.For("base", i32(0), total, i32(threads), func(base *kernel.Expr) {
		at := u.Let("choice", base.Add(kernel.Thread()))
		mine := u.Var("mine", i32(0))
		u.If(at.Lt(total), func() { mine.Set(chosen.At(at).Eq(expert).Select(i32(1), i32(0))) }, nil)
		before := u.Let("before", mine.SimdPrefix())
		inGroup := u.Let("in_group", mine.SimdSum())
		u.Barrier()
		u.If(kernel.Lane().Eq(i32(0)), func() { found.Set(kernel.Simd(), inGroup) }, nil)
		u.Barrier()
		offset, all := u.Var("offset", count.Expr), u.Var("all", i32(0))
		for s := range threads / lanes {
			n := u.Let("n", found.At(i32(s)))
			offset.Set(offset.Add(kernel.Simd().Gt(i32(s)).Select(n, i32(0))))
			all.Set(all.Add(n))
		}
		u.If(mine.Eq(i32(1)), func() { items.Set(expert.Mul(total).Add(offset.Expr).Add(before), at) }, nil)
		count.Set(count.Add(all.Expr))
	})
	u.If(kernel.Thread().Eq(i32(0)), func() { counts.Set(expert, count.Expr) }, nil)
	launch, err := u.launch("group", ir.Const(int64(experts)))
	return launch, l, err
}

// listed is a kernel that goes through an expert's list, a tile of rows at a time.
type listed struct {
	*unit
	*gemm
	counts, items kernel.Buffer
	total         *kernel.Expr // choices of the step
	expert, first *kernel.Expr
	l             *lists
}

func (u *unit) listed(l *lists) *listed {
	g := u.gemmFor(u.in.tiling().fewRows > 0)
	return &listed{
		unit: u, gemm: g, l: l,
		counts: u.scratch("counts", l.counts, kernel.I32, kernel.Read), items: u.scratch("choices", l.items, kernel.I32, kernel.Read),
		total: u.Let("total", u.StepValue(l.rows).Mul(i32(l.k))),
		first: u.Let("first", kernel.Group(0).Mul(i32(g.outputs))), expert: u.Let("expert", kernel.Group(1)),
	}
}

// multiply is gemm's, or that for few rows where there is one.
func (p *listed) multiply(o *opened, rows *kernel.Expr, load rowReader) {
	if p.fewRows > 0 {
		p.multiplyFew(o, p.first, rows, load)
		return
	}
	p.gemm.multiply(o, p.first, rows, load)
}

// tiles runs f for each tile of the expert's list.
func (p *listed) tiles(f func(t *tileOfList)) {
	mean := p.total.Add(i32(p.l.experts - 1)).Div(i32(p.l.experts))
	count := p.unit.LetAbout("count", p.counts.At(p.expert), mean)
	p.unit.For("tile0", i32(0), count, i32(p.rows), func(at *kernel.Expr) { f(&tileOfList{p, at, count}) })
}

type tileOfList struct {
	*listed
	at, count *kernel.Expr
}

// choice is the r-th of the tile, or the last of the list.
func (t *tileOfList) choice(r *kernel.Expr) *kernel.Expr {
	item := t.at.Add(r).Min(t.count.Sub(i32(1)))
	return t.unit.Let("choice", t.items.At(t.expert.Mul(t.total).Add(item)))
}

func (t *tileOfList) live(r *kernel.Expr) *kernel.Expr { return t.at.Add(r).Lt(t.count) }

// row is row r of the tile, which is row n of rows of some width.
func (t *tileOfList) row(r *kernel.Expr, of kernel.Buffer, n *kernel.Expr, width int) tileRow {
	at := func(k *kernel.Expr) *kernel.Expr { return n.Mul(i32(width)).Add(k) }
	return tileRow{
		value: func(k *kernel.Expr) *kernel.Expr { return t.live(r).Select(of.At(at(k)), f32(0)) },
		ahead: func(k *kernel.Expr) { of.Prefetch(at(k)) },
	}
}

// left is how many of the list's rows there are from the tile's first on.
func (t *tileOfList) left() *kernel.Expr { return t.count.Sub(t.at) }

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
		gates := p.gemm.keep()
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

// expertsDown makes the down product of every choice, into to [rows*K, width].
func expertsDown(in *Input, e *fusion.ExpertsSource, to *program.Scratch) ([]program.Launch, error) {
	p, err := in.Params.Get(e.Down)
	if err != nil {
		return nil, err
	}
	group, l, err := groupChoices(in, e.IDs, p.Lead)
	if err != nil {
		return nil, err
	}
	u := in.begin(in.kernelName("down"), in.tiling().listSchedule(), in.doc("the experts' down products, in tiles of each expert's rows")...)
	down := u.expertMatrix("down", e.Down, e.IDs)
	mid := u.activation("mid", e.Mid, kernel.Read)
	y := u.scratch("y_parts", to, kernel.F32, kernel.Write)
	if u.err != nil {
		return nil, u.err
	}
	q := u.listed(l)
	o := down.open(q.expert)
	q.tiles(func(t *tileOfList) {
		q.multiply(o, t.left(), func(r *kernel.Expr) tileRow { return t.row(r, mid, t.choice(r), down.cols) })
		q.each(func(r, out, v *kernel.Expr) {
			n := u.Let("n", q.first.Add(out))
			u.If(t.live(r).And(n.Lt(i32(down.n))), func() { y.Set(t.choice(r).Mul(i32(down.n)).Add(n), v) }, nil)
		})
		u.Barrier()
	})
	launch, err := u.launch("down", ir.Const(int64((down.n+q.outputs-1)/q.outputs)), ir.Const(int64(p.Lead)))
	return []program.Launch{group, launch}, err
}
