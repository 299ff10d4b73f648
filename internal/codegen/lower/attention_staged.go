package lower

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/ir"
)

// In a decode step on a GPU a threadgroup goes through one tile of keys, or in a long
// text through some, twice: its SIMD groups unpack a tile into threadgroup memory and
// multiply it with the queries of a few heads each; then, when all weights are known,
// they add its values up. So there is no running maximum, and no query beside an
// accumulator. Either lies in registers, a run of elements to each lane, so that
// threadgroup memory is read once for all heads of a SIMD group and lanes read side by
// side.

// stagedTile is how a tile lies in threadgroup memory: a key after the other, of a key
// a vector of its lanes' chunks after the other, of a vector its words one plane
// after the other.
type stagedTile struct {
	keys    int // 0: keys are not staged
	vectors int // of chunks, a chunk to each lane
	words   int // of a chunk: four elements, or two pairs of bf16 where that is exact
	tiles   int // that a split has at most
}

// Bounds of schedules.
const (
	stagedKeys   = 16 // of a tile: a hundred keys make some threadgroups even so
	stagedHeads  = 4  // of a SIMD group, with vectors of up to stagedChunks chunks a lane
	stagedChunks = 4
	stagedGroups = 4  // SIMD groups of a threadgroup; more leave few threadgroups to a text of a few hundred tokens
	stagedTiles  = 8  // of a split at most: their weights take threadgroup memory
	stagedSplits = 40 // splits of a row whose splits need not have as many
	quad         = 4  // keys whose scores are made at once
)

// size is the tile's words.
func (t stagedTile) size(simdWidth int) int { return t.keys * t.vectors * t.words * simdWidth }

// stage cuts the heads and keys of a decode step on a GPU. A tile's keys are of the
// window or entries, never both.
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
	for t.keys > quad && 4*(t.size(width)+a.heads*a.groups*t.keys*stagedTiles) > a.in.Target.SharedMemory {
		t.keys /= 2
	}
	a.span = (a.Size + t.keys - 1) / t.keys * t.keys
	if t.tiles = stagedTiles; !a.allVisible() {
		t.tiles = min(stagedTiles, (a.span+a.listed()-1)/(stagedSplits*t.keys)+1)
	}
	a.staged = t
	if a.keys = t.keys; a.Entries == "" && a.Size <= t.keys {
		a.keys, a.span = 0, a.Size
	}
}

// tilesOfSplit is how many tiles each split of a row has that has so many keys: as many
// as leave stagedSplits splits or fewer, but no more than stagedTiles.
func (a *attention) tilesOfSplit(keys *kernel.Expr) *kernel.Expr {
	return keys.Sub(i32(1)).Div(i32(stagedSplits * a.staged.keys)).Add(i32(1)).Min(i32(a.staged.tiles))
}

// splitRoom is the splits that a step's rows have at most.
func (a *attention) splitRoom() ir.Expr {
	return a.most().FloorDiv(int64(a.staged.tiles * a.staged.keys)).Add(ir.Const(stagedSplits + 1))
}

// partialBytes states how much of the partial results a launch needs, of which there is
// room for more than short rows have.
func (a *attention) partialBytes(u *emitter) {
	if a.staged.tiles > 1 {
		u.accesses(ir.Sym(a.rows).Mul(a.splits()).Mul(ir.Const(int64(4 * a.Heads * a.Dim))))
		u.atMost(a.partials.Bytes)
	}
}

// splitRoomOf is splitRoom, in a kernel.
func (a *attention) splitRoomOf(u *emitter) *kernel.Expr {
	n := i32(a.span + a.listed())
	if a.allVisible() {
		n = n.Add(u.StepValue(a.reach).Div(i32(a.Ratio)))
	}
	return u.Let("splits", n.Div(i32(a.staged.tiles*a.staged.keys)).Add(i32(stagedSplits+1)))
}

func (a *attention) stagedSettings(heads kernel.Setting) []kernel.Setting {
	heads.Why = "threadgroup memory is read once for them; more need too many registers"
	whole := kernel.Setting{Name: "keys", Value: fmt.Sprintf("%d a split", a.staged.keys), Why: "a tile in threadgroup memory; one row's heads make few threadgroups"}
	if a.staged.tiles > 1 {
		whole.Value += fmt.Sprintf(", up to %d with more than %d of them", a.staged.tiles*a.staged.keys, stagedSplits*a.staged.keys)
	}
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
	scores   kernel.Array      // of each SIMD group's heads [heads, tiles*keys]; then the weights
	start0   *kernel.Expr      // number of the split's first key
	from, to *kernel.Expr      // tiles that have a key of the row
	factors  []kernel.Variable // of each head's scores
}

