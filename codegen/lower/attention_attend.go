package lower

import (
	"math"

	"smelt/codegen/kernel"
	"smelt/ir"
)

// attendUnit is the kernel that goes through keys. A vector of Dim elements is
// spread over a SIMD group: a lane holds the chunks of four elements lane,
// lane+width and so on.
type attendUnit struct {
	*unit
	a        *attention
	k        rowKeys
	window   *cacheRows
	entries  *cacheRows
	selected kernel.Buffer
	chunk    []*kernel.Expr // numbers of the lane's chunks; the last may lie behind the vector
	head0    *kernel.Expr   // the SIMD group's first head
	split    *kernel.Expr   // nil if keys are not split
	heads    []headState
}

// headState is what a SIMD group keeps of one head while keys go by.
type headState struct {
	query    []kernel.Variable
	top, sum kernel.Variable // largest score, sum of exp(score-top)
	mix      []kernel.Variable
}

func (a *attention) attend() (Launch, error) {
	if a.keys == 0 {
		return a.attendWhole()
	}
	return a.attendSplit()
}

func (a *attention) newAttendUnit(role, doc string) *attendUnit {
	s := kernel.Schedule{Threads: a.groups * a.in.Target.SimdWidth, Settings: a.settings()}
	u := &attendUnit{unit: a.in.begin(a.in.kernelName(role), s, a.in.doc(doc)...), a: a}
	u.window = u.cacheRows("window", a.Window, kernel.Read)
	if a.Entries != "" {
		u.entries = u.cacheRows("entries", a.Entries, kernel.Read)
	}
	if a.Selected != nil {
		u.selected = u.activation("selected", a.Selected, kernel.Read)
	}
	return u
}

// blocks is how many threadgroups one row's heads take.
func (a *attention) blocks() ir.Expr { return ir.Const(int64(a.Heads / (a.heads * a.groups))) }

// attendWhole makes the result. The sink is in the running maximum and sum
// from the start, as a key whose value is 0.
func (a *attention) attendWhole() (Launch, error) {
	u := a.newAttendUnit("", "attention over a window and entries with an online softmax, a SIMD group for each few heads")
	q := u.activation4("q", a.Q, kernel.Read)
	sink := u.vector("sink", a.Sink)
	result := u.activation4("result", a.Result, kernel.Write)
	u.place(kernel.Group(1))
	u.start(q, func(head *kernel.Expr) (top, sum *kernel.Expr) { return sink.At(head), f32(1) })
	u.goThroughKeys()
	u.write(result)
	return u.launch("", a.blocks(), ir.Sym(a.rows))
}

// attendSplit makes the mixes of the splits.
func (a *attention) attendSplit() (Launch, error) {
	u := a.newAttendUnit("attend", "attention over one split of the keys with an online softmax, a SIMD group for each few heads")
	q := u.activation4("q", a.Q, kernel.Read)
	mixes := u.vectors("mixes", Arg{Scratch: a.mixes}, kernel.Write)
	stats := u.scratch("stats", a.stats, kernel.F32, kernel.Write)
	u.split = u.Let("split", kernel.Group(1))
	u.place(kernel.Group(2))
	splits := a.splitCount(u.unit)
	from := u.Let("from", u.split.Mul(i32(a.keys)))
	u.Comment("The merge does not read splits without a key of the row.")
	u.If(from.Add(i32(a.keys)).Gt(u.k.first).And(from.Lt(u.k.end)), func() {
		u.start(q, func(*kernel.Expr) (top, sum *kernel.Expr) { return f32(math.Inf(-1)), f32(0) })
		u.goThroughKeys()
		u.writeParts(mixes, stats, splits)
	}, nil)
	return u.launch("attend", a.blocks(), a.splits(), ir.Sym(a.rows))
}

// place names what the SIMD group works on.
func (u *attendUnit) place(row *kernel.Expr) {
	u.k = u.a.rowKeys(u.unit, u.Let("row", row))
	group := kernel.Group(0).Mul(i32(u.a.groups)).Add(kernel.Simd())
	u.head0 = u.Let("head", group.Mul(i32(u.a.heads)))
	width := u.Schedule().SimdWidth
	for first := 0; first < u.a.Dim/4; first += width {
		u.chunk = append(u.chunk, u.Let("chunk", kernel.Lane().Add(i32(first))))
	}
}

// each runs f for the lane's chunks that lie in the vector.
func (u *attendUnit) each(f func(j int, chunk *kernel.Expr)) {
	chunks := u.a.Dim / 4
	for j, c := range u.chunk {
		u.guard(nil, c.Lt(i32(chunks)), (j+1)*u.Schedule().SimdWidth > chunks, func() { f(j, c) })
	}
}

// spread declares a vector and reads it; chunks behind its end are 0.
func (u *attendUnit) spread(name string, read func(chunk *kernel.Expr) *kernel.Expr) []kernel.Variable {
	chunks, v := u.a.Dim/4, make([]kernel.Variable, len(u.chunk))
	for j, c := range u.chunk {
		if (j+1)*u.Schedule().SimdWidth <= chunks {
			v[j] = u.Var(name, read(c))
			continue
		}
		v[j] = u.Var(name, splat(f32(0)))
		u.If(c.Lt(i32(chunks)), func() { v[j].Set(read(c)) }, nil)
	}
	return v
}

