package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// Hyper-connections take two launches. "write" makes a tile of the
// half block's result y, writes it into the streams and adds up the tile's
// share of the next half block's stream logits z; threadgroups cannot meet, so
// "read", a threadgroup a row, adds the shares up, makes the weights and
// collapses the streams into the next input.
//
// In prefill y comes from launches of its own.

// hyperColumns is how many columns of the streams a threadgroup of "write" makes.
func (in *Input) hyperColumns() int {
	if in.Target.Vector > 0 {
		return 128
	}
	return 32
}

func lowerHyper(in *Input, m *fusion.Hyper) ([]program.Launch, error) {
	if n := m.Streams; n&(n-1) != 0 || n*n > in.Target.SimdWidth || m.Width%4 != 0 {
		return nil, fmt.Errorf("%d streams of %d elements; kernels take 1, 2 or 4 streams of a multiple of 4", n, m.Width)
	}
	x := &hyper{in: in, m: m, rows: hyperRows(m), columns: in.hyperColumns()}
	x.inputs = in.inputsAtOnce(x.stagedBytes())
	if in.Phase == program.Prefill {
		if err := x.sourceLaunches(); err != nil {
			return nil, err
		}
	}
	if m.Next != nil {
		m := x.logitCount() + 1
		x.shares = &program.Scratch{Name: "z_shares", Bytes: ir.Sym(x.rows).Mul(ir.Const(int64(4 * m * x.tiles())))}
	}
	if err := x.write(); err != nil {
		return nil, err
	}
	if m.Next != nil {
		if err := x.read(); err != nil {
			return nil, err
		}
	}
	return x.launches, nil
}

// hyperRows is the symbol of the rows that hyper-connections work on.
func hyperRows(m *fusion.Hyper) string {
	v := m.After
	if m.Source.Take != nil {
		v = m.Source.Take.Rows
	}
	name, _ := v.Type.Shape[0].Symbol()
	return name
}

// hyper is the lowering of one region of hyper-connections.
type hyper struct {
	in       *Input
	m        *fusion.Hyper
	rows     string
	columns  int              // of a threadgroup of "write"
	inputs   int              // rows of a threadgroup of "write", at most
	shares   *program.Scratch // [rows, tiles, logits+1]: shares of z, and of the sum of squares last
	ready    *ready           // in prefill, where y lies
	launches []program.Launch
}

func (x *hyper) tiles() int { return (x.m.Width + x.columns - 1) / x.columns }

// takenBytes is the size of the rows taken of a value with more.
func (x *hyper) takenBytes() ir.Expr {
	return ir.Sym(x.rows).Mul(ir.Const(int64(4 * x.m.Streams * x.m.Width)))
}

// logitCount is the length of z.
func (x *hyper) logitCount() int {
	if x.m.Next.Head {
		return x.m.Streams
	}
	return (2 + x.m.Streams) * x.m.Streams
}

// stagedBytes is the size of a row's inputs in threadgroup memory, if they are staged.
func (x *hyper) stagedBytes() int {
	s := x.m.Source
	switch {
	case x.in.Phase == program.Prefill:
	case s.Project != nil:
		return bytesOfStaged(dim(s.Project.X, 1))
	case s.Experts != nil:
		return (dim(s.Experts.Mid, 1) + 1) * bytesOfStaged(dim(s.Experts.Mid, 2))
	}
	return 0
}

