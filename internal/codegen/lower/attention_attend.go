package lower

import (
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// attendUnit is the kernel that goes through keys.
type attendUnit struct {
	*emitter
	a        *attention
	k        rowKeys
	slot     *kernel.Expr
	window   *cacheRows
	entries  *cacheRows
	selected kernel.Buffer
	head0    *kernel.Expr // the SIMD group's first head
	split    *kernel.Expr // nil if keys are not split
	heads    []headState
}

// headState is a SIMD group's state of one head while it goes through the keys.
type headState struct {
	query    laneVector
	top, sum kernel.Variable // largest score, sum of exp(score-top)
	acc      laneVector
}

// attender goes through keys: a few heads at a time, or in tiles for many.
type attender interface {
	// start reads, norms and rotates the queries; statistics gives a head's first
	// maximum and sum.
	start(q kernel.Buffer, statistics func(head *kernel.Expr) (top, sum *kernel.Expr))
	goThroughKeys() // of the row, or of its split
	write(result kernel.Buffer)
	writeParts(partials, stats kernel.Buffer, splits *kernel.Expr) // what the merge needs of a split
}

func (a *attention) attend() (program.Launch, error) {
	if a.keys == 0 {
		return a.attendWhole()
	}
	return a.attendSplit()
}

// attender makes the attender that the schedule asks for; `what` names, in its header,
// the keys that it attends to.
func (a *attention) attender(role, what string) (*attendUnit, attender) {
	if a.staged.keys > 0 {
		u := a.newStagedUnit(role, "attention over "+what+": a tile of them is unpacked for the heads of a threadgroup, of which a SIMD group has a few")
		return u.attendUnit, u
	}
	if a.tile.heads > 0 {
		u := a.newTileUnit(role, "attention over "+what+" with an online softmax: products with tiles of keys, for many heads of a row at once")
		return u.attendUnit, u
	}
	u := a.newAttendUnit(role, "attention over "+what+" with an online softmax, a SIMD group for each few heads")
	return u, u
}

func (a *attention) newAttendUnit(role, doc string) *attendUnit {
	s := kernel.Schedule{Threads: a.groups * a.in.Target.SimdWidth, Settings: a.settings()}
	u := &attendUnit{emitter: a.in.begin(a.in.kernelName(role), s, a.in.doc(doc)...), a: a}
	u.window = u.cacheRows("window", a.Window, kernel.Read)
	bytes := ir.Const(int64(u.window.cache.Row.Bytes))
	u.accesses(a.windowRows().Mul(bytes))
	if reach, err := a.in.symbol(ir.Reach); err == nil {
		u.atMost(a.textRows(ir.Sym(reach)).Mul(bytes))
	}
	if a.Entries != "" {
		u.entries = u.cacheRows("entries", a.Entries, kernel.Read)
		bytes := ir.Const(int64(u.entries.cache.Row.Bytes))
		u.accesses(a.entryRows(u.entries.cache).Mul(bytes))
		if state := u.entries.cache.State; state != nil {
			u.atMost(a.textRows(state.Keep).Mul(bytes))
		}
	}
	if a.Selected != nil {
		u.selected = u.activation("selected", a.Selected, kernel.Read)
	}
	return u
}

// windowRows is how many rows of the window a step reads: decode rows are of
// different slots, prefill rows mostly of one.
func (a *attention) windowRows() ir.Expr {
	rows, size := ir.Sym(a.rows), ir.Const(int64(a.Size))
	if a.in.Phase == program.Prefill {
		return rows.Add(size)
	}
	return rows.Mul(size)
}

// entryRows is how many entries a step reads, at most.
func (a *attention) entryRows(c *program.Cache) ir.Expr {
	switch {
	case a.in.Phase == program.Prefill && c.State != nil:
		return c.State.Keep
	case a.allVisible():
		return ir.Sym(a.rows).Mul(ir.Sym(a.reach).FloorDiv(int64(a.Ratio)))
	}
	return ir.Sym(a.rows).Mul(ir.Const(int64(a.listed())))
}

// textRows is how many rows of a cache a step reads if a text has so many: decode rows
// are of different texts, prefill rows mostly of one.
func (a *attention) textRows(each ir.Expr) ir.Expr {
	if a.in.Phase == program.Prefill {
		return each
	}
	return ir.Sym(a.rows).Mul(each)
}

// blocks is how many threadgroups one row's heads take.
func (a *attention) blocks() ir.Expr { return ir.Const(int64(a.Heads / (a.heads * a.groups))) }

// attendWhole makes the result. The sink is in the running maximum and sum
// from the start, as a key whose value is 0.
func (a *attention) attendWhole() (program.Launch, error) {
	u, keys := a.attender("", "a window and entries")
	q := u.activation4("q", a.Q, kernel.Read)
	sink := u.vector("sink", a.Sink)
	result := u.activation4("result", a.Result, kernel.Write)
	u.place(kernel.Group(1))
	keys.start(q, func(head *kernel.Expr) (top, sum *kernel.Expr) { return sink.At(head), f32(1) })
	keys.goThroughKeys()
	keys.write(result)
	return u.launch("", a.blocks(), ir.Sym(a.rows))
}

// attendSplit makes the partial sums of the splits.
func (a *attention) attendSplit() (program.Launch, error) {
	u, keys := a.attender("split", "one split of the keys")
	q := u.activation4("q", a.Q, kernel.Read)
	partials := u.vectors("partials", program.Arg{Scratch: a.partials}, kernel.Write)
	a.partialBytes(u.emitter)
	stats := u.scratch("stats", a.stats, kernel.F32, kernel.Write)
	u.split = u.Let("split", kernel.Group(1))
	u.place(kernel.Group(2))
	splits := a.splitCount(u.emitter)
	from := u.Let("from", u.split.Mul(u.k.split))
	u.Comment("The merge does not read splits without a key of the row.")
	u.If(from.Add(u.k.split).Gt(u.k.first).And(from.Lt(u.k.end)), func() {
		keys.start(q, func(*kernel.Expr) (top, sum *kernel.Expr) { return f32(math.Inf(-1)), f32(0) })
		keys.goThroughKeys()
		keys.writeParts(partials, stats, splits)
	}, nil)
	return u.launch("split", a.blocks(), a.splits(), ir.Sym(a.rows))
}

// place names what the SIMD group works on.
func (u *attendUnit) place(row *kernel.Expr) {
	u.k = u.a.rowKeys(u.emitter, u.Let("row", row))
	u.slot = u.Let("slot", u.StepAt("slot", u.k.row))
	group := kernel.Group(0).Mul(i32(u.a.groups)).Add(kernel.Simd())
	u.head0 = u.Let("head", group.Mul(i32(u.a.heads)))
}

// start reads, norms and rotates the queries; statistics gives a head's first
// maximum and sum.
func (u *attendUnit) start(q kernel.Buffer, statistics func(head *kernel.Expr) (top, sum *kernel.Expr)) {
	finish := &fusion.Postprocess{Norm: u.a.QNorm, Rope: &u.a.Rope}
	for h := range u.a.heads {
		head := u.head0.Add(i32(h))
		var s headState
		at := u.Let("q_at", u.a.vectorAt(u.k.row, head))
		s.query = u.loadChunks(u.a.Dim, func(c *kernel.Expr) *kernel.Expr { return q.At(at.Add(c)) })
		u.postprocess(s.query, u.a.Dim, finish, u.k.row, 0)
		top, sum := statistics(head)
		s.top, s.sum = u.Var("top", top), u.Var("sum", sum)
		s.acc = u.newLaneVector("accs", u.a.Dim)
		u.heads = append(u.heads, s)
	}
}

// dot is the product of two vectors; every lane gets it.
func (u *attendUnit) dot(x, y laneVector) *kernel.Expr {
	sum := x[0].Mul(y[0].Expr)
	for j := 1; j < len(x); j++ {
		sum = x[j].Fma(y[j].Expr, sum)
	}
	return u.sumOfChunks(u.Let("products", sum))
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
	row := cache.row(u.slot, index)
	key := u.loadChunks(u.a.Dim, func(c *kernel.Expr) *kernel.Expr { return cache.load(row, c.Mul(i32(4))) })
	for _, h := range u.heads {
		score := u.Let("score", u.dot(h.query, key).Mul(f32(u.a.Scale)))
		top := u.Let("new_top", h.top.Max(score))
		weight := u.Let("weight", score.Sub(top).Exp())
		shrink := u.Let("shrink", h.top.Sub(top).Exp())
		h.sum.Set(h.sum.Fma(shrink, weight))
		for j, m := range h.acc {
			m.Set(splat(weight).Fma(key[j].Expr, m.Mul(splat(shrink))))
		}
		h.top.Set(top)
	}
}

// write stores the results.
func (u *attendUnit) write(result kernel.Buffer) {
	for h, s := range u.heads {
		u.a.write(u.emitter, result, u.k.row, u.head0.Add(i32(h)), s)
	}
}

// writeParts stores what the merge needs of a split.
func (u *attendUnit) writeParts(partials, stats kernel.Buffer, splits *kernel.Expr) {
	for h, s := range u.heads {
		part := u.Let("part", u.a.part(u.k.row, splits, u.split, u.head0.Add(i32(h))))
		u.writePart(partials, stats, part, s.acc, s.top.Expr, s.sum.Expr)
	}
}

// writePart stores a head's.
func (u *attendUnit) writePart(partials, stats kernel.Buffer, part *kernel.Expr, acc laneVector, top, sum *kernel.Expr) {
	u.eachChunkIn(acc, part4{0, u.a.Dim}, func(j int, c *kernel.Expr) {
		partials.Set(part.Mul(i32(u.a.Dim/4)).Add(c), acc[j].Expr)
	})
	u.If(kernel.Lane().Eq(i32(0)), func() {
		stats.Set(part.Mul(i32(2)), top)
		stats.Set(part.Mul(i32(2)).Add(i32(1)), sum)
	}, nil)
}