// start reads, norms and rotates the queries; statistics gives a head's first
// maximum and sum.
func (u *attendUnit) start(q kernel.Buffer, statistics func(head *kernel.Expr) (top, sum *kernel.Expr)) {
	chunks := u.a.Dim / 4
	turn := u.a.rotation(u.unit, u.k.row, false)
	for h := range u.a.heads {
		head := u.head0.Add(i32(h))
		at := u.Let("q_at", u.k.row.Mul(i32(u.a.Heads)).Add(head).Mul(i32(chunks)))
		s := headState{query: u.spread("query", func(c *kernel.Expr) *kernel.Expr { return q.At(at.Add(c)) })}
		if u.a.QNorm != nil {
			u.norm(s.query)
		}
		u.each(func(j int, c *kernel.Expr) {
			if turn.reaches(4*((j+1)*u.Schedule().SimdWidth) - 1) {
				turn.apply(c, s.query[j])
			}
		})
		top, sum := statistics(head)
		s.top, s.sum = u.Var("top", top), u.Var("sum", sum)
		s.mix = u.Vars("mix", len(u.chunk), splat(f32(0)))
		u.heads = append(u.heads, s)
	}
}

// norm divides a vector by its root mean square.
func (u *attendUnit) norm(v []kernel.Variable) {
	squares := u.dot(v, func(j int) *kernel.Expr { return v[j].Expr })
	rms := u.Let("rms", squares.Div(f32(float64(u.a.Dim))).Add(f32(u.a.QNorm.Eps)).Sqrt())
	for _, x := range v {
		x.Set(x.Div(splat(rms)))
	}
}

// dot is the product of two vectors; every lane gets it. Chunks behind a
// vector are 0.
func (u *attendUnit) dot(v []kernel.Variable, other func(j int) *kernel.Expr) *kernel.Expr {
	sum := v[0].Mul(other(0))
	for j := 1; j < len(v); j++ {
		sum = v[j].Fma(other(j), sum)
	}
	s := u.Let("products", sum)
	return s.Lane(0).Add(s.Lane(1)).Add(s.Lane(2).Add(s.Lane(3))).SimdSum()
}

// goThroughKeys takes the window's rows, then the entries, of the split.
func (u *attendUnit) goThroughKeys() {
	size := i32(u.a.Size)
	first, end := u.k.first, size
	if u.split != nil {
		from := u.split.Mul(i32(u.a.keys))
		first, end = first.Max(from), size.Min(from.Add(i32(u.a.keys)))
	}
	u.For("key", first, end, i32(1), func(key *kernel.Expr) {
		index := u.k.position.Sub(i32(u.a.Size - 1)).Add(key)
		u.takeRow(u.window, index)
	})
	if u.entries == nil {
		return
	}
	first, end = i32(0), u.k.entries
	if u.split != nil {
		from := u.split.Mul(i32(u.a.keys)).Sub(size)
		first, end = from.Max(first), end.Min(from.Add(i32(u.a.keys)))
	}
	u.For("entry", first, end, i32(1), func(entry *kernel.Expr) {
		if u.a.Selected == nil {
			u.takeRow(u.entries, entry)
			return
		}
		id := u.Let("id", u.selected.At(u.k.row.Mul(i32(u.a.listed())).Add(entry)))
		u.If(id.Ge(i32(0)), func() { u.takeRow(u.entries, id) }, nil)
	})
}

// takeRow lets the heads see one row of a cache.
func (u *attendUnit) takeRow(cache *cacheRows, index *kernel.Expr) {
	row := cache.row(u.k.slot, index)
	key := u.spread("key", func(c *kernel.Expr) *kernel.Expr {
		v := cache.load4(row, c.Mul(i32(4)))
		return kernel.Vector(v[:]...)
	})
	at := func(j int) *kernel.Expr { return key[j].Expr }
	for _, h := range u.heads {
		score := u.Let("score", u.dot(h.query, at).Mul(f32(u.a.Scale)))
		top := u.Let("new_top", h.top.Max(score))
		weight := u.Let("weight", score.Sub(top).Exp())
		shrink := u.Let("shrink", h.top.Sub(top).Exp())
		h.sum.Set(h.sum.Fma(shrink, weight))
		for j, m := range h.mix {
			m.Set(splat(weight).Fma(key[j].Expr, m.Mul(splat(shrink))))
		}
		h.top.Set(top)
	}
}

// write divides by the sum, rotates back and stores.
func (u *attendUnit) write(result kernel.Buffer) {
	chunks := u.a.Dim / 4
	back := u.a.rotation(u.unit, u.k.row, true)
	for h, s := range u.heads {
		at := u.Let("to", u.k.row.Mul(i32(u.a.Heads)).Add(u.head0.Add(i32(h))).Mul(i32(chunks)))
		u.each(func(j int, c *kernel.Expr) {
			s.mix[j].Set(s.mix[j].Div(splat(s.sum.Expr)))
			if back.reaches(4*((j+1)*u.Schedule().SimdWidth) - 1) {
				back.apply(c, s.mix[j])
			}
			result.Set(at.Add(c), s.mix[j].Expr)
		})
	}
}

// writeParts stores what the merge needs of a split.
func (u *attendUnit) writeParts(mixes, stats kernel.Buffer, splits *kernel.Expr) {
	for h, s := range u.heads {
		part := u.Let("part", u.a.part(u.k.row, splits, u.split, u.head0.Add(i32(h))))
		u.each(func(j int, c *kernel.Expr) { mixes.Set(part.Mul(i32(u.a.Dim/4)).Add(c), s.mix[j].Expr) })
		u.If(kernel.Lane().Eq(i32(0)), func() {
			stats.Set(part.Mul(i32(2)), s.top.Expr)
			stats.Set(part.Mul(i32(2)).Add(i32(1)), s.sum.Expr)
		}, nil)
	}
}