// tileOf is a tile of a split's.
type tileOf struct {
	number   *kernel.Expr // in the split
	at, used *kernel.Expr // number of its first key, and how many it has
}

func (a *attention) newStagedUnit(role, doc string) *stagedUnit {
	u := &stagedUnit{attendUnit: a.newAttendUnit(role, doc), stagedTile: a.staged}
	elem := kernel.F32
	if u.words == 2 {
		elem = kernel.U32
	}
	u.tile = u.SharedArray("tile", elem, u.size(u.Schedule().SimdWidth))
	u.scores = u.SharedArray("scores", kernel.F32, a.heads*a.groups*u.keys*u.tiles)
	return u
}

// start asks for the queries.
func (u *stagedUnit) start(q kernel.Buffer, statistics func(head *kernel.Expr) (top, sum *kernel.Expr)) {
	for h := range u.a.heads {
		head := u.head0.Add(i32(h))
		at := u.Let("q_at", u.a.vectorAt(u.k.row, head))
		query := u.loadChunks(u.a.Dim, func(c *kernel.Expr) *kernel.Expr { return q.At(at.Add(c)) })
		top, sum := statistics(head)
		u.heads = append(u.heads, headState{query: query, top: u.Var("top", top), sum: u.Var("sum", sum), acc: u.newLaneVector("accs", u.a.Dim)})
		u.factors = append(u.factors, u.Var("factor", f32(u.a.Scale)))
	}
	u.start0, u.from, u.to = i32(0), i32(0), i32(1)
	if u.split != nil {
		u.start0 = u.Let("start", u.split.Mul(u.k.split))
	}
	if u.tiles > 1 {
		u.from = u.Let("first_tile", u.k.first.Sub(u.start0).Max(i32(0)).Div(i32(u.keys)))
		u.to = u.Let("end_tile", u.k.end.Min(u.start0.Add(u.k.split)).Sub(u.start0).Add(i32(u.keys-1)).Div(i32(u.keys)))
	}
}

// tileNumbered is a tile of the split.
func (u *stagedUnit) tileNumbered(n *kernel.Expr) tileOf {
	t := tileOf{number: n, at: u.k.first}
	end := u.k.end
	if u.split != nil {
		from := u.Let("tile_from", u.start0.Add(n.Mul(i32(u.keys))))
		t.at = u.Let("first", from.Max(u.k.first))
		end = from.Add(i32(u.keys)).Min(end)
	}
	t.used = u.Let("used", end.Sub(t.at))
	return t
}

// goThroughKeys makes the scores of all tiles, then their weights, and adds values up
// from the last tile back, which is still there.
func (u *stagedUnit) goThroughKeys() {
	if u.tiles == 1 {
		t := u.tileNumbered(i32(0))
		u.unpackTile(t, u.unpack)
		u.finishQueries()
		u.Barrier()
		u.multiply(t)
		u.weigh()
		u.addValues(t)
		return
	}
	u.For("tile", u.from, u.to, i32(1), func(n *kernel.Expr) {
		t := u.tileNumbered(n)
		u.unpackTile(t, u.unpack)
		u.If(n.Eq(u.from), u.finishQueries, nil)
		u.Barrier()
		u.multiply(t)
		u.Barrier()
	})
	u.weigh()
	u.For("back", i32(0), u.to.Sub(u.from), i32(1), func(back *kernel.Expr) {
		t := u.tileNumbered(u.Let("tile", u.to.Sub(i32(1)).Sub(back)))
		u.If(back.Gt(i32(0)), func() {
			u.Barrier()
			u.unpackTile(t, u.unpackAgain)
			u.Barrier()
		}, nil)
		u.addValues(t)
	})
}

