package lower

import (
	"smelt/codegen/kernel"
	"smelt/ir"
	"smelt/passes/fusion"
)

// mixSource makes the half block's result y in the kernel "write".
type mixSource interface {
	// tile fills w.y[i*mixTile+c] for the branch's rows i and the tile's columns c.
	tile(w *mixWrite)
	// stream gives a stream's element where the streams are given instead of y.
	stream(w *mixWrite, i int, stream, column *kernel.Expr) *kernel.Expr
}

// bindSource binds what the region's source needs; in prefill products are
// ready before.
func (w *mixWrite) bindSource() mixSource {
	s := w.m.Source
	switch {
	case s.Embed != nil:
		before := len(w.args)
		e := &embedSource{table: w.matrix("table", s.Embed.Table)}
		w.touchedRows(before, e.table)
		return e
	case s.Take != nil:
		return &takeSource{streams: w.activation("streams", s.Take.Streams, kernel.Read)}
	case w.ready != nil:
		return w.ready.bind(w)
	case s.Project != nil:
		return &projectSource{x: w.activation4("x", s.Project.X, kernel.Read), k: dim(s.Project.X, 1), w: w.matrix("w", s.Project.Weight)}
	}
	e := s.Experts
	return &expertsSource{
		e: e, k: dim(e.Mid, 1), f: dim(e.Mid, 2),
		mid: w.activation4("mid", e.Mid, kernel.Read), ids: w.activation("ids", e.IDs, kernel.Read),
		shared: w.activation4("shared", e.Shared, kernel.Read),
		down:   w.expertMatrix("down", e.Down, e.IDs), sharedDown: w.matrix("shared_down", e.SharedDown),
	}
}

// touchedRows: of a table each of the step's rows needs a row.
func (w *mixWrite) touchedRows(before int, table *matrix) {
	if table == nil {
		return
	}
	for i := before; i < len(w.args); i++ {
		if a := w.args[i].Weight; a != nil && !a.Table {
			bytes := ir.Sym(w.rows).Mul(ir.Const(w.unit.in.planeBytes(table.p.Name, a.Role) / int64(table.p.Rows)))
			w.args[i].Touched = &bytes
		}
	}
}

// noStream is for sources that make y.
type noStream struct{}

func (noStream) stream(*mixWrite, int, *kernel.Expr, *kernel.Expr) *kernel.Expr { return f32(0) }

// contiguous reads a vector of an activation bound as vectors of four.
func (u *unit) contiguous(b kernel.Buffer, firstQuad *kernel.Expr) input {
	return func(k *kernel.Expr) [4]*kernel.Expr {
		v := u.Let("x4", b.At(firstQuad.Add(k.Div(i32(4)))))
		return [4]*kernel.Expr{v.Lane(0), v.Lane(1), v.Lane(2), v.Lane(3)}
	}
}

// putTile stores the sums of this SIMD group's columns, [column][row].
func (w *mixWrite) putTile(y [][]*kernel.Expr) {
	w.If(kernel.Lane().Eq(i32(0)), func() {
		for j := range y {
			for i := range y[j] {
				w.y.Set(kernel.Simd().Mul(i32(matvecRows)).Add(i32(i*mixTile+j)), y[j][i])
			}
		}
	}, nil)
}

// myColumns are the columns this SIMD group makes; beyond the width the last
// is repeated, and not stored.
func (w *mixWrite) myColumns(o *opened) []rowOf {
	first := w.Let("column", w.column0.Add(kernel.Simd().Mul(i32(matvecRows))))
	rows := make([]rowOf, matvecRows)
	for j := range rows {
		r := first.Add(i32(j))
		if w.m.Width%mixTile != 0 {
			r = r.Min(i32(w.m.Width - 1))
		}
		rows[j] = o.row(r)
	}
	return rows
}

// projectSource is y = x . w.
type projectSource struct {
	noStream
	x kernel.Buffer
	k int
	w *matrix
}

func (s *projectSource) tile(w *mixWrite) {
	var inputs []input
	for i := range w.row {
		inputs = append(inputs, w.contiguous(s.x, w.Let("x_row", w.row[i].Mul(i32(s.k/4)))))
	}
	w.putTile(w.dot(w.myColumns(s.w.open(nil)), inputs))
}

// expertsSource is the chosen experts' down products and the shared one's.
type expertsSource struct {
	noStream
	e           *fusion.ExpertsSource
	k, f        int
	mid, shared kernel.Buffer
	ids         kernel.Buffer
	down        *matrix
	sharedDown  *matrix
}

func (s *expertsSource) tile(w *mixWrite) {
	var inputs []input
	for i := range w.row {
		inputs = append(inputs, w.contiguous(s.shared, w.Let("shared_row", w.row[i].Mul(i32(s.f/4)))))
	}
	shared := w.dot(w.myColumns(s.sharedDown.open(nil)), inputs)
	y := make([][]*kernel.Expr, matvecRows)
	for i := range w.row {
		sums := w.Vars("y", matvecRows, f32(0))
		w.For("e", i32(0), i32(s.k), i32(1), func(e *kernel.Expr) {
			at := w.Let("chosen", w.row[i].Mul(i32(s.k)).Add(e))
			columns := w.myColumns(s.down.open(w.Let("expert", s.ids.At(at))))
			part := w.dot(columns, []input{w.contiguous(s.mid, w.Let("mid_row", at.Mul(i32(s.f/4))))})
			for j := range part {
				sums[j].Set(sums[j].Add(part[j][0]))
			}
		})
		for j := range y {
			y[j] = append(y[j], w.Let("y", sums[j].Add(shared[j][i])))
		}
	}
	w.putTile(y)
}

