package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
)

// hyperWrite is the kernel "write" in the making.
type hyperWrite struct {
	*emitter
	*hyper
	source             hyperSource
	before, post, comb kernel.Buffer
	after, shareOut    kernel.Buffer
	fn                 vector
	parts              int          // y is the sum of so many
	y, tile            kernel.Array // [rows, parts, columns], [rows, streams, columns]
	group              *kernel.Expr // the tile's number
	column0            *kernel.Expr
	row, live          []*kernel.Expr
}

func (w *hyperWrite) bind() {
	m := w.m
	w.source = w.bindSource()
	if m.Before != nil {
		w.before = w.activation("before", m.Before, kernel.Read)
		w.post = w.activation("post", m.Post, kernel.Read)
		w.comb = w.activation("comb", m.Comb, kernel.Read)
	}
	if m.Source.Take == nil {
		w.after = w.activation("after", m.After, kernel.Write)
	}
	if m.Next != nil {
		w.fn = w.vector("fn", m.Next.Fn)
		w.shareOut = w.scratch("z_shares", w.shares, kernel.F32, kernel.Write)
	}
	w.y = w.SharedArray("y", kernel.F32, w.inputs*w.parts*w.columns)
	w.tile = w.SharedArray("streams", kernel.F32, w.inputs*m.Streams*w.columns)
}

// rowsOfBranch names n rows from row0 on.
func (w *hyperWrite) rowsOfBranch(row0, left *kernel.Expr, n int) {
	w.row, w.live = nil, nil
	for i := range n {
		row, live := row0, (*kernel.Expr)(nil)
		if i > 0 {
			live = w.Let("live", left.Gt(i32(i)))
			row = w.Let("row", row0.Add(i32(i).Min(left.Sub(i32(1)))))
		}
		w.row, w.live = append(w.row, row), append(w.live, live)
	}
}

// body is the whole kernel for n rows, where a threadgroup is a SIMD group alone.
func (w *hyperWrite) body(row0, left *kernel.Expr, n int) {
	w.rowsOfBranch(row0, left, n)
	w.Comment("y of this tile")
	w.source.tile(w)
	w.Barrier()
	w.Comment("into the streams")
	elements := w.m.Streams * w.columns
	for i := range w.row {
		w.For("e", kernel.Thread(), i32(elements), i32(w.Schedule().Threads), func(e *kernel.Expr) {
			w.element(hyperRow{i32(i), w.row[i], w.live[i]}, e)
		})
	}
	if w.m.Next != nil {
		w.Barrier()
		w.partials()
	}
}

// together is the whole kernel where a threadgroup is several SIMD groups: they share
// the rows' elements and logits.
func (w *hyperWrite) together(row0, left *kernel.Expr) {
	count := w.Let("rows", left.Min(i32(w.inputs)))
	var addShares func(row0, count *kernel.Expr)
	if w.m.Next != nil {
		addShares = w.askForWeights()
	}
	w.Comment("y of this tile, in %d parts", w.parts)
	if s, ok := w.source.(sharedSource); ok {
		s.share(w, row0, count)
	} else if w.m.Source.Take == nil {
		w.oneOrMore(left, w.inputs, func(n int) {
			w.rowsOfBranch(row0, left, n)
			w.source.tile(w)
		})
	}
	w.Barrier()
	w.Comment("into the streams")
	elements := w.m.Streams * w.columns
	w.For("at", kernel.Thread(), count.Mul(i32(elements)), i32(w.Schedule().Threads), func(at *kernel.Expr) {
		r := w.Let("r", at.Div(i32(elements)))
		w.element(hyperRow{r, w.Let("row", row0.Add(r)), nil}, w.Let("e", at.Rem(i32(elements))))
	})
	if addShares != nil {
		w.Barrier()
		w.Comment("shares of the next logits; a row's last is the sum of squares")
		addShares(row0, count)
	}
}

// hyperRow is a row of a threadgroup: the at-th of its rows, which is live (nil: it is).
type hyperRow struct{ at, row, live *kernel.Expr }

