package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// In prefill the half block's result y is made in tiles, by launches before
// "write", which reads it from the arena.

// sourceLaunches makes y ready in prefill.
func (x *hyper) sourceLaunches() error {
	s := x.m.Source
	rows := ir.Sym(x.rows)
	bytes := rows.Mul(ir.Const(int64(4 * x.m.Width)))
	switch {
	case s.Project != nil:
		x.ready = &ready{shared: &program.Scratch{Name: "y", Bytes: bytes}}
		return x.add(projectTiles(x.in, "project", s.Project.X, s.Project.Weight, x.ready.shared))
	case s.Experts != nil:
		k := dim(s.Experts.Mid, 1)
		x.ready = &ready{shared: &program.Scratch{Name: "y_shared", Bytes: bytes}, parts: &program.Scratch{Name: "y_parts", Bytes: bytes.Mul(ir.Const(int64(k)))}, k: k}
		if err := x.add(projectTiles(x.in, "shared", s.Experts.Shared, s.Experts.SharedDown, x.ready.shared)); err != nil {
			return err
		}
		launches, err := expertsDown(x.in, s.Experts, x.ready.parts)
		x.launches = append(x.launches, launches...)
		return err
	}
	return nil
}

func (x *hyper) add(l program.Launch, err error) error {
	x.launches = append(x.launches, l)
	return err
}

// projectTiles is x . w in tiles, into scratch memory [rows, n].
func projectTiles(in *Input, role string, x *ir.Value, weight string, to *program.Scratch) (program.Launch, error) {
	u := in.begin(in.kernelName(role), in.tiling().schedule(), in.doc("a product in tiles")...)
	w := u.matrix("w", weight)
	xs := u.activation("x", x, kernel.Read)
	y := u.scratch("y", to, kernel.F32, kernel.Write)
	rows, err := rowsSymbol(x)
	if err != nil {
		return program.Launch{}, err
	}
	if u.err != nil {
		return program.Launch{}, u.err
	}
	g := u.newGemm()
	row0 := u.Let("row0", kernel.Group(1).Mul(i32(g.rows)))
	first := u.Let("first", kernel.Group(0).Mul(i32(g.outputs)))
	count := u.StepValue(rows)
	g.multiply(w.open(nil), first, count.Sub(row0), func(r *kernel.Expr) tileRow {
		row := u.Let("row", row0.Add(r))
		at := func(k *kernel.Expr) *kernel.Expr { return row.Min(count.Sub(i32(1))).Mul(i32(w.cols)).Add(k) }
		return tileRow{
			value: func(k *kernel.Expr) *kernel.Expr { return row.Lt(count).Select(xs.At(at(k)), f32(0)) },
			ahead: func(k *kernel.Expr) { xs.Prefetch(at(k)) },
		}
	})
	g.each(func(r, out, v *kernel.Expr) {
		row, n := u.Let("row", row0.Add(r)), u.Let("n", first.Add(out))
		u.If(row.Lt(count).And(n.Lt(i32(w.n))), func() { y.Set(row.Mul(i32(w.n)).Add(n), v) }, nil)
	})
	return u.launch(role, ir.Const(int64((w.n+g.outputs-1)/g.outputs)), ceilDiv(ir.Sym(rows), g.rows))
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

// ready is y made by earlier launches of prefill: the shared part [rows,
// width], and the chosen experts' parts [rows*k, width] to add to it.
type ready struct {
	shared *program.Scratch
	parts  *program.Scratch
	k      int
}

func (r *ready) bind(w *hyperWrite) hyperSource {
	s := &readySource{ready: r, shared: w.scratch("y_shared", r.shared, kernel.F32, kernel.Read)}
	if r.parts != nil {
		s.parts = w.scratch("y_parts", r.parts, kernel.F32, kernel.Read)
	}
	return s
}

type readySource struct {
	noStream
	*ready
	shared, parts kernel.Buffer
}

func (s *readySource) tile(w *hyperWrite) {
	for i := range w.row {
		for first := 0; first < w.columns; first += w.Schedule().Threads {
			s.sum(w, i, kernel.Thread().Add(i32(first)))
		}
	}
}

// sum adds up the parts of the i-th row's column that lies at a place of the tile.
func (s *readySource) sum(w *hyperWrite, i int, place *kernel.Expr) {
	column := w.Let("column", w.column0.Add(place))
	w.If(place.Lt(i32(w.columns)).And(column.Lt(i32(w.m.Width))), func() {
		y := w.Var("y", f32(0))
		if s.ready.parts != nil {
			w.For("e", i32(0), i32(s.k), i32(1), func(e *kernel.Expr) {
				at := w.row[i].Mul(i32(s.k)).Add(e).Mul(i32(w.m.Width)).Add(column)
				y.Set(y.Add(s.parts.At(at)))
			})
		}
		w.y.Set(place.Add(i32(i*w.columns)), y.Add(s.shared.At(w.row[i].Mul(i32(w.m.Width)).Add(column))))
	}, nil)
}
