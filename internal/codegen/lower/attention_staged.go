package lower

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
)

// In a decode step on a GPU a split is one tile of keys, so that a threadgroup needs
// no running maximum, and no query beside an accumulator: its SIMD groups unpack the
// tile into threadgroup memory, multiply it with the queries of a few heads each, and
// then add its values up with the weights. Queries, and later accumulators, lie in
// registers, a run of elements to each lane, so that threadgroup memory is read once
// for all heads of a SIMD group and lanes read side by side.

// stagedTile is how a tile lies in threadgroup memory: a key after the other, of a key
// a vector of its lanes' chunks after the other, of a vector its words one plane
// after the other.
type stagedTile struct {
	keys    int // 0: keys are not staged
	vectors int // of chunks, a chunk to each lane
	words   int // of a chunk: four elements, or two pairs of bf16 where that is exact
}

// Bounds of schedules.
const (
	stagedKeys   = 16 // of a tile: a hundred keys make some threadgroups even so
	stagedHeads  = 4  // of a SIMD group, with vectors of up to stagedChunks chunks a lane
	stagedChunks = 4
	stagedGroups = 4 // SIMD groups of a threadgroup; more leave few threadgroups to a text of a few hundred tokens
	quad         = 4 // keys whose scores are made at once
)

// size is the tile's words.
func (t stagedTile) size(simdWidth int) int { return t.keys * t.vectors * t.words * simdWidth }

// stage cuts the heads and keys of a decode step on a GPU. A threadgroup's keys are of
// the window or entries, never both.
func (a *attention) stage() {
	width := a.in.Target.SimdWidth
	t := stagedTile{keys: stagedKeys, vectors: (a.Dim + 4*width - 1) / (4 * width), words: 2}
	a.heads = divisor(a.Heads, max(1, stagedHeads*stagedChunks/max(t.vectors, stagedChunks)))
	a.groups = divisor(a.Heads/a.heads, a.in.Target.Groups(stagedGroups))
	for _, state := range []string{a.Window, a.Entries} {
		if c := a.in.Caches[state]; c != nil && !narrow(c.Row) {
			t.words = 4
		}
	}
	for t.keys > quad && 4*(t.size(width)+a.heads*a.groups*t.keys) > a.in.Target.SharedMemory {
		t.keys /= 2
	}
	a.staged = t
	if a.Entries == "" && a.Size <= t.keys {
		return
	}
	a.keys = t.keys
	a.span = (a.Size + t.keys - 1) / t.keys * t.keys
}

func (a *attention) stagedSettings(heads kernel.Setting) []kernel.Setting {
	heads.Why = "threadgroup memory is read once for them; more need too many registers"
	whole := kernel.Setting{Name: "keys", Value: fmt.Sprintf("%d a split", a.staged.keys), Why: "a tile in threadgroup memory; one row's heads make few threadgroups"}
	if a.keys == 0 {
		whole.Value, whole.Why = "not split", "they fit one tile"
	}
	element := kernel.Setting{Name: "tile", Value: "f32", Why: "as the cache has them"}
	if a.staged.words == 2 {
		element.Value, element.Why = "bf16", "it has the cache's elements exactly, in half the memory"
	}
	return []kernel.Setting{
		heads,
		{Name: "SIMD groups", Value: fmt.Sprint(a.groups), Why: fmt.Sprintf("a key is unpacked once for their %d heads", a.groups*a.heads)},
		whole,
		element,
	}
}

// stagedUnit is the kernel that unpacks a tile of keys and attends to it.
type stagedUnit struct {
	*attendUnit
	stagedTile
	tile     kernel.Array
	scores   kernel.Array   // of each SIMD group's heads [heads, keys]; then the weights
	at, used *kernel.Expr   // number of the tile's first key, and how many it has
	factors  []*kernel.Expr // of each head's scores
}

func (a *attention) newStagedUnit(role, doc string) *stagedUnit {
	u := &stagedUnit{attendUnit: a.newAttendUnit(role, doc), stagedTile: a.staged}
	elem := kernel.F32
	if u.words == 2 {
		elem = kernel.U32
	}
	u.tile = u.SharedArray("tile", elem, u.size(u.Schedule().SimdWidth))
	u.scores = u.SharedArray("scores", kernel.F32, a.heads*a.groups*u.keys)
	return u
}

// start asks for the queries, unpacks the tile, and makes of the queries what scores
// take.
func (u *stagedUnit) start(q kernel.Buffer, statistics func(head *kernel.Expr) (top, sum *kernel.Expr)) {
	for h := range u.a.heads {
		at := u.Let("q_at", u.a.vectorAt(u.k.row, u.head0.Add(i32(h))))
		query := u.loadChunks(u.a.Dim, func(c *kernel.Expr) *kernel.Expr { return q.At(at.Add(c)) })
		u.heads = append(u.heads, headState{query: query})
	}
	u.at, u.used = u.k.first, u.k.end.Sub(u.k.first)
	if u.split != nil {
		from := u.split.Mul(i32(u.keys))
		u.at = u.Let("first", from.Max(u.k.first))
		u.used = from.Add(i32(u.keys)).Min(u.k.end).Sub(u.at)
	}
	u.used = u.Let("used", u.used)
	window := func() { u.unpack(u.window, u.windowRow) }
	if u.a.Entries == "" {
		window()
	} else {
		u.If(u.at.Lt(i32(u.a.span)), window, u.unpackEntries)
	}
	u.finishQueries()
	for h := range u.heads {
		top, sum := statistics(u.head0.Add(i32(h)))
		u.heads[h].top, u.heads[h].sum = u.Var("top", top), u.Var("sum", sum)
		u.heads[h].acc = u.newLaneVector("accs", u.a.Dim)
	}
	u.Barrier()
}

