package lower

import (
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// A SIMD group alone works on many heads of a row at once, since they share the
// row's keys: a tile of keys is unpacked once for all of them, and both scores and
// weighted sums are products of matrices,
//
//	scores [keys, heads] = tile [keys, dim] . queries [dim, heads]
//	acc    [heads, dim] += weights [heads, keys] . tile [keys, dim]
//
// with an online softmax between them whose lanes are heads. All of it lies in
// threadgroup memory, which is the second level of a core's cache.

// keysAtOnce is the keys of a tile: few enough that a block's columns of it stay
// in the first level of the cache, many enough that accumulators are seldom moved.
const keysAtOnce = 32

// tileBlocks is how attention over tiles is cut: the heads of a threadgroup, and
// the blocks whose sums fill the registers.
type tileBlocks struct {
	heads                 int // 0: the target or the shape is not for tiles
	stride                int // of a row of keys or of an accumulator: not a power of two, of which the cache holds few
	scoreKeys, scoreHeads int
	accHeads, accColumns  int
}

// tileBlocks cuts attention for a SIMD group alone.
func (a *attention) tileBlocks() tileBlocks {
	t := a.in.Target
	if t.Vector == 0 || a.Heads%fragment != 0 || a.Dim%fragment != 0 {
		return tileBlocks{}
	}
	b := tileBlocks{stride: a.Dim + cacheLine, accHeads: 4}
	sums := a.in.registersOfSums() * t.Vector
	for n := fragment; n <= a.Heads; n += fragment {
		words := a.Dim*n + n*b.stride + keysAtOnce*(b.stride+n) + 3*n
		if a.Heads%n == 0 && 4*words <= t.SharedMemory {
			b.heads = n
		}
	}
	if b.heads == 0 {
		return b
	}
	b.scoreHeads = fragment * divisor(b.heads/fragment, max(1, 2*t.Vector/fragment))
	b.scoreKeys = divisor(fragment, max(1, sums/b.scoreHeads))
	b.accColumns = fragment * divisor(a.Dim/fragment, max(1, sums/b.accHeads/fragment))
	return b
}

// tileUnit is the kernel that goes through tiles of keys.
type tileUnit struct {
	*attendUnit
	tileBlocks
	queries kernel.Array // [dim, heads]
	keys    kernel.Array // [keysAtOnce, stride]
	scores  kernel.Array // [keysAtOnce, heads]; then the weights
	acc     kernel.Array // [heads, stride]
	// For each head: the largest score, the sum of exp(score-top), and the factor by
	// which larger scores of the last tile shrink acc and sum.
	tops, sums, shrinks kernel.Array
}

func (a *attention) newTileUnit(role, doc string) *tileUnit {
	u := &tileUnit{attendUnit: a.newAttendUnit(role, doc), tileBlocks: a.tile}
	u.queries = u.SharedArray("queries", kernel.F32, a.Dim*a.heads)
	u.keys = u.SharedArray("keys", kernel.F32, keysAtOnce*u.stride)
	u.scores = u.SharedArray("scores", kernel.F32, keysAtOnce*a.heads)
	u.acc = u.SharedArray("accs", kernel.F32, a.heads*u.stride)
	u.tops, u.sums, u.shrinks = u.perHead("tops"), u.perHead("sums"), u.perHead("shrinks")
	return u
}

func (u *tileUnit) perHead(name string) kernel.Array {
	return u.SharedArray(name, kernel.F32, u.a.heads)
}

// eachHead runs f for each head of the threadgroup, one after the other.
func (u *tileUnit) eachHead(f func(h *kernel.Expr)) {
	u.For("h", i32(0), i32(u.a.heads), i32(1), f)
}

// headInLane runs f with a head in each lane.
func (u *tileUnit) headInLane(f func(h *kernel.Expr)) {
	u.For("h", kernel.Lane(), i32(u.a.heads), i32(u.Schedule().SimdWidth), f)
}

// start reads the queries, sets accumulators to 0 and gives statistics their first values.
func (u *tileUnit) start(q kernel.Buffer, statistics func(head *kernel.Expr) (top, sum *kernel.Expr)) {
	u.readQueries(q)
	u.For("i", kernel.Lane(), i32(u.a.heads*u.stride), i32(u.Schedule().SimdWidth), func(i *kernel.Expr) { u.acc.Set(i, f32(0)) })
	u.headInLane(func(h *kernel.Expr) {
		top, sum := statistics(u.head0.Add(h))
		u.tops.Set(h, top)
		u.sums.Set(h, sum)
	})
	u.Barrier()
}

// readQueries norms and rotates the queries, and turns them so that heads lie
// side by side. Where accumulators will be they lie row by row before.
func (u *tileUnit) readQueries(q kernel.Buffer) {
	dim, heads := u.a.Dim, u.a.heads
	finish := &fusion.Postprocess{Norm: u.a.QNorm, Rope: &u.a.Rope}
	u.eachHead(func(h *kernel.Expr) {
		from := u.Let("q_at", u.a.vectorAt(u.k.row, u.head0.Add(h)))
		v := u.loadChunks(dim, func(c *kernel.Expr) *kernel.Expr { return q.At(from.Add(c)) })
		u.postprocess(v, dim, finish, u.k.row, 0)
		to := u.Let("to", h.Mul(i32(u.stride)))
		u.storeVector(v, dim, func(i, x *kernel.Expr) { u.acc.Set(to.Add(i), x) })
	})
	u.Barrier()
	square := u.Fragment("square", kernel.F32, fragment, fragment)
	u.For("head_at", i32(0), i32(heads), i32(fragment), func(h *kernel.Expr) {
		u.For("column", i32(0), i32(dim), i32(fragment), func(c *kernel.Expr) {
			square.Load(u.acc, h.Mul(i32(u.stride)).Add(c), i32(u.stride), true)
			square.Store(u.queries, c.Mul(i32(heads)).Add(h), i32(heads))
		})
	})
	u.Barrier()
}

// goThroughKeys takes keys by their numbers, a tile at a time, so that the bits
// depend on the row alone.
func (u *tileUnit) goThroughKeys() {
	first, end := u.k.first, u.endKey()
	if u.split != nil {
		from := u.split.Mul(i32(u.a.keys))
		first, end = first.Max(from), end.Min(from.Add(i32(u.a.keys)))
	}
	end = u.Let("end", end)
	u.For("tile_at", first, end, i32(keysAtOnce), func(at *kernel.Expr) {
		used := u.Let("used", end.Sub(at).Min(i32(keysAtOnce)))
		u.For("key", i32(0), used, i32(1), func(key *kernel.Expr) {
			number := u.Let("number", at.Add(key))
			u.If(number.Lt(i32(u.a.Size)), func() {
				u.unpackKey(key, u.window, u.k.position.Sub(i32(u.a.Size-1)).Add(number))
			}, u.entryInTile(key, number.Sub(i32(u.a.Size))))
		})
		up := u.Let("up", roundUp(used, fragment))
		u.clearKeys(used, up)
		u.Barrier()
		u.score(up)
		u.Barrier()
		u.weigh(used, up)
		u.Barrier()
		u.shrink()
		u.Barrier()
		u.addValues(up)
		u.Barrier()
	})
}

// endKey is the number behind the row's last key. A list of entries has those that exist
// first.
func (u *tileUnit) endKey() *kernel.Expr {
	if u.a.Selected == nil {
		return u.k.end
	}
	count := u.Var("count", i32(0))
	u.For("i", kernel.Lane(), i32(u.a.listed()), i32(u.Schedule().SimdWidth), func(i *kernel.Expr) {
		id := u.selected.At(u.k.row.Mul(i32(u.a.listed())).Add(i))
		count.Set(count.Add(id.Ge(i32(0)).Select(i32(1), i32(0))))
	})
	seen := u.LetAbout("seen", count.SimdSum(), u.seenAbout())
	return u.Let("end_key", i32(u.a.Size).Add(seen))
}

// seenAbout is about how many of a list's entries a row has: all it sees, as far
// as the list takes them. The state says of how many positions an entry is.
func (u *tileUnit) seenAbout() *kernel.Expr {
	const far = 1 << 30
	reach := func(symbol string) (int64, bool) {
		return far, slices.ContainsFunc(u.a.in.Module.Symbols, func(s ir.Symbol) bool { return s.Name == symbol && s.Def == ir.Reach })
	}
	if state := u.entries.cache.State; state != nil {
		if n, err := state.Keep.Eval(reach); err == nil && n > 0 {
			return u.k.position.Add(i32(1)).Div(i32(int(far / n))).Min(i32(u.a.listed()))
		}
	}
	return i32(u.a.listed())
}

// entryInTile unpacks an entry, if there are any.
func (u *tileUnit) entryInTile(key, entry *kernel.Expr) func() {
	if u.entries == nil {
		return nil
	}
	return func() {
		if u.a.Selected != nil {
			entry = u.Let("id", u.selected.At(u.k.row.Mul(i32(u.a.listed())).Add(entry)))
		}
		u.unpackKey(key, u.entries, entry)
	}
}

// unpackKey stores a row of a cache as one of the tile: in a loop as far as lanes
// read side by side what is stored in one way, then what is left.
func (u *tileUnit) unpackKey(key *kernel.Expr, cache *cacheRows, index *kernel.Expr) {
	row, first := cache.row(u.slot, index), cache.cache.Row.Segments[0]
	to := u.Let("to", key.Mul(i32(u.stride)))
	lanes := u.Schedule().SimdWidth
	alike := first.Count / (4 * lanes) * lanes // chunks
	u.For("chunk", kernel.Lane(), i32(alike), i32(lanes), func(c *kernel.Expr) {
		at := u.Let("to", to.Add(c.Mul(i32(4))))
		for n, x := range lanesOf(cache.loadFrom(first, row, c.Mul(i32(4)))) {
			u.keys.Set(at.Add(i32(n)), x)
		}
	})
	rest := u.a.Dim - 4*alike
	v := u.loadChunks(rest, func(c *kernel.Expr) *kernel.Expr { return cache.load(row, c.Add(i32(alike)).Mul(i32(4))) })
	u.storeVector(v, rest, func(i, x *kernel.Expr) { u.keys.Set(to.Add(i).Add(i32(4*alike)), x) })
}

// clearKeys fills the last fragment of keys.
func (u *tileUnit) clearKeys(used, up *kernel.Expr) {
	u.For("past", used, up, i32(1), func(key *kernel.Expr) {
		u.For("i", kernel.Lane(), i32(u.a.Dim), i32(u.Schedule().SimdWidth), func(i *kernel.Expr) {
			u.keys.Set(key.Mul(i32(u.stride)).Add(i), f32(0))
		})
	})
}

// score multiplies the tile's keys with the queries.
func (u *tileUnit) score(up *kernel.Expr) {
	heads := i32(u.a.heads)
	u.For("key_at", i32(0), up, i32(u.scoreKeys), func(key *kernel.Expr) {
		u.For("head_at", i32(0), heads, i32(u.scoreHeads), func(head *kernel.Expr) {
			sums := u.Fragment("score", kernel.F32, u.scoreKeys, u.scoreHeads)
			x, w := u.Fragment("a", kernel.F32, u.scoreKeys, fragment), u.Fragment("b", kernel.F32, fragment, u.scoreHeads)
			u.For("depth", i32(0), i32(u.a.Dim), i32(fragment), func(step *kernel.Expr) {
				x.Load(u.keys, key.Mul(i32(u.stride)).Add(step), i32(u.stride), false)
				w.Load(u.queries, step.Mul(heads).Add(head), heads, false)
				sums.Accumulate(x, w)
			})
			sums.Store(u.scores, key.Mul(heads).Add(head), heads)
		})
	})
}

// weigh turns scores into weights, and follows the largest score and the sum.
func (u *tileUnit) weigh(used, up *kernel.Expr) {
	at := func(key, h *kernel.Expr) *kernel.Expr { return key.Mul(i32(u.a.heads)).Add(h) }
	scale := f32(u.a.Scale)
	u.headInLane(func(h *kernel.Expr) {
		before := u.Let("before", u.tops.At(h))
		top := u.Var("top", before)
		u.For("key", i32(0), used, i32(1), func(key *kernel.Expr) {
			top.Set(top.Max(u.scores.At(at(key, h)).Mul(scale)))
		})
		shrink := u.Let("shrink", before.Sub(top.Expr).Exp())
		sum := u.Var("sum", u.sums.At(h).Mul(shrink))
		u.For("key", i32(0), used, i32(1), func(key *kernel.Expr) {
			weight := u.Let("weight", u.scores.At(at(key, h)).Mul(scale).Sub(top.Expr).Exp())
			u.scores.Set(at(key, h), weight)
			sum.Set(sum.Add(weight))
		})
		u.For("past", used, up, i32(1), func(key *kernel.Expr) { u.scores.Set(at(key, h), f32(0)) })
		u.tops.Set(h, top.Expr)
		u.sums.Set(h, sum.Expr)
		u.shrinks.Set(h, shrink)
	})
}

// shrink makes accumulators those of weights to the new largest scores, which soon are
// the old ones.
func (u *tileUnit) shrink() {
	u.eachHead(func(h *kernel.Expr) {
		by := u.Let("by", u.shrinks.At(h))
		u.If(by.Lt(f32(1)), func() {
			u.For("i", kernel.Lane(), i32(u.a.Dim), i32(u.Schedule().SimdWidth), func(i *kernel.Expr) {
				at := u.Let("at", h.Mul(i32(u.stride)).Add(i))
				u.acc.Set(at, u.acc.At(at).Mul(by))
			})
		}, nil)
	})
}

// addValues adds the tile's keys by their weights.
func (u *tileUnit) addValues(up *kernel.Expr) {
	heads, stride := i32(u.a.heads), i32(u.stride)
	u.For("column", i32(0), i32(u.a.Dim), i32(u.accColumns), func(column *kernel.Expr) {
		u.For("head_at", i32(0), heads, i32(u.accHeads), func(head *kernel.Expr) {
			sums := u.Fragment("acc", kernel.F32, u.accHeads, u.accColumns)
			x, w := u.Fragment("a", kernel.F32, u.accHeads, fragment), u.Fragment("b", kernel.F32, fragment, u.accColumns)
			at := u.Let("at", head.Mul(stride).Add(column))
			sums.Load(u.acc, at, stride, false)
			u.For("depth", i32(0), up, i32(fragment), func(step *kernel.Expr) {
				x.Load(u.scores, step.Mul(heads).Add(head), heads, true)
				w.Load(u.keys, step.Mul(stride).Add(column), stride, false)
				sums.Accumulate(x, w)
			})
			sums.Store(u.acc, at, stride)
		})
	})
}

// accOf is a head's accumulator.
func (u *tileUnit) accOf(h *kernel.Expr) laneVector {
	from := u.Let("from", h.Mul(i32(u.stride)))
	return u.loadVector(u.a.Dim, func(i *kernel.Expr) *kernel.Expr { return u.acc.At(from.Add(i)) })
}

func (u *tileUnit) write(result kernel.Buffer) {
	u.eachHead(func(h *kernel.Expr) {
		s := headState{sum: u.Var("sum", u.sums.At(h)), acc: u.accOf(h)}
		u.a.write(u.emitter, result, u.k.row, u.head0.Add(h), s)
	})
}

func (u *tileUnit) writeParts(partials, stats kernel.Buffer, splits *kernel.Expr) {
	u.eachHead(func(h *kernel.Expr) {
		part := u.Let("part", u.a.part(u.k.row, splits, u.split, u.head0.Add(h)))
		u.writePart(partials, stats, part, u.accOf(h), u.tops.At(h), u.sums.At(h))
	})
}