// finishQueries norms and rotates the queries. A norm without a weight is left to the
// scores: it is one factor for a head.
func (u *stagedUnit) finishQueries() {
	norm := u.a.QNorm
	for n, h := range u.heads {
		switch {
		case norm != nil && norm.Weight != "":
			u.normVector(h.query, u.a.Dim, norm)
		case norm != nil:
			mean := u.dot(h.query, h.query).Div(f32(float64(u.a.Dim)))
			u.factors[n].Set(f32(u.a.Scale).Div(mean.Add(f32(norm.Eps)).Sqrt()))
		}
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

// slotRow says which row of a cache is in a slot of a tile. One without a key has a row
// of another's: its weight is 0.
type slotRow func(slot *kernel.Expr) *kernel.Expr

// unpackTile fills the tile. A list names the entries that exist first; a tile of others is
// 0, and memory where none is is not read.
func (u *stagedUnit) unpackTile(t tileOf, by func(rows *cacheRows, of slotRow)) {
	within := func(slot *kernel.Expr) *kernel.Expr { return t.at.Add(slot.Min(t.used.Sub(i32(1)))) }
	window := func() {
		by(u.window, func(slot *kernel.Expr) *kernel.Expr { return u.k.position.Sub(i32(u.a.span - 1)).Add(within(slot)) })
	}
	entries := func() {
		by(u.entries, func(slot *kernel.Expr) *kernel.Expr { return within(slot).Sub(i32(u.a.span)) })
	}
	if u.a.Selected != nil {
		entries = func() {
			one := u.Let("first_id", u.id(t.at))
			u.If(one.Ge(i32(0)), func() {
				by(u.entries, func(slot *kernel.Expr) *kernel.Expr {
					id := u.Let("id", u.id(within(slot)))
					return id.Ge(i32(0)).Select(id, one)
				})
			}, u.clear)
		}
	}
	if u.a.Entries == "" {
		window()
		return
	}
	u.If(t.at.Lt(i32(u.a.span)), window, entries)
}

// id is the entry of a key that is none of the window's.
func (u *stagedUnit) id(key *kernel.Expr) *kernel.Expr {
	return u.selected.At(u.k.row.Mul(i32(u.a.listed())).Add(key.Sub(i32(u.a.span))))
}

// clear fills the tile with 0.
func (u *stagedUnit) clear() {
	zero, s := f32(0), u.Schedule()
	if u.words == 2 {
		zero = kernel.U(0)
	}
	u.For("i", kernel.Thread(), i32(u.size(s.SimdWidth)), i32(s.Threads), func(i *kernel.Expr) { u.tile.Set(i, zero) })
}

// unpackAgain is unpack in few words, a chunk after the other: it is for the tiles of
// long texts.
func (u *stagedUnit) unpackAgain(rows *cacheRows, of slotRow) {
	u.For("slot_at", kernel.Simd(), i32(u.keys), i32(u.a.groups), func(slot *kernel.Expr) {
		row := rows.row(u.slot, of(slot))
		u.For("vector", i32(0), i32(u.vectors), i32(1), func(j *kernel.Expr) {
			chunk := u.Let("chunk", j.Mul(i32(u.Schedule().SimdWidth)).Add(kernel.Lane()))
			v := rows.load(row, chunk.Min(i32(u.a.Dim/4-1)).Mul(i32(4)))
			u.store(slot, j, v)
		})
	})
}

// unpack fills the tile's slots, a SIMD group one after the other. What two keys are
// made of is asked for before the first is unpacked.
func (u *stagedUnit) unpack(rows *cacheRows, of slotRow) {
	together := 1
	if u.keys%(2*u.a.groups) == 0 {
		together = 2
	}
	u.For("slot_at", kernel.Simd(), i32(u.keys), i32(u.a.groups*together), func(at *kernel.Expr) {
		fetched := make([][][]storedChunk, together)
		slot := func(n int) *kernel.Expr { return at.Add(i32(n * u.a.groups)) }
		for n := range fetched {
			row := rows.row(u.slot, of(slot(n)))
			for j := range u.vectors {
				fetched[n] = append(fetched[n], rows.fetchRun(row, j, u.a.Dim))
			}
		}
		for n, vectors := range fetched {
			for j, run := range vectors {
				u.store(slot(n), i32(j), rows.valueOfRun(run, j))
			}
		}
	})
}

// word is the index in the tile of the lane's word of vector j of a slot.
func (u *stagedUnit) word(slot, j *kernel.Expr, word int) *kernel.Expr {
	width := u.Schedule().SimdWidth
	return slot.Mul(i32(u.vectors * u.words * width)).Add(j.Mul(i32(u.words * width))).Add(i32(word * width)).Add(kernel.Lane())
}

// store puts the lane's chunk of vector j into the tile. Lanes behind the vector's end
// store what no query looks at.
func (u *stagedUnit) store(slot, j, v *kernel.Expr) {
	if v.Op != kernel.OpVec {
		v = u.Let("key4", v)
	}
	x := lanesOf(v)
	for w := range u.words {
		word := x[w]
		if u.words == 2 {
			word = x[2*w].As(kernel.U32).Shr(kernel.U(16)).Or(x[2*w+1].As(kernel.U32).And(kernel.U(0xffff0000)))
		}
		u.tile.Set(u.word(slot, j, w), word)
	}
}

// key reads a slot's vectors.
func (u *stagedUnit) key(slot *kernel.Expr) []*kernel.Expr {
	var out []*kernel.Expr
	for j := range u.vectors {
		var x []*kernel.Expr
		for w := range u.words {
			word := u.Let("word", u.tile.At(u.word(slot, i32(j), w)))
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

// score is the index of a head's score of a slot of the split; the head is of the SIMD
// group.
func (u *stagedUnit) score(head, slot *kernel.Expr) *kernel.Expr {
	return kernel.Simd().Mul(i32(u.a.heads)).Add(head).Mul(i32(u.keys * u.tiles)).Add(slot)
}

// multiply makes the products of queries and a tile, a quad of keys at a time.
func (u *stagedUnit) multiply(t tileOf) {
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
		u.If(kernel.Lane().Rem(i32(each)).Eq(i32(0)).And(number.Lt(i32(len(products)))), func() {
			slot := t.number.Mul(i32(u.keys)).Add(at).Add(number.Div(i32(len(u.heads))))
			u.scores.Set(u.score(number.Rem(i32(len(u.heads))), slot), sum)
		}, nil)
	})
}

// weigh turns scores into weights: those of a head's slots, some to each lane.
func (u *stagedUnit) weigh() {
	u.Barrier()
	each := func(body func(slot *kernel.Expr)) {
		u.For("slot_of", u.from.Mul(i32(u.keys)).Add(kernel.Lane()), u.to.Mul(i32(u.keys)), i32(u.Schedule().SimdWidth), body)
	}
	none := f32(math.Inf(-1))
	var highest, sums []kernel.Variable
	for _, s := range u.heads {
		highest = append(highest, u.Var("highest", s.top.Expr))
		sums = append(sums, u.Var("sum_of_lane", f32(0)))
	}
	each(func(slot *kernel.Expr) {
		there := u.Let("there", u.there(slot))
		for h := range u.heads {
			at := u.Let("score_at", u.score(i32(h), slot))
			score := u.Let("score", there.Select(u.scores.At(at).Mul(u.factors[h].Expr), none))
			highest[h].Set(highest[h].Max(score))
			u.scores.Set(at, score)
		}
	})
	for h := range u.heads {
		highest[h].Set(highest[h].SimdMax())
	}
	each(func(slot *kernel.Expr) {
		for h := range u.heads {
			at := u.Let("score_at", u.score(i32(h), slot))
			score := u.Let("score", u.scores.At(at))
			weight := u.Let("weight", score.Eq(none).Select(f32(0), score.Sub(highest[h].Expr).Exp()))
			u.scores.Set(at, weight)
			sums[h].Set(sums[h].Add(weight))
		}
	})
	for h, s := range u.heads {
		sum := sums[h].SimdSum()
		if u.split == nil {
			sum = s.sum.Fma(s.top.Sub(highest[h].Expr).Exp(), sum)
		}
		s.sum.Set(sum)
		s.top.Set(highest[h].Expr)
	}
	u.Barrier()
}

// there says whether a slot of the split has a key.
func (u *stagedUnit) there(slot *kernel.Expr) *kernel.Expr {
	t, in := u.tileNumbered(slot.Div(i32(u.keys))), slot.Rem(i32(u.keys))
	there := in.Lt(t.used)
	if u.a.Selected == nil {
		return there
	}
	key := u.Let("key", t.at.Add(in.Min(t.used.Sub(i32(1)))))
	return there.And(key.Lt(i32(u.a.span)).Or(u.id(key.Max(i32(u.a.span))).Ge(i32(0))))
}

// addValues adds a tile's keys by their weights.
func (u *stagedUnit) addValues(t tileOf) {
	u.For("key", i32(0), i32(u.keys), i32(1), func(slot *kernel.Expr) {
		key := u.key(slot)
		for h, s := range u.heads {
			weight := u.Let("weight", u.scores.At(u.score(i32(h), t.number.Mul(i32(u.keys)).Add(slot))))
			for j, m := range s.acc {
				m.Set(splat(weight).Fma(key[j], m.Expr))
			}
		}
	})
}
