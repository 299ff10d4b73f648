package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// hyperSource makes the half block's result y in the kernel "write".
type hyperSource interface {
	// tile fills w.y[i*w.columns+c] for the branch's rows i and the tile's columns c.
	tile(w *hyperWrite)
	// stream gives a stream's element where the streams are given instead of y.
	stream(w *hyperWrite, row, stream, column *kernel.Expr) *kernel.Expr
}

// sharedSource is a source whose products several SIMD groups share.
type sharedSource interface {
	// share fills w.y[(r*w.parts+p)*w.columns+c] for `count` rows r from row0 on.
	share(w *hyperWrite, row0, count *kernel.Expr)
}

// bindSource binds what the region's source needs; in prefill products are
// ready before.
func (w *hyperWrite) bindSource() hyperSource {
	s := w.m.Source
	switch {
	case s.Embed != nil:
		before := len(w.args)
		e := &embedSource{table: w.table("table", s.Embed.Table)}
		w.touchedRows(before, e.table)
		return e
	case s.Take != nil:
		taken := &takeSource{streams: w.activation("streams", s.Take.Streams, kernel.Read)}
		w.accesses(w.takenBytes())
		return taken
	case w.ready != nil:
		return w.ready.bind(w)
	case !w.stages():
		return w.bindShared()
	case s.Project != nil:
		return &projectSource{x: w.rowsOf("x", s.Project.X, 4), k: dim(s.Project.X, 1), w: w.matrix("w", s.Project.Weight)}
	}
	e := s.Experts
	return &expertsSource{
		e: e, k: dim(e.Mid, 1), f: dim(e.Mid, 2),
		mid: w.rowsOf("mid", e.Mid, 4), ids: w.activation("ids", e.IDs, kernel.Read),
		shared: w.rowsOf("shared", e.Shared, 4),
		down:   w.expertMatrix("down", e.Down, e.IDs), sharedDown: w.matrix("shared_down", e.SharedDown),
	}
}

// touchedRows: of a table each of the step's rows needs a row.
func (w *hyperWrite) touchedRows(before int, table *matrix) {
	if table == nil {
		return
	}
	for i := before; i < len(w.args); i++ {
		if a := w.args[i].Weight; a != nil && !a.Table {
			bytes := ir.Sym(w.rows).Mul(ir.Const(w.emitter.in.planeBytes(table.p.Name, a.Role) / int64(table.p.Rows)))
			w.args[i].BytesAccessed = &bytes
		}
	}
}

// noStream is for sources that make y.
type noStream struct{}

func (noStream) stream(*hyperWrite, *kernel.Expr, *kernel.Expr, *kernel.Expr) *kernel.Expr {
	return f32(0)
}

// eachColumns runs make for the columns of the tile that this SIMD group makes
// at once, from `first` on, and stores the sums it gives: [column][row].
func (w *hyperWrite) eachColumns(sums func(first *kernel.Expr) [][]*kernel.Expr) {
	body := func(first *kernel.Expr) {
		y := sums(first)
		w.If(kernel.Lane().Eq(i32(0)), func() {
			for j := range y {
				for i := range y[j] {
					w.y.Set(first.Add(i32(i*w.columns+j)), y[j][i])
				}
			}
		}, nil)
	}
	first, step := kernel.Simd().Mul(i32(matvecRows)), w.Schedule().Threads/w.Schedule().SimdWidth*matvecRows
	if step == w.columns {
		body(first)
		return
	}
	w.For("first", first, i32(w.columns), i32(step), body)
}

// matrixRows are the matrix's rows for a few columns of the tile; beyond the
// width the last is repeated, and not stored.
func (w *hyperWrite) matrixRows(o *opened, from *kernel.Expr) []rowOf {
	return w.rowsFrom(o, w.Let("column", w.column0.Add(from)), matvecRows, w.m.Width, w.m.Width%w.columns != 0)
}

// projectSource is y = x . w.
type projectSource struct {
	noStream
	x *rowsOf
	k int
	w *matrix
}

func (s *projectSource) tile(w *hyperWrite) {
	row := func(i int) reader { return s.x.reader(w.Let("x_row", w.row[i].Mul(i32(s.k/4)))) }
	inputs := w.stage(len(w.row), w.inputs, row, s.w)[s.w]
	w.eachColumns(func(first *kernel.Expr) [][]*kernel.Expr { return w.dot(w.matrixRows(s.w.open(nil), first), inputs) })
}

