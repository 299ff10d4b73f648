package lower

import "smelt.example/smelt/internal/codegen/kernel"

// best is the best token that a thread has seen, the first of equals: it has to see
// them by ascending id.
type best struct{ key, id kernel.Variable }

func (s *sampler) noBest() best {
	return best{s.Var("best_key", kernel.U(0)), s.Var("best_id", i32(-1))}
}

func (s *sampler) better(b best, key, id *kernel.Expr) {
	s.If(key.Gt(b.key.Expr), func() {
		b.key.Set(key)
		b.id.Set(id)
	}, nil)
}

// bestOfAll is the best token of all threads; -1 with key 0 if there is none. All
// threads must reach it, and get it.
func (s *sampler) bestOfAll(b best) (key, id *kernel.Expr) {
	groups, none := s.groups(), i32(1<<30)
	keys, ids := s.SharedArray("group_keys", kernel.U32, groups), s.SharedArray("group_ids", kernel.I32, groups)
	most := s.Let("most", b.key.SimdMax())
	first := s.Let("first", b.key.Eq(most).Select(b.id.Expr, none).SimdMin())
	s.If(kernel.Lane().Eq(i32(0)), func() {
		keys.Set(kernel.Simd(), most)
		ids.Set(kernel.Simd(), first)
	}, nil)
	s.Barrier()
	bestKey, best := s.Var("row_key", kernel.U(0)), s.Var("row_id", i32(-1))
	s.For("g", i32(0), i32(groups), i32(1), func(g *kernel.Expr) {
		k, i := s.Let("k", keys.At(g)), s.Let("id", ids.At(g))
		s.If(k.Gt(bestKey.Expr).Or(k.Eq(bestKey.Expr).And(i.Lt(best.Expr))), func() {
			bestKey.Set(k)
			best.Set(i)
		}, nil)
	})
	return bestKey.Expr, best.Expr
}