// embedSource is the token's row of a table.
type embedSource struct {
	noStream
	table *matrix
}

// tile: the tile's columns of a row are unpacked by as many threads as there
// are blocks of columns.
func (s *embedSource) tile(w *mixWrite) {
	columns := s.table.blockUnits() * s.table.unpack.Elements
	blocks := (mixTile + columns - 1) / columns
	for i := range w.row {
		w.If(kernel.Thread().Lt(i32(blocks)), func() {
			row := s.table.open(nil).row(w.StepAt("token", w.row[i]))
			at := w.Let("block_column", w.column0.Add(kernel.Thread().Mul(i32(columns))))
			w.If(at.Lt(i32(w.m.Width)), func() {
				scale, bias := row.scale(at), row.bias(at)
				for q, v := range row.blockValues(w.Let("unit", at.Div(i32(s.table.unpack.Elements)))) {
					if q < mixTile {
						w.y.Set(kernel.Thread().Mul(i32(columns)).Add(i32(i*mixTile+q)), scaled(v, scale, bias))
					}
				}
			}, nil)
		}, nil)
	}
}

// takeSource: the streams of the wanted rows are given.
type takeSource struct{ streams kernel.Buffer }

func (s *takeSource) tile(*mixWrite) {}

func (s *takeSource) stream(w *mixWrite, i int, stream, column *kernel.Expr) *kernel.Expr {
	source := w.StepAt("wanted", w.row[i]).Mul(i32(w.m.Streams)).Add(stream)
	return s.streams.At(source.Mul(i32(w.m.Width)).Add(column))
}

// ready is y made by earlier launches of prefill: the shared part [rows,
// width], and the chosen experts' parts [rows*k, width] to add to it.
type ready struct {
	shared *Scratch
	parts  *Scratch
	k      int
}

func (r *ready) bind(w *mixWrite) mixSource {
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

func (s *readySource) tile(w *mixWrite) {
	for i := range w.row {
		column := w.Let("column", w.column0.Add(kernel.Thread()))
		w.If(kernel.Thread().Lt(i32(mixTile)).And(column.Lt(i32(w.m.Width))), func() {
			y := w.Var("y", f32(0))
			if s.ready.parts != nil {
				w.For("e", i32(0), i32(s.k), i32(1), func(e *kernel.Expr) {
					at := w.row[i].Mul(i32(s.k)).Add(e).Mul(i32(w.m.Width)).Add(column)
					y.Set(y.Add(s.parts.At(at)))
				})
			}
			w.y.Set(kernel.Thread().Add(i32(i*mixTile)), y.Add(s.shared.At(w.row[i].Mul(i32(w.m.Width)).Add(column))))
		}, nil)
	}
}

// sourceLaunches makes y ready in prefill.
func (x *mixing) sourceLaunches() error {
	s := x.m.Source
	rows := ir.Sym(x.rows)
	bytes := rows.Mul(ir.Const(int64(4 * x.m.Width)))
	switch {
	case s.Project != nil:
		x.ready = &ready{shared: &Scratch{Name: "y", Bytes: bytes}}
		return x.add(projectTiles(x.in, "project", s.Project.X, s.Project.Weight, x.ready.shared))
	case s.Experts != nil:
		k := dim(s.Experts.Mid, 1)
		x.ready = &ready{shared: &Scratch{Name: "y_shared", Bytes: bytes}, parts: &Scratch{Name: "y_parts", Bytes: bytes.Mul(ir.Const(int64(k)))}, k: k}
		if err := x.add(projectTiles(x.in, "shared", s.Experts.Shared, s.Experts.SharedDown, x.ready.shared)); err != nil {
			return err
		}
		launches, err := expertsDown(x.in, s.Experts, x.ready.parts)
		x.launches = append(x.launches, launches...)
		return err
	}
	return nil
}

func (x *mixing) add(l Launch, err error) error {
	x.launches = append(x.launches, l)
	return err
}

// projectTiles is x . w in tiles, into scratch memory [rows, n].
func projectTiles(in *Input, role string, x *ir.Value, weight string, to *Scratch) (Launch, error) {
	u := in.begin(in.kernelName(role), gemmSchedule(), in.doc("a product in tiles")...)
	w := u.matrix("w", weight)
	xs := u.activation("x", x, kernel.Read)
	y := u.scratch("y", to, kernel.F32, kernel.Write)
	rows, err := rowsSymbol(x)
	if err != nil {
		return Launch{}, err
	}
	if u.err != nil {
		return Launch{}, u.err
	}
	g := u.newGemm()
	row0 := u.Let("row0", kernel.Group(1).Mul(i32(gemmRows)))
	first := u.Let("first", kernel.Group(0).Mul(i32(gemmOutputs)))
	count := u.StepValue(rows)
	g.multiply(w.open(nil), first, func(r, k *kernel.Expr) *kernel.Expr {
		row := u.Let("row", row0.Add(r))
		v := xs.At(row.Min(count.Sub(i32(1))).Mul(i32(w.cols)).Add(k))
		return row.Lt(count).Select(v, f32(0))
	})
	g.each(func(r, out, v *kernel.Expr) {
		row, n := u.Let("row", row0.Add(r)), u.Let("n", first.Add(out))
		u.If(row.Lt(count).And(n.Lt(i32(w.n))), func() { y.Set(row.Mul(i32(w.n)).Add(n), v) }, nil)
	})
	return u.launch(role, ir.Const(int64((w.n+gemmOutputs-1)/gemmOutputs)), ceilDiv(ir.Sym(rows), gemmRows))
}
