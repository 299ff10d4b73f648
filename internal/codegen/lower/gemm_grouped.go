package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// In a grouped GEMM each expert has rows of its own. "group" lists an expert's
// choices (row*K+k, ascending); the products go through the list a tile of rows
// at a time, so that a weight is unpacked once for many rows.

// lists are the choices of each expert.
type lists struct {
	counts  *program.Scratch // [experts] i32
	items   *program.Scratch // [experts, rows*K] i32
	k       int
	experts int
	rows    string
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
	*emitter
	*gemm
	counts, items kernel.Buffer
	total         *kernel.Expr // choices of the step
	expert, first *kernel.Expr
	l             *lists
}

func (u *emitter) listed(l *lists) *listed {
	g := u.gemmFor(u.in.tiling().fewRows > 0)
	return &listed{
		emitter: u, gemm: g, l: l,
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
	count := p.emitter.LetAbout("count", p.counts.At(p.expert), mean)
	p.emitter.For("tile0", i32(0), count, i32(p.rows), func(at *kernel.Expr) { f(&tileOfList{p, at, count}) })
}

type tileOfList struct {
	*listed
	at, count *kernel.Expr
}

// choice is the r-th of the tile, or the last of the list.
func (t *tileOfList) choice(r *kernel.Expr) *kernel.Expr {
	item := t.at.Add(r).Min(t.count.Sub(i32(1)))
	return t.emitter.Let("choice", t.items.At(t.expert.Mul(t.total).Add(item)))
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