// element computes element e of a row's new streams of the tile, which is column
// e mod columns of stream e / columns.
func (w *hyperWrite) element(r hyperRow, e *kernel.Expr) {
	m, elements := w.m, w.m.Streams*w.columns
	stream := w.Let("stream", e.Div(i32(w.columns)))
	column := w.Let("column", w.column0.Add(e.Rem(i32(w.columns))))
	in := e.Add(r.at.Mul(i32(elements)))
	store := func() {
		at := r.row.Mul(i32(m.Streams * m.Width)).Add(column)
		v := w.Let("h", w.newStream(r, stream, column, at, e.Rem(i32(w.columns))))
		w.tile.Set(in, v)
		if m.Source.Take == nil {
			w.guard(r.live, nil, false, func() { w.after.Set(at.Add(stream.Mul(i32(m.Width))), v) })
		}
	}
	if m.Width%w.columns == 0 {
		store()
		return
	}
	w.If(column.Lt(i32(m.Width)), store, func() { w.tile.Set(in, f32(0)) })
}

// result is y of a column of the tile: its parts added up in their order.
func (w *hyperWrite) result(r hyperRow, column *kernel.Expr) *kernel.Expr {
	at := column.Add(r.at.Mul(i32(w.parts * w.columns)))
	y := w.y.At(at)
	for p := 1; p < w.parts; p++ {
		y = y.Add(w.y.At(at.Add(i32(p * w.columns))))
	}
	return y
}

// newStream is post[k]*y + sum_j comb[j,k] before[j].
func (w *hyperWrite) newStream(r hyperRow, stream, column, at, inTile *kernel.Expr) *kernel.Expr {
	n := w.m.Streams
	if w.m.Source.Take != nil {
		return w.source.stream(w, r.row, stream, column)
	}
	y := w.result(r, inTile)
	if w.m.Before == nil {
		return y
	}
	v := w.post.At(r.row.Mul(i32(n)).Add(stream)).Mul(y)
	for j := range n {
		c := w.comb.At(r.row.Mul(i32(n * n)).Add(i32(j * n)).Add(stream))
		v = c.Fma(w.before.At(at.Add(i32(j*w.m.Width))), v)
	}
	return v
}

// mostWeights is how many numbers of Fn a thread holds at once at most.
const mostWeights = 8

// lanesOfTile is how many of a row's elements of the tile a lane has at most.
func (w *hyperWrite) lanesOfTile() int {
	lanes := w.Schedule().SimdWidth
	return (w.m.Streams*w.columns + lanes - 1) / lanes
}

// askForWeights reads the SIMD group's numbers of Fn, if these are few, and returns what
// adds up the shares with them. SIMD group s takes logits s, s+16 ... of all rows.
func (w *hyperWrite) askForWeights() func(row0, count *kernel.Expr) {
	n, simds := w.logitCount(), w.Schedule().Threads/w.Schedule().SimdWidth
	rounds := (n + simds) / simds
	if rounds*w.lanesOfTile() > mostWeights {
		return func(row0, count *kernel.Expr) {
			w.For("z", kernel.Simd(), i32(n+1), i32(simds), func(z *kernel.Expr) { w.shareOfLogit(row0, count, z, w.weightsOf(z)) })
		}
	}
	w.Comment("the weights of the next logits, asked for early")
	var zs []*kernel.Expr
	var weights [][]*kernel.Expr
	for i := range rounds {
		zs = append(zs, w.Let("z", kernel.Simd().Add(i32(i*simds))))
		weights = append(weights, w.weightsOf(zs[i]))
	}
	return func(row0, count *kernel.Expr) {
		for i, z := range zs {
			w.guard(nil, z.Le(i32(n)), (i+1)*simds > n+1, func() { w.shareOfLogit(row0, count, z, weights[i]) })
		}
	}
}

// tileElement is the lane's j-th element of a row's tile.
func (w *hyperWrite) tileElement(j int) *kernel.Expr {
	return kernel.Lane().Add(i32(j * w.Schedule().SimdWidth)).Min(i32(w.m.Streams*w.columns - 1))
}

