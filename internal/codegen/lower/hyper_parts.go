package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
)

// In decode on a GPU y is made in parts, which SIMD groups share: a part is a share of
// K, or an expert. Parts are added up in their order, whoever made them.

// mostShares is over how many SIMD groups the shared expert's K is dealt out at most.
const mostShares = 4

// bindShared binds the source whose y is made so.
func (w *hyperWrite) bindShared() hyperSource {
	lanes := w.Schedule().SimdWidth
	quads := w.columns / matvecRows
	if p := w.m.Source.Project; p != nil {
		s := &projectParts{x: w.rowsOf("x", p.X, 4), k: dim(p.X, 1), w: w.matrix("w", p.Weight)}
		if s.w != nil {
			w.parts = s.w.sharesOf(sharedDecodeThreads/lanes/quads, lanes)
		}
		return s
	}
	e := w.m.Source.Experts
	s := &expertsParts{
		k: dim(e.Mid, 1), f: dim(e.Mid, 2),
		mid: w.rowsOf("mid", e.Mid, 4), ids: w.activation("ids", e.IDs, kernel.Read), shared: w.rowsOf("shared", e.Shared, 4),
		down: w.expertMatrix("down", e.Down, e.IDs), sharedDown: w.matrix("shared_down", e.SharedDown),
	}
	if s.down != nil && s.sharedDown != nil {
		s.shares = s.sharedDown.sharesOf(min(mostShares, s.sharedDown.rowElements*s.sharedDown.elementBytes()/(s.down.rowElements*s.down.elementBytes())), lanes)
	}
	w.parts = s.k + s.shares
	return s
}

// eachJob deals jobs out to the SIMD groups. (Back and forth, so that who got a long one in a
// round gets a short one in the next, is no faster on an H200.)
func (w *hyperWrite) eachJob(jobs *kernel.Expr, do func(job *kernel.Expr)) {
	simds := w.Schedule().Threads / w.Schedule().SimdWidth
	if n, known := jobs.Constant(); known && int(n) == simds {
		do(kernel.Simd())
		return
	}
	w.For("job", kernel.Simd(), jobs, i32(simds), do)
}

// putPart stores a part of a few columns from `first` on: y[column][i] of the rows that
// count, which are the at-th of the threadgroup's.
func (w *hyperWrite) putPart(part, first *kernel.Expr, y [][]*kernel.Expr, at, live []*kernel.Expr) {
	w.If(kernel.Lane().Eq(i32(0)), func() {
		for i := range at {
			to := at[i].Mul(i32(w.parts)).Add(part).Mul(i32(w.columns)).Add(first)
			w.guard(live[i], nil, false, func() {
				to := w.Let("to", to)
				for j := range y {
					w.y.Set(to.Add(i32(j)), y[j][i])
				}
			})
		}
	}, nil)
}

// numbered are the numbers of n rows from one on.
func numbered(from *kernel.Expr, n int) []*kernel.Expr {
	at := make([]*kernel.Expr, n)
	for i := range at {
		at[i] = from.Add(i32(i))
	}
	return at
}

// projectParts is y = x . w, in shares of K.
type projectParts struct {
	noStream
	x *rowsOf
	k int
	w *matrix
}

func (s *projectParts) tile(*hyperWrite) {}

func (s *projectParts) share(w *hyperWrite, row0, count *kernel.Expr) {
	quads := w.columns / matvecRows
	w.oneOrMore(count, w.inputs, func(n int) {
		w.rowsOfBranch(row0, count, n)
		w.eachJob(i32(quads*w.parts), func(job *kernel.Expr) {
			share, first := w.Let("share", job.Div(i32(quads))), w.Let("first", job.Rem(i32(quads)).Mul(i32(matvecRows)))
			inputs := directs(n, func(i int) reader { return s.x.reader(w.Let("x_row", w.row[i].Mul(i32(s.k/4)))) })
			y := w.dotShare(w.matrixRows(s.w.open(nil), first), inputs, share, w.parts)
			w.putPart(share, first, y, numbered(i32(0), n), w.live)
		})
	})
}

// expertsParts is the chosen experts' down products, a part each, and the shared one's, in
// shares of K if a row of it takes more bytes.
type expertsParts struct {
	noStream
	k, f        int
	shares      int
	mid, shared *rowsOf
	ids         kernel.Buffer
	down        *matrix
	sharedDown  *matrix
}

func (s *expertsParts) tile(*hyperWrite) {}

func (s *expertsParts) share(w *hyperWrite, row0, count *kernel.Expr) {
	quads := w.columns / matvecRows
	first := func(job *kernel.Expr) *kernel.Expr {
		return w.Let("first", job.Rem(i32(quads)).Mul(i32(matvecRows)))
	}
	chosen := w.Let("chosen", count.Mul(i32(s.k*quads)))
	batches := count.Add(i32(sharedInputs - 1)).Div(i32(sharedInputs))
	all := w.Let("jobs", chosen.Add(batches.Mul(i32(s.shares*quads))))
	w.eachJob(all, func(job *kernel.Expr) {
		w.If(job.Lt(chosen), func() {
			s.chosenPart(w, row0, count, w.Let("c", job.Div(i32(quads))), first(job))
		}, func() {
			rest := w.Let("rest", job.Sub(chosen))
			n := w.Let("n", rest.Div(i32(quads)))
			s.sharedPart(w, row0, count, w.Let("batch", n.Div(i32(s.shares)).Mul(i32(sharedInputs))), w.Let("share", n.Rem(i32(s.shares))), first(rest))
		})
	})
}

// chosenPart makes the part of choice c, and of the other rows' choices of its expert.
func (s *expertsParts) chosenPart(w *hyperWrite, row0, count, c, first *kernel.Expr) {
	at := w.Let("choice0", row0.Mul(i32(s.k)))
	x := &choices{emitter: w.emitter, k: s.k, count: count, id: func(c *kernel.Expr) *kernel.Expr { return s.ids.At(at.Add(c)) }}
	expert := w.Let("expert", x.id(c))
	x.each(c, expert, func(c *kernel.Expr) {
		mid := direct(s.mid.reader(w.Let("mid_row", at.Add(c).Mul(i32(s.f/4)))))
		y := w.dot(w.matrixRows(s.down.open(expert), first), []input{mid})
		w.putPart(w.Let("part", c.Rem(i32(s.k))), first, y, []*kernel.Expr{c.Div(i32(s.k))}, []*kernel.Expr{nil})
	})
}

// sharedInputs is for how many rows the shared expert's weights are unpacked once: more
// would take registers that a row alone would have to keep.
const sharedInputs = 2

// sharedPart makes a share of the shared expert's part of up to sharedInputs rows from
// number `batch` on.
func (s *expertsParts) sharedPart(w *hyperWrite, row0, count, batch, share, first *kernel.Expr) {
	left := w.Let("left", count.Sub(batch))
	w.oneOrMore(left, sharedInputs, func(n int) {
		w.rowsOfBranch(w.Let("row", row0.Add(batch)), left, n)
		inputs := directs(n, func(i int) reader { return s.shared.reader(w.Let("shared_row", w.row[i].Mul(i32(s.f/4)))) })
		y := w.dotShare(w.matrixRows(s.sharedDown.open(nil), first), inputs, share, s.shares)
		w.putPart(share.Add(i32(s.k)), first, y, numbered(batch, n), w.live)
	})
}
