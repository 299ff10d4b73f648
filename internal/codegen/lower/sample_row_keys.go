package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/pick"
)

// rank makes the keys of the row's tokens, sets bestKey and returns the id of the
// largest, the lowest among equals, or -1 if none may be picked. It ends with a
// barrier.
func (s *rowSampler) rank() *kernel.Expr {
	b := s.noBest()
	s.allow(b)
	s.DeviceBarrier()
	c := s.changes()
	s.If(c.from.Lt(c.to), func() {
		s.change(c)
		s.DeviceBarrier()
		b.key.Set(kernel.U(0))
		b.id.Set(i32(-1))
		s.For("i", kernel.Thread(), i32(s.vocab), i32(s.Schedule().Threads), func(i *kernel.Expr) {
			s.better(b, s.Let("key", s.keys.At(s.base.Add(i))), i)
		})
	}, nil)
	key, id := s.bestOfAll(b)
	s.bestKey = key
	return id
}

// allow makes the keys of the logits, 0 where the row's mask has no bit. A SIMD group
// goes through the tokens of a word of the mask at a time.
func (s *rowSampler) allow(b best) {
	words := pick.MaskWords(s.vocab)
	s.Comment("The keys of the tokens that may be picked, and the largest, the lowest id among equals.")
	mask := s.Let("mask", s.StepAt(program.SampleMask, s.row).Mul(i32(words)))
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
func (s *rowSampler) change(c changes) {
	s.Comment("Logits are changed as pick.Changes says.")
	s.factors(&c)
	s.For("n", c.from.Add(kernel.Thread()), c.to, i32(s.Schedule().Threads), func(n *kernel.Expr) {
		x := s.changeAt(n)
		at := s.Let("at", s.base.Add(x.token))
		key := s.Let("key", s.keys.At(at))
		s.If(key.Gt(kernel.U(0)), func() { s.keys.Set(at, s.changed(c, x, n, key)) }, nil)
	})
}
