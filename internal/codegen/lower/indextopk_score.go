package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/ir"
)

// tilePlan says how a threadgroup scores entries: a tile at a time, whose keys
// lie decoded in threadgroup memory, blocks of heads dealt out to SIMD groups.
type tilePlan struct {
	fragments bool // products are made by 8x8 fragments
	entries   int  // of a tile
	stride    int  // from one key to the next in threadgroup memory
	step      int  // from one element of a key to the next
	heads     int  // of a block
	parts     int  // SIMD groups that share the entries of one block of heads
	groups    int  // SIMD groups
}

// scoreGroups is how many SIMD groups score together, if the target has as many,
// unless there are more blocks of heads.
const scoreGroups = 8

// planTile takes the largest tile that leaves room for the scores.
func (t *indexTopK) planTile() (tilePlan, error) {
	var need int
	width := t.in.Target.SimdWidth
	for entries := max(width, min(entriesEach*width, t.chunk.size)); entries >= min(fragment, width); entries /= 2 {
		p := t.tileOf(entries)
		if need = t.sharedBytes(p); need <= t.in.Target.SharedMemory {
			return p, nil
		}
	}
	return tilePlan{}, fmt.Errorf("%d index heads of %d elements and chunks of %d entries take %d bytes of threadgroup memory, the target has %d",
		t.Heads, t.Dim, t.chunk.size, need, t.in.Target.SharedMemory)
}

// entriesEach is how many entries a lane takes of a tile at most, if lanes make products: an
// element of q is read once for them, and that is most of what is read.
const entriesEach = 2

// tileOf uses fragments where the machine has them, and heads and elements come in
// eights.
func (t *indexTopK) tileOf(entries int) tilePlan {
	blocks, most := t.Heads/fragment, t.in.Target.Groups(scoreGroups)
	switch {
	case most == 1:
		// A SIMD group alone reads an element of all keys at once.
		entries = min(entries, t.in.Target.SimdWidth)
		return tilePlan{entries: entries, stride: 1, step: entries, heads: t.Heads, parts: 1, groups: 1}
	case !t.in.Target.Fragments.Has(target.F32) || t.Heads%fragment != 0 || t.Dim%fragment != 0 || entries%fragment != 0 || blocks*t.in.Target.SimdWidth > t.in.Target.MaxThreads:
		groups := divisor(t.Heads, most)
		// An odd stride spreads a column of keys over all banks of the memory.
		return tilePlan{entries: entries, stride: t.Dim + 1, step: 1, heads: t.Heads / groups, parts: 1, groups: groups}
	}
	entries = min(entries, t.in.Target.SimdWidth)
	parts := 1
	for entries/(2*parts)%fragment == 0 && 2*parts*blocks <= most {
		parts *= 2
	}
	return tilePlan{fragments: true, entries: entries, stride: t.Dim + 4, step: 1, heads: fragment, parts: parts, groups: blocks * parts}
}

// sharedBytes counts keys, scores, sums by block, products and the selection's counts.
func (t *indexTopK) sharedBytes(p tilePlan) int {
	words := p.words(t.Dim) + t.chunk.size + t.Heads/p.heads*p.entries + 2*p.groups*(selectBounds+1)
	if p.fragments {
		words += t.Heads * p.entries
	}
	return 4 * words
}

// words is the size of the keys in threadgroup memory.
func (p tilePlan) words(dim int) int { return max(p.entries*p.stride, dim*p.step) }

func (p tilePlan) settings() []kernel.Setting {
	by := kernel.Setting{Name: "products", Value: "lane by lane", Why: "heads or elements do not come in eights, or the machine has no fragments of f32"}
	switch {
	case p.groups == 1 && !p.fragments:
		by.Why = "a SIMD group alone takes as many entries as it has lanes"
	case p.fragments:
		by.Value, by.Why = "8x8 fragments", "heads and elements come in eights"
	}
	return []kernel.Setting{by,
		{Name: "tile", Value: fmt.Sprintf("%d entries", p.entries), Why: "the most that fits beside the scores; a key is decoded once for all heads"},
		{Name: "SIMD groups", Value: fmt.Sprint(p.groups), Why: fmt.Sprintf("%d heads each", p.heads)},
	}
}