// expertsSource is the chosen experts' down products and the shared one's.
type expertsSource struct {
	noStream
	e           *fusion.ExpertsSource
	k, f        int
	mid, shared *rowsOf
	ids         kernel.Buffer
	down        *matrix
	sharedDown  *matrix
}

func (s *expertsSource) tile(w *hyperWrite) {
	row := func(i int) reader { return s.shared.reader(w.Let("shared_row", w.row[i].Mul(i32(s.f/4)))) }
	shared := w.stage(len(w.row), w.inputs, row, s.sharedDown)[s.sharedDown]
	chosen := s.stageChosen(w)
	w.eachColumns(func(first *kernel.Expr) [][]*kernel.Expr {
		return s.sums(w, first, shared, chosen)
	})
}

// sums adds up the shared and the chosen experts' parts of a few columns.
func (s *expertsSource) sums(w *hyperWrite, first *kernel.Expr, inputs []input, chosen func(i int, e, at *kernel.Expr) input) [][]*kernel.Expr {
	shared := w.dot(w.matrixRows(s.sharedDown.open(nil), first), inputs)
	y := make([][]*kernel.Expr, matvecRows)
	for i := range w.row {
		sums := w.Vars("y", matvecRows, f32(0))
		w.For("e", i32(0), i32(s.k), i32(1), func(e *kernel.Expr) {
			at := w.Let("chosen", w.row[i].Mul(i32(s.k)).Add(e))
			columns := w.matrixRows(s.down.open(w.Let("expert", s.ids.At(at))), first)
			part := w.dot(columns, []input{chosen(i, e, at)})
			for j := range part {
				sums[j].Set(sums[j].Add(part[j][0]))
			}
		})
		for j := range y {
			y[j] = append(y[j], w.Let("y", sums[j].Add(shared[j][i])))
		}
	}
	return y
}

// stageChosen gives the hidden vector of the i-th row's expert e, which is number
// `at` of all choices; staged, they lie row by row.
func (s *expertsSource) stageChosen(w *hyperWrite) func(i int, e, at *kernel.Expr) input {
	reader := func(at *kernel.Expr) reader { return s.mid.reader(w.Let("mid_row", at.Mul(i32(s.f/4)))) }
	a := w.stagingFor("staged_chosen", s.down, w.inputs*s.k)
	for i := range w.row {
		w.For("e", i32(0), i32(s.k), i32(1), func(e *kernel.Expr) {
			a.fill(e.Add(i32(i*s.k)), reader(w.row[i].Mul(i32(s.k)).Add(e)))
		})
	}
	w.Barrier()
	return func(i int, e, _ *kernel.Expr) input { return a.input(e.Add(i32(i * s.k))) }
}

// embedSource is the token's row of a table.
type embedSource struct {
	noStream
	table *matrix
}

// tile: the tile's columns of a row are unpacked by as many threads as there
// are blocks of columns.
func (s *embedSource) tile(w *hyperWrite) {
	columns := s.table.blockUnits() * s.table.unpack.Elements
	blocks := (w.columns + columns - 1) / columns
	for i := range w.row {
		for first := 0; first < blocks; first += w.Schedule().Threads {
			block := kernel.Thread().Add(i32(first))
			w.If(block.Lt(i32(blocks)), func() { s.block(w, i, block, columns) }, nil)
		}
	}
}

// block unpacks a block of the i-th row's columns.
func (s *embedSource) block(w *hyperWrite, i int, block *kernel.Expr, columns int) {
	row := s.table.open(nil).row(w.token(w.row[i]))
	at := w.Let("block_column", w.column0.Add(block.Mul(i32(columns))))
	w.If(at.Lt(i32(w.m.Width)), func() {
		scale, bias := row.scale(at), row.bias(at)
		for q, v := range row.blockValues(w.Let("unit", at.Div(i32(s.table.unpack.Elements)))) {
			if q < w.columns {
				w.y.Set(block.Mul(i32(columns)).Add(i32(i*w.columns+q)), scaled(timesPower(v, row.unpack.Exponent), scale, bias))
			}
		}
	}, nil)
}

// takeSource: the streams of the wanted rows are given.
type takeSource struct{ streams kernel.Buffer }

func (s *takeSource) tile(*hyperWrite) {}

func (s *takeSource) stream(w *hyperWrite, row, stream, column *kernel.Expr) *kernel.Expr {
	source := w.StepAt("wanted", row).Mul(i32(w.m.Streams)).Add(stream)
	return s.streams.At(source.Mul(i32(w.m.Width)).Add(column))
}
