package lower

import (
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
)

// choices are those that a decode step's rows made among the experts: number row*k+e is
// a row's e-th.
type choices struct {
	*emitter
	k     int
	count *kernel.Expr                      // of the rows
	id    func(c *kernel.Expr) *kernel.Expr // the expert of choice c
}

// companions are the choices of one expert, each lane with those that it looks after:
// choices lane, lane+32 ...
type companions struct {
	*choices
	of    *kernel.Expr      // the choice asked about
	first kernel.Variable   // whether it is the expert's first
	total kernel.Variable   // how many there are
	rank  []kernel.Variable // of the lane's choices among them; -1: it is none
}

// companions finds, within a SIMD group, the choices of the expert of choice c. A row
// alone has none to look for: its choices count as of different experts.
func (x *choices) companions(c, expert *kernel.Expr) *companions {
	lanes := x.Schedule().SimdWidth
	f := &companions{choices: x, of: c, first: x.Var("first", kernel.C(kernel.Bool, 1)), total: x.Var("total", i32(1))}
	f.rank = x.Vars("rank", (program.MaxDecodeRows*x.k+lanes-1)/lanes, i32(-1))
	x.If(x.count.Gt(i32(1)), func() {
		x.Comment("who else chose this expert")
		earliest := x.Var("earliest", i32(math.MaxInt32))
		f.total.Set(i32(0))
		for j, rank := range f.rank {
			at := x.Let("at", kernel.Lane().Add(i32(j*lanes)))
			mine := x.Var("mine", i32(0))
			x.If(at.Lt(x.count.Mul(i32(x.k))), func() { mine.Set(x.id(at).Eq(expert).Select(i32(1), i32(0))) }, nil)
			before := x.Let("before", mine.SimdPrefix())
			rank.Set(mine.Eq(i32(1)).Select(f.total.Add(before), i32(-1)))
			earliest.Set(mine.Eq(i32(1)).Select(earliest.Min(at), earliest.Expr))
			f.total.Set(f.total.Add(mine.SimdSum()))
		}
		f.first.Set(earliest.SimdMin().Eq(c))
	}, nil)
	return f
}

// choice is the n-th choice of the expert.
func (f *companions) choice(n *kernel.Expr) *kernel.Expr {
	found := f.Var("choice", f.of)
	f.If(f.count.Gt(i32(1)), func() {
		at := f.Var("found", i32(-1))
		for j, rank := range f.rank {
			at.Set(rank.Eq(n).Select(kernel.Lane().Add(i32(j*f.Schedule().SimdWidth)), at.Expr))
		}
		found.Set(at.SimdMax())
	}, nil)
	return f.Let("row_choice", found.Expr)
}

// each runs body, where choice c is the first of its expert, for all choices of it, one
// after another: a step's rows are apart for the most part, so few weights would be
// unpacked once for several, for registers and text that a row alone would have to carry.
// They come from memory once; after that a cache has them.
func (x *choices) each(c, expert *kernel.Expr, body func(c *kernel.Expr)) {
	f := x.companions(c, expert)
	first := x.LetAbout("is_first", f.first.Expr, kernel.C(kernel.Bool, 1))
	total := x.LetAbout("companions", f.total.Expr, i32(1))
	x.If(first, func() {
		x.For("n", i32(0), total, i32(1), func(n *kernel.Expr) { body(f.choice(n)) })
	}, nil)
}