// scorer computes scores: sum over heads of weight times relu(q . key).
type scorer struct {
	*emitter
	t        *indexTopK
	q        kernel.Buffer // of f32, or without fragments of vectors of four
	weights  kernel.Buffer
	keys     *cacheRows
	tile     kernel.Array
	sums     kernel.Array // for each block of heads and entry of the tile
	products kernel.Array // for each SIMD group [heads][its entries]; with fragments
}

func (t *indexTopK) scorer(u *emitter) *scorer {
	p := t.tile
	s := &scorer{emitter: u, t: t}
	if p.fragments {
		s.q = u.activation("q", t.Q, kernel.Read)
		s.products = u.SharedArray("products", kernel.F32, t.Heads*p.entries)
	} else {
		s.q = u.activation4("q", t.Q, kernel.Read)
	}
	s.weights = u.activation("weights", t.Weights, kernel.Read)
	s.keys = u.cacheRows("index_keys", t.Keys, kernel.Read)
	u.accesses(t.entries().Mul(ir.Const(int64(s.keys.cache.Row.Bytes))))
	s.tile = u.SharedArray("tile", kernel.F32, p.words(t.Dim))
	s.sums = u.SharedArray("sums", kernel.F32, t.Heads/p.heads*p.entries)
	return s
}

// run gives put the score of each of n entries from first on; i counts from 0.
// An entry's score does not depend on the chunk it is in.
func (s *scorer) run(r indexRow, first, n *kernel.Expr, put func(i, score *kernel.Expr)) {
	p, slot := s.t.tile, s.Let("slot", s.StepAt("slot", r.row))
	s.For("tile_at", i32(0), n, i32(p.entries), func(at *kernel.Expr) {
		s.stage(slot, first, n, at)
		s.Barrier()
		if p.fragments {
			s.multiplyFragments(r)
		} else {
			s.multiplyLanes(r)
		}
		s.Barrier()
		s.Comment("Blocks of heads are added up in ascending order.")
		s.If(kernel.Thread().Lt(i32(p.entries)), func() {
			score := s.Var("score", f32(0))
			s.For("block", i32(0), i32(s.t.Heads/p.heads), i32(1), func(block *kernel.Expr) {
				score.Set(score.Add(s.sums.At(block.Mul(i32(p.entries)).Add(kernel.Thread()))))
			})
			put(at.Add(kernel.Thread()), score.Expr)
		}, nil)
	})
}

// stage decodes the keys of a tile; behind the last entry it repeats that.
func (s *scorer) stage(slot, first, n, at *kernel.Expr) {
	p, chunks := s.t.tile, s.t.Dim/4
	s.For("i", kernel.Thread(), i32(p.entries*chunks), i32(s.Schedule().Threads), func(i *kernel.Expr) {
		var place, element *kernel.Expr
		if p.step > 1 {
			place = s.Let("place", i.Rem(i32(p.entries)))
			element = s.Let("element", i.Div(i32(p.entries)).Mul(i32(4)))
		} else {
			place = s.Let("place", i.Div(i32(chunks)))
			element = s.Let("element", i.Rem(i32(chunks)).Mul(i32(4)))
		}
		entry := first.Add(at.Add(place).Min(n.Sub(i32(1))))
		to := s.Let("to", place.Mul(i32(p.stride)).Add(element.Mul(i32(p.step))))
		for lane, v := range s.keys.load4(s.keys.row(slot, entry), element) {
			s.tile.Set(to.Add(i32(lane*p.step)), v)
		}
	})
}

// weigh adds weight times relu(product) of a head to sum.
func (s *scorer) weigh(sum kernel.Variable, r indexRow, head, product *kernel.Expr) {
	weight := s.weights.At(r.row.Mul(i32(s.t.Heads)).Add(head))
	sum.Set(weight.Fma(product.Lt(f32(0)).Select(f32(0), product), sum.Expr))
}

