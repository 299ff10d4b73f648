package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// A long text's candidates are too many for one threadgroup, which looks at each of
// them in every pass of a selection. So a launch before the merge cuts them into blocks
// that the threads of a threadgroup can hold, each of which keeps the K best. Steps whose
// rows are short have no threadgroup of it.

const (
	thinBlock  = 4096 // candidates that a threadgroup's passes can look at beside the latency of a pass
	thinGroups = 8    // SIMD groups: more take longer to add their counts up than they save
)

func (t *indexTopK) thinSchedule() kernel.Schedule {
	return kernel.Schedule{Threads: t.in.Target.Groups(thinGroups) * t.in.Target.SimdWidth, Settings: []kernel.Setting{
		{Name: "block", Value: fmt.Sprintf("%d candidates", t.chunk.thin), Why: "more are thinned out first, by a threadgroup for each block, whose threads hold them"},
		{Name: "SIMD groups", Value: fmt.Sprint(t.in.Target.Groups(thinGroups)), Why: "more take longer to add up their counts than they save"},
	}}
}

// thins reports whether a text can have more candidates than a block: its entries are no
// more than the cache holds.
func (t *indexTopK) thins() bool {
	c := t.in.Caches[t.Keys]
	return t.chunk.thin > 0 && c != nil && c.Capacity > t.chunk.thin
}

// thinBlocks is how many blocks a step's rows are cut into: none if the longest has no more
// candidates than a block, which are at most its entries.
func (t *indexTopK) thinBlocks() ir.Expr {
	longest := ir.Sym(t.reach).FloorDiv(int64(t.Ratio))
	return atLeast(longest, t.chunk.thin+1).Mul(ceilDiv(longest, t.chunk.thin))
}

// thinned is a row's candidates after they were thinned out.
type thinned struct {
	u             *emitter
	t             *indexTopK
	keys, entries kernel.Buffer
}

// bindThinned binds what thinned blocks leave, if there are any.
func (t *indexTopK) bindThinned(u *emitter, a kernel.Access) thinned {
	if !t.thins() {
		return thinned{u: u, t: t}
	}
	return thinned{u, t, u.scratch("thin_keys", t.thinKeys, kernel.U32, a), u.scratch("thin_entries", t.thinEntries, kernel.I32, a)}
}

// blocks is thinBlocks in a kernel.
func (x thinned) blocks(r indexRow) *kernel.Expr {
	size := x.t.chunk.thin
	return x.u.Let("blocks", r.longest.Gt(i32(size)).Select(r.longest.Add(i32(size-1)).Div(i32(size)), i32(0)))
}

// thinOut keeps the K best of each block of candidates.
func (t *indexTopK) thinOut() (program.Launch, error) {
	if !t.thins() {
		return program.Launch{}, nil
	}
	s, k, size := t.thinSchedule(), i32(t.K), i32(t.chunk.thin)
	u := t.in.begin(t.in.kernelName("thin"), s, t.in.doc(fmt.Sprintf("keeps the %d best of a block of the chunks' candidates", t.K))...)
	keys := u.scratch("keys", t.keys, kernel.U32, kernel.Read)
	places := u.scratch("places", t.places, kernel.U16, kernel.Read)
	x := t.bindThinned(u, kernel.Write)
	block := u.Let("block", kernel.Group(0))
	r := t.row(u, kernel.Group(1))
	blocks := x.blocks(r)
	first := u.Let("first", block.Mul(size))
	count := t.count(u, r)
	u.If(r.visible.Gt(k).And(first.Lt(count)), func() {
		n := u.Let("block_size", count.Sub(first).Min(size))
		to := u.Let("to", r.row.Mul(blocks).Add(block).Mul(k))
		emit := func(position, i, key *kernel.Expr) {
			x.keys.Set(to.Add(position), key)
			x.entries.Set(to.Add(position), r.entry(places, first.Add(i)))
		}
		key := func(i *kernel.Expr) *kernel.Expr { return keys.At(r.candidates.Add(first).Add(i)) }
		u.If(n.Le(k), func() {
			u.For("i", kernel.Thread(), n, i32(s.Threads), func(i *kernel.Expr) { emit(i, i, key(i)) })
		}, func() {
			pick := &selection{u: u, n: n, most: t.chunk.thin, k: k, room: t.K, key: key, emit: emit}
			pick.run()
		})
	}, nil)
	return u.launch("thin", t.thinBlocks(), ir.Sym(t.rows))
}

// pick picks the K best of what is left of a row's candidates, or of all if they were not
// thinned out. Few of them the threads hold; more there are only of texts so long that many
// blocks are left.
func (x thinned) pick(r indexRow, all candidates, result func(position, entry *kernel.Expr)) {
	run := func(c candidates, most int) {
		s := &selection{u: x.u, n: c.count, most: most, k: i32(x.t.K), room: x.t.K, key: c.key}
		s.emit = func(position, i, _ *kernel.Expr) { result(position, c.entry(i)) }
		s.run()
	}
	if !x.t.thins() { // on a GPU there are no more than a block
		run(all, x.t.chunk.thin)
		return
	}
	left := x.or(r, all)
	x.u.If(left.count.Le(i32(x.t.chunk.thin)), func() { run(left, x.t.chunk.thin) }, func() { run(left, 0) })
}

// or is what is left of a row's candidates if they were thinned out, or all.
func (x thinned) or(r indexRow, all candidates) candidates {
	u, k, size := x.u, i32(x.t.K), i32(x.t.chunk.thin)
	blocks := x.blocks(r)
	from := u.Let("thinned", r.row.Mul(blocks).Mul(k))
	isThin := blocks.Gt(i32(0))
	left := all.count.Div(size).Mul(k).Add(all.count.Rem(size).Min(k))
	return candidates{
		count: u.Let("left", isThin.Select(left, all.count)),
		key: func(i *kernel.Expr) *kernel.Expr {
			v := u.Var("candidate", kernel.U(0))
			u.If(isThin, func() { v.Set(x.keys.At(from.Add(i))) }, func() { v.Set(all.key(i)) })
			return v.Expr
		},
		entry: func(i *kernel.Expr) *kernel.Expr {
			v := u.Var("entry", i32(0))
			u.If(isThin, func() { v.Set(x.entries.At(from.Add(i))) }, func() { v.Set(all.entry(i)) })
			return v.Expr
		},
	}
}