// finishQueries norms and rotates the queries. A norm without a weight is left to the
// scores: it is one factor for a head.
func (u *stagedUnit) finishQueries() {
	norm := u.a.QNorm
	for _, h := range u.heads {
		factor := f32(u.a.Scale)
		switch {
		case norm != nil && norm.Weight != "":
			u.normVector(h.query, u.a.Dim, norm)
		case norm != nil:
			mean := u.dot(h.query, h.query).Div(f32(float64(u.a.Dim)))
			factor = u.Let("factor", factor.Div(mean.Add(f32(norm.Eps)).Sqrt()))
		}
		u.factors = append(u.factors, factor)
	}
	u.Comment("rotary embedding")
	r := chunkRotation{u: u.emitter, table: u.rotation(u.a.Rope, 0), at: u.Let("rope_at", u.k.row.Mul(i32(u.a.Rope.Dims))), first: u.a.Dim - u.a.Rope.Dims, back: u.a.Rope.Inverse}
	begin := r.first / 4 * 4
	u.eachChunkIn(u.heads[0].query, part4{begin, u.a.Dim - begin}, func(j int, chunk *kernel.Expr) {
		for _, h := range u.heads {
			r.apply(chunk, h.query[j])
		}
	})
}

// windowRow is the window's row for a slot of the tile.
func (u *stagedUnit) windowRow(slot *kernel.Expr) (index, there *kernel.Expr) {
	number := u.at.Add(slot.Min(u.used.Sub(i32(1))))
	return u.k.position.Sub(i32(u.a.span - 1)).Add(number), slot.Lt(u.used)
}

// unpackEntries fills the tile with entries. A list names those that exist first; a
// tile of others is 0, and memory where none is is not read.
func (u *stagedUnit) unpackEntries() {
	first := u.at.Sub(i32(u.a.span))
	within := func(slot *kernel.Expr) *kernel.Expr { return first.Add(slot.Min(u.used.Sub(i32(1)))) }
	if u.a.Selected == nil {
		u.unpack(u.entries, func(slot *kernel.Expr) (index, there *kernel.Expr) { return within(slot), slot.Lt(u.used) })
		return
	}
	list := u.k.row.Mul(i32(u.a.listed()))
	one := u.Let("first_id", u.selected.At(list.Add(first)))
	u.If(one.Ge(i32(0)), func() {
		u.unpack(u.entries, func(slot *kernel.Expr) (index, there *kernel.Expr) {
			id := u.Let("id", u.selected.At(list.Add(within(slot))))
			return id.Ge(i32(0)).Select(id, one), slot.Lt(u.used).And(id.Ge(i32(0)))
		})
	}, func() {
		zero := f32(0)
		if u.words == 2 {
			zero = kernel.U(0)
		}
		s := u.Schedule()
		u.For("i", kernel.Thread(), i32(u.size(s.SimdWidth)), i32(s.Threads), func(i *kernel.Expr) { u.tile.Set(i, zero) })
	})
}

// unpack fills the tile's slots, a SIMD group one after the other, and those without a
// key with 0. What two keys are made of is asked for before the first is unpacked.
func (u *stagedUnit) unpack(rows *cacheRows, of func(slot *kernel.Expr) (index, there *kernel.Expr)) {
	type key struct {
		slot, there *kernel.Expr
		chunks      [][]storedChunk
	}
	together := 1
	if u.keys%(2*u.a.groups) == 0 {
		together = 2
	}
	u.For("slot_at", kernel.Simd(), i32(u.keys), i32(u.a.groups*together), func(at *kernel.Expr) {
		var keys []key
		for n := range together {
			k := key{slot: at.Add(i32(n * u.a.groups))}
			index, there := of(k.slot)
			k.there = there
			row := rows.row(u.slot, index)
			for j := range u.vectors {
				k.chunks = append(k.chunks, rows.fetchRun(row, j, u.a.Dim))
			}
			keys = append(keys, k)
		}
		for _, k := range keys {
			for j, chunk := range k.chunks {
				there := k.there
				if 4*(j+1)*u.Schedule().SimdWidth > u.a.Dim {
					there = there.And(u.chunk(j).Lt(i32(u.a.Dim / 4)))
				}
				u.store(k.slot, j, there, rows.valueOfRun(chunk, j))
			}
		}
	})
}