// weightsOf are the lane's numbers of Fn for logit z; beyond the last logit, and beyond
// the streams, nobody reads them.
func (w *hyperWrite) weightsOf(z *kernel.Expr) (weights []*kernel.Expr) {
	m, row := w.m, z.Min(i32(w.logitCount()-1)).Mul(i32(w.m.Streams*w.m.Width))
	for j := range w.lanesOfTile() {
		e := w.Let("e", w.tileElement(j))
		column := w.column0.Add(e.Rem(i32(w.columns)))
		if m.Width%w.columns != 0 {
			column = column.Min(i32(m.Width - 1))
		}
		weights = append(weights, w.Let("f", w.fn.At(row.Add(e.Div(i32(w.columns)).Mul(i32(m.Width))).Add(column))))
	}
	return weights
}

// shareOfLogit adds up the tile's share of logit z of each row, or the sum of squares if
// z is the last.
func (w *hyperWrite) shareOfLogit(row0, count, z *kernel.Expr, weights []*kernel.Expr) {
	n, elements, lanes := w.logitCount(), w.m.Streams*w.columns, w.Schedule().SimdWidth
	w.For("r", i32(0), count, i32(1), func(r *kernel.Expr) {
		sum := w.Var("sum", f32(0))
		for j, f := range weights {
			add := func() {
				h := w.Let("h", w.tile.At(w.tileElement(j).Add(r.Mul(i32(elements)))))
				sum.Set(z.Eq(i32(n)).Select(h, f).Fma(h, sum.Expr))
			}
			w.guard(nil, kernel.Lane().Lt(i32(elements-j*lanes)), (j+1)*lanes > elements, add)
		}
		total := w.Let("total", sum.SimdSum())
		w.If(kernel.Lane().Eq(i32(0)), func() {
			at := row0.Add(r).Mul(i32(w.tiles())).Add(w.group).Mul(i32(n + 1)).Add(z)
			w.shareOut.Set(at, total)
		}, nil)
	})
}

// partials adds up the tile's share of each logit: SIMD group s takes logits
// s, s+8 ...; the last is the sum of squares.
func (w *hyperWrite) partials() {
	n := w.logitCount()
	simds := w.Schedule().Threads / w.Schedule().SimdWidth
	w.Comment("shares of the next logits; the last is the sum of squares")
	w.For("z", kernel.Simd(), i32(n+1), i32(simds), func(z *kernel.Expr) {
		sums := w.Vars("share", len(w.row), f32(0))
		if lanes := w.Schedule().SimdWidth; lanes == w.columns {
			w.addColumns(z, i32(0), sums)
		} else {
			w.For("first", i32(0), i32(w.columns), i32(lanes), func(first *kernel.Expr) { w.addColumns(z, first, sums) })
		}
		for i := range w.row {
			total := w.Let("total", sums[i].SimdSum())
			at := w.row[i].Mul(i32(w.tiles())).Add(w.group).Mul(i32(n + 1)).Add(z)
			w.guard(w.live[i], nil, false, func() {
				w.If(kernel.Lane().Eq(i32(0)), func() { w.shareOut.Set(at, total) }, nil)
			})
		}
	})
}

// addColumns adds the products of a SIMD group's columns of the tile, from
// `first` on, to the sums of logit z.
func (w *hyperWrite) addColumns(z, first *kernel.Expr, sums []kernel.Variable) {
	m, n := w.m, w.logitCount()
	column := w.Let("column", w.column0.Add(kernel.Lane().Add(first)))
	for stream := range m.Streams {
		at := z.Mul(i32(m.Streams * m.Width)).Add(i32(stream * m.Width)).Add(column)
		f := w.Var("f", f32(0))
		inside := z.Lt(i32(n))
		if m.Width%w.columns != 0 {
			inside = inside.And(column.Lt(i32(m.Width)))
		}
		w.If(inside, func() { f.Set(w.fn.At(at)) }, nil)
		for i := range w.row {
			h := w.Let("h", w.tile.At(kernel.Lane().Add(first).Add(i32(i*m.Streams*w.columns+stream*w.columns))))
			sums[i].Set(z.Eq(i32(n)).Select(h, f.Expr).Fma(h, sums[i].Expr))
		}
	}
}