// multiplyFragments: a SIMD group makes the products of its eight heads with
// its part of the tile's entries.
func (s *scorer) multiplyFragments(r indexRow) {
	p, dim := s.t.tile, s.t.Dim
	mine := p.entries / p.parts
	block := s.Let("block", kernel.Simd().Div(i32(p.parts)))
	entry0 := s.Let("entry0", kernel.Simd().Rem(i32(p.parts)).Mul(i32(mine)))
	q0 := s.Let("q0", r.row.Mul(i32(s.t.Heads)).Add(block.Mul(i32(fragment))).Mul(i32(dim)))
	acc := make([]kernel.Matrix, mine/fragment)
	for x := range acc {
		acc[x] = s.Fragment("acc", kernel.F32, fragment, fragment)
	}
	a, b := s.Fragment("heads", kernel.F32, fragment, fragment), s.Fragment("keys", kernel.F32, fragment, fragment)
	s.For("k", i32(0), i32(dim), i32(fragment), func(k *kernel.Expr) {
		a.LoadBuffer(s.q, q0.Add(k), i32(dim), false)
		for x := range acc {
			b.Load(s.tile, entry0.Add(i32(x*fragment)).Mul(i32(p.stride)).Add(k), i32(p.stride), true)
			acc[x].Accumulate(a, b)
		}
	})
	out := s.Let("out", kernel.Simd().Mul(i32(fragment*mine)))
	for x, m := range acc {
		m.Store(s.products, out.Add(i32(x*fragment)), i32(mine))
	}
	s.Barrier()
	s.guard(nil, kernel.Lane().Lt(i32(mine)), mine < s.Schedule().SimdWidth, func() {
		sum := s.Var("sum", f32(0))
		s.For("h", i32(0), i32(fragment), i32(1), func(h *kernel.Expr) {
			product := s.Let("product", s.products.At(out.Add(h.Mul(i32(mine))).Add(kernel.Lane())))
			s.weigh(sum, r, block.Mul(i32(fragment)).Add(h), product)
		})
		s.sums.Set(block.Mul(i32(p.entries)).Add(entry0).Add(kernel.Lane()), sum.Expr)
	})
}

// multiplyLanes: a lane takes an entry or some, its SIMD group's heads some at a time.
func (s *scorer) multiplyLanes(r indexRow) {
	p, dim, lanes := s.t.tile, s.t.Dim, s.Schedule().SimdWidth
	together := divisor(p.heads, 8)
	if p.step > 1 {
		together = divisor(p.heads, 2) // a head's products are a register for each vector of lanes
	}
	head0 := s.Let("head0", kernel.Simd().Mul(i32(p.heads)))
	each := (p.entries + lanes - 1) / lanes // entries of a lane
	keys, sums := make([]*kernel.Expr, each), s.Vars("sum", each, f32(0))
	for e := range keys {
		keys[e] = s.Let("key_at", kernel.Lane().Add(i32(e*lanes)).Min(i32(p.entries-1)).Mul(i32(p.stride)))
	}
	s.For("h", i32(0), i32(p.heads), i32(together), func(h *kernel.Expr) {
		head := s.Let("head", head0.Add(h))
		products := make([][]kernel.Variable, each)
		for e := range products {
			products[e] = s.Vars("product", together, f32(0))
		}
		s.For("k", i32(0), i32(dim), i32(4), func(k *kernel.Expr) {
			x := make([][4]*kernel.Expr, each)
			for e, key := range keys {
				for lane := range x[e] {
					x[e][lane] = s.Let("x", s.tile.At(key.Add(k.Mul(i32(p.step))).Add(i32(lane*p.step))))
				}
			}
			for j := range together {
				at := r.row.Mul(i32(s.t.Heads)).Add(head.Add(i32(j))).Mul(i32(dim / 4)).Add(k.Div(i32(4)))
				q := s.Let("q4", s.q.At(at))
				for e := range x {
					acc := products[e][j].Expr
					for lane, v := range x[e] {
						acc = q.Lane(lane).Fma(v, acc)
					}
					products[e][j].Set(acc)
				}
			}
		})
		for e := range products {
			for j, product := range products[e] {
				s.weigh(sums[e], r, head.Add(i32(j)), product.Expr)
			}
		}
	})
	for e, sum := range sums {
		entry := kernel.Lane().Add(i32(e * lanes))
		s.guard(nil, entry.Lt(i32(p.entries)), p.entries < (e+1)*lanes, func() {
			s.sums.Set(kernel.Simd().Mul(i32(p.entries)).Add(entry), sum.Expr)
		})
	}
}