// write is the first launch.
func (x *hyper) write() error {
	s, _ := x.in.matvecSchedule()
	s.Settings = []kernel.Setting{{Name: "columns per threadgroup", Value: fmt.Sprint(x.columns), Why: "as many as eight SIMD groups make outputs of the product at once"}}
	if x.in.Target.Vector > 0 {
		s.Settings[0].Why = "the input is staged once for all of them"
	}
	u := x.in.begin(x.in.kernelName("write"), s, x.in.doc("a tile of the result, written into the streams, and its share of the next logits")...)
	w := &hyperWrite{emitter: u, hyper: x}
	w.bind()
	w.column0 = u.Let("column0", kernel.Group(0).Mul(i32(x.columns)))
	row0 := u.Let("row0", kernel.Group(1).Mul(i32(x.inputs)))
	left := u.Let("rows_left", u.StepValue(x.rows).Sub(row0))
	if u.err == nil {
		u.oneOrMore(left, x.inputs, func(n int) { w.body(row0, left, n) })
	}
	l, err := u.launch("write", ir.Const(int64(x.tiles())), ceilDiv(ir.Sym(x.rows), x.inputs))
	x.launches = append(x.launches, l)
	return err
}

// hyperWrite is the kernel "write" in the making.
type hyperWrite struct {
	*emitter
	*hyper
	source             hyperSource
	before, post, comb kernel.Buffer
	after, shareOut    kernel.Buffer
	fn                 vector
	y, tile            kernel.Array
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
	w.y = w.SharedArray("y", kernel.F32, w.inputs*w.columns)
	w.tile = w.SharedArray("streams", kernel.F32, w.inputs*m.Streams*w.columns)
}

func (w *hyperWrite) body(row0, left *kernel.Expr, n int) {
	w.row, w.live = nil, nil
	for i := range n {
		row, live := row0, (*kernel.Expr)(nil)
		if i > 0 {
			live = w.Let("live", left.Gt(i32(i)))
			row = w.Let("row", row0.Add(i32(i).Min(left.Sub(i32(1)))))
		}
		w.row, w.live = append(w.row, row), append(w.live, live)
	}
	w.Comment("y of this tile")
	w.source.tile(w)
	w.Barrier()
	w.streams()
	if w.m.Next != nil {
		w.Barrier()
		w.partials()
	}
}

// streams computes the new streams of the tile: element e of a row is column
// e mod columns of stream e / columns.
func (w *hyperWrite) streams() {
	m, elements := w.m, w.m.Streams*w.columns
	w.Comment("into the streams")
	for i := range w.row {
		w.For("e", kernel.Thread(), i32(elements), i32(w.Schedule().Threads), func(e *kernel.Expr) {
			stream := w.Let("stream", e.Div(i32(w.columns)))
			column := w.Let("column", w.column0.Add(e.Rem(i32(w.columns))))
			store := func() {
				at := w.row[i].Mul(i32(m.Streams * m.Width)).Add(column)
				v := w.Let("h", w.newStream(i, stream, column, at, w.y.At(e.Rem(i32(w.columns)).Add(i32(i*w.columns)))))
				w.tile.Set(e.Add(i32(i*elements)), v)
				if m.Source.Take == nil {
					w.guard(w.live[i], nil, false, func() { w.after.Set(at.Add(stream.Mul(i32(m.Width))), v) })
				}
			}
			if m.Width%w.columns == 0 {
				store()
				return
			}
			w.If(column.Lt(i32(m.Width)), store, func() { w.tile.Set(e.Add(i32(i*elements)), f32(0)) })
		})
	}
}

// newStream is post[k]*y + sum_j comb[j,k] before[j].
func (w *hyperWrite) newStream(i int, stream, column, at, y *kernel.Expr) *kernel.Expr {
	n := w.m.Streams
	if w.m.Source.Take != nil {
		return w.source.stream(w, i, stream, column)
	}
	if w.m.Before == nil {
		return y
	}
	v := w.post.At(w.row[i].Mul(i32(n)).Add(stream)).Mul(y)
	for j := range n {
		c := w.comb.At(w.row[i].Mul(i32(n * n)).Add(i32(j * n)).Add(stream))
		v = c.Fma(w.before.At(at.Add(i32(j*w.m.Width))), v)
	}
	return v
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
			at := w.row[i].Mul(i32(w.tiles())).Add(kernel.Group(0)).Mul(i32(n + 1)).Add(z)
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
