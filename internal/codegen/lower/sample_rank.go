package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/pick"
)

// rank makes the keys of the row's tokens, sets bestKey and returns the id of the
// largest, the lowest among equals, or -1 if none may be picked. It ends with a
// barrier.
func (s *sampler) rank(row *kernel.Expr) *kernel.Expr {
	b := best{s.Var("best_key", kernel.U(0)), s.Var("best_id", i32(-1))}
	s.allow(row, b)
	s.DeviceBarrier()
	from, to := s.Let("changes_from", s.StepAt(program.SampleFrom, row)), s.Let("changes_to", s.StepAt(program.SampleTo, row))
	s.If(from.Lt(to), func() {
		s.change(row, from, to)
		s.DeviceBarrier()
		b.key.Set(kernel.U(0))
		b.id.Set(i32(-1))
		s.For("i", kernel.Thread(), i32(s.vocab), i32(s.Schedule().Threads), func(i *kernel.Expr) {
			s.better(b, s.Let("key", s.keys.At(s.base.Add(i))), i)
		})
	}, nil)
	return s.bestOfAll(b)
}

// best is the best token that a thread has seen, the first of equals.
type best struct{ key, id kernel.Variable }

func (s *sampler) better(b best, key, id *kernel.Expr) {
	s.If(key.Gt(b.key.Expr), func() {
		b.key.Set(key)
		b.id.Set(id)
	}, nil)
}

// allow makes the keys of the logits, 0 where the row's mask has no bit. A SIMD group
// goes through the tokens of a word of the mask at a time.
func (s *sampler) allow(row *kernel.Expr, b best) {
	words := pick.MaskWords(s.vocab)
	s.Comment("The keys of the tokens that may be picked, and the largest, the lowest id among equals.")
	mask := s.Let("mask", s.StepAt(program.SampleMask, row).Mul(i32(words)))
	s.For("word", kernel.Simd(), i32(words), i32(s.groups()), func(word *kernel.Expr) {
		bits := s.Let("allowed", s.StepAt(program.SampleMasks, mask.Add(word)).As(kernel.U32))
		first := s.Let("first_id", word.Mul(i32(pick.WordTokens)))
		end := s.Let("end_id", first.Add(i32(pick.WordTokens)).Min(i32(s.vocab)))
		s.For("i", first.Add(kernel.Lane()), end, i32(s.Schedule().SimdWidth), func(i *kernel.Expr) {
			key := s.orderKey(s.Let("logit", s.logits.At(s.base.Add(i))))
			bit := bits.Shr(i.Sub(first).As(kernel.U32)).And(kernel.U(1))
			key = s.Let("key", bit.Eq(kernel.U(0)).Select(kernel.U(0), key))
			s.keys.Set(s.base.Add(i), key)
			s.better(b, key, i)
		})
	})
}

// change makes the keys of the changed logits anew, where the token may be picked.
func (s *sampler) change(row, from, to *kernel.Expr) {
	s.Comment("Logits are changed as pick.Changes says.")
	positive, negative := s.Let("positive", s.StepAt(program.SamplePositive, row)), s.Let("negative", s.StepAt(program.SampleNegative, row))
	s.For("n", from.Add(kernel.Thread()), to, i32(s.Schedule().Threads), func(n *kernel.Expr) {
		at := s.Let("at", s.base.Add(s.StepAt(program.SampleTokens, n)))
		key := s.Let("key", s.keys.At(at))
		s.If(key.Gt(kernel.U(0)), func() {
			logit := s.Let("logit", s.normal(s.logitOf(key)))
			scaled := s.Let("scaled", logit.Mul(logit.Gt(f32(0)).Select(positive, negative)))
			less := s.Let("less", s.normal(scaled).Sub(s.StepAt(program.SampleLess, n)))
			s.keys.Set(at, s.orderKey(s.Let("changed", s.normal(less))))
		}, nil)
	})
}

// bestOfAll is the best token of all threads.
func (s *sampler) bestOfAll(b best) *kernel.Expr {
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
	s.bestKey = bestKey.Expr
	return best.Expr
}