// word is the index in the tile of the lane's word of vector j of a slot.
func (u *stagedUnit) word(slot *kernel.Expr, j, word int) *kernel.Expr {
	width := u.Schedule().SimdWidth
	return slot.Mul(i32(u.vectors * u.words * width)).Add(i32((j*u.words + word) * width)).Add(kernel.Lane())
}

// store puts the lane's chunk of vector j into the tile, or 0.
func (u *stagedUnit) store(slot *kernel.Expr, j int, there, v *kernel.Expr) {
	x := lanesOf(u.Let("key4", v))
	for w := range u.words {
		if u.words == 4 {
			u.tile.Set(u.word(slot, j, w), there.Select(x[w], f32(0)))
			continue
		}
		pair := x[2*w].As(kernel.U32).Shr(kernel.U(16)).Or(x[2*w+1].As(kernel.U32).And(kernel.U(0xffff0000)))
		u.tile.Set(u.word(slot, j, w), there.Select(pair, kernel.U(0)))
	}
}

// key reads a slot's vectors.
func (u *stagedUnit) key(slot *kernel.Expr) []*kernel.Expr {
	var out []*kernel.Expr
	for j := range u.vectors {
		var x []*kernel.Expr
		for w := range u.words {
			word := u.Let("word", u.tile.At(u.word(slot, j, w)))
			if u.words == 4 {
				x = append(x, word)
			} else {
				x = append(x, word.Shl(kernel.U(16)).As(kernel.F32), word.And(kernel.U(0xffff0000)).As(kernel.F32))
			}
		}
		out = append(out, u.Let("key4", kernel.Vector(x...)))
	}
	return out
}

// score is the index of a head's score of a slot; the head is of the SIMD group.
func (u *stagedUnit) score(head, slot *kernel.Expr) *kernel.Expr {
	return kernel.Simd().Mul(i32(u.a.heads)).Add(head).Mul(i32(u.keys)).Add(slot)
}

// goThroughKeys takes the tile.
func (u *stagedUnit) goThroughKeys() {
	u.multiply()
	u.Barrier()
	u.weigh()
	u.Barrier()
	u.addValues()
}

// multiply makes the products of queries and keys, a quad of keys at a time.
func (u *stagedUnit) multiply() {
	u.For("key_at", i32(0), i32(u.keys), i32(quad), func(at *kernel.Expr) {
		var products []*kernel.Expr
		for n := range quad {
			key := u.key(at.Add(i32(n)))
			for _, h := range u.heads {
				sum := h.query[0].Mul(key[0])
				for j := 1; j < len(key); j++ {
					sum = h.query[j].Fma(key[j], sum)
				}
				x := lanesOf(u.Let("products", sum))
				products = append(products, u.Let("product", x[0].Add(x[1]).Add(x[2].Add(x[3]))))
			}
		}
		sum, each := u.sumsOverLanes(products)
		number := kernel.Lane().Div(i32(each))
		u.guard(nil, kernel.Lane().Rem(i32(each)).Eq(i32(0)).And(number.Lt(i32(len(products)))), true, func() {
			u.scores.Set(u.score(number.Rem(i32(len(u.heads))), at.Add(number.Div(i32(len(u.heads))))), sum)
		})
	})
}

// weigh turns scores into weights, a slot to each lane.
func (u *stagedUnit) weigh() {
	there := u.Let("there", kernel.Lane().Lt(u.used))
	if u.a.Selected != nil {
		entry := u.at.Sub(i32(u.a.span)).Max(i32(0)).Add(kernel.Lane().Min(u.used.Sub(i32(1))))
		listed := u.selected.At(u.k.row.Mul(i32(u.a.listed())).Add(entry.Min(i32(u.a.listed() - 1)))).Ge(i32(0))
		there = u.Let("there", there.And(u.at.Lt(i32(u.a.span)).Or(listed)))
	}
	for h, s := range u.heads {
		at := u.Let("score_at", u.score(i32(h), kernel.Lane()))
		score := u.Var("score", f32(math.Inf(-1)))
		u.If(there, func() { score.Set(u.scores.At(at).Mul(u.factors[h])) }, nil)
		top := u.Let("new_top", s.top.Max(score.SimdMax()))
		weight := u.Let("weight", there.Select(score.Sub(top).Exp(), f32(0)))
		sum := weight.SimdSum()
		if u.split == nil {
			sum = s.sum.Fma(s.top.Sub(top).Exp(), sum)
		}
		s.sum.Set(sum)
		s.top.Set(top)
		u.guard(nil, kernel.Lane().Lt(i32(u.keys)), u.keys < u.Schedule().SimdWidth, func() { u.scores.Set(at, weight) })
	}
}

// addValues adds the tile's keys by their weights.
func (u *stagedUnit) addValues() {
	u.For("key", i32(0), i32(u.keys), i32(1), func(slot *kernel.Expr) {
		key := u.key(slot)
		for h, s := range u.heads {
			weight := u.Let("weight", u.scores.At(u.score(i32(h), slot)))
			for j, m := range s.acc {
				m.Set(splat(weight).Fma(key[j], m.Expr))
			}
		}
	})
}
