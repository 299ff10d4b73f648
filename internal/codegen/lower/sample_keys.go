package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/pick"
)

// lowerKeys makes the launch that makes keys of the logits that may be picked and
// finds the best token of each part. It keeps the keys where a token is drawn.
func (m *sampleMemory) lowerKeys() (program.Launch, error) {
	s := &keyMaker{partSampler: m.begin("keys", partThreads, "a thread has four tokens of a part, one load of logits",
		"The keys of a part's tokens that may be picked, after the changes of their logits,",
		"and the part's best token. Rows with a negative inverse temperature are left alone.")}
	n := 4 // logits that a load reads
	for m.vocab%n > 0 {
		n /= 2
	}
	s.logits = s.bind(s.Pointer("logits", kernel.Vec(kernel.F32, n), kernel.Read), program.Arg{Value: m.logits})
	s.accesses(m.words(m.vocab))
	s.keys = s.memory("keys", m.keys, kernel.U32, kernel.Write, m.vocab)
	s.bindBest(kernel.Write)
	s.of(kernel.Group(1))
	part := kernel.Group(0)
	s.If(s.inv.Ge(f32(0)), func() {
		s.first, s.end = s.part(part)
		key, id := s.bestOfAll(s.make(n))
		s.If(kernel.Thread().Eq(i32(0)), func() {
			at := s.Let("at", s.ofParts(part))
			s.bestKeys.Set(at, key)
			s.bestIDs.Set(at, id)
		}, nil)
	}, nil)
	return s.eachPart("keys", program.SampledRows)
}

// keyMaker writes that kernel.
type keyMaker struct {
	*partSampler
	logits, keys kernel.Buffer
	first, end   *kernel.Expr
	draws        *kernel.Expr
}

// make makes the part's keys, of n logits at once, and returns the thread's best.
// Keys go through threadgroup memory only where some change.
func (s *keyMaker) make(n int) best {
	s.draws = s.Let("draws", s.inv.Gt(f32(0)))
	c := s.changes()
	some := s.Let("changes", c.from.Lt(c.to))
	kept := s.SharedArray("part_keys", kernel.U32, s.m.each)
	b := s.noBest()
	s.each(n, func(i, key *kernel.Expr) {
		s.If(some, func() { kept.Set(i, key) }, func() { s.keep(b, i, key) })
	})
	s.If(some, func() {
		s.Barrier()
		s.change(c, kept)
		s.Barrier()
		s.For("i", kernel.Thread(), s.end.Sub(s.first), i32(s.Schedule().Threads), func(i *kernel.Expr) {
			s.keep(b, i, s.Let("key", kept.At(i)))
		})
	}, nil)
	return b
}

// keep looks at the key of token i of the part.
func (s *keyMaker) keep(b best, i, key *kernel.Expr) {
	id := s.Let("id", s.first.Add(i))
	s.better(b, key, id)
	s.If(s.draws, func() { s.keys.Set(s.base.Add(id), key) }, nil)
}

// each makes the keys of the logits, 0 where the row's mask has no bit.
func (s *keyMaker) each(n int, f func(i, key *kernel.Expr)) {
	width, vocab := s.Schedule().SimdWidth, s.vocab
	mask := s.Let("mask", s.StepAt(program.SampleMask, s.row).Mul(i32(pick.MaskWords(vocab))))
	s.For("run", kernel.Simd(), i32(s.m.each/(width*n)), i32(s.groups()), func(run *kernel.Expr) {
		of := s.Let("run_id", s.first.Add(run.Mul(i32(width*n))))
		id := s.Let("first_of_run", of.Add(kernel.Lane().Mul(i32(n))))
		s.If(id.Lt(i32(vocab)), func() {
			x := s.Let("x", s.logits.At(s.base.Add(id).Div(i32(n))))
			word := id
			if n == 1 {
				word = of // a SIMD group's tokens have theirs in one
			}
			bits := s.Let("allowed", s.StepAt(program.SampleMasks, mask.Add(word.Div(i32(pick.WordTokens)))).As(kernel.U32))
			bits = s.Let("allowed_from", bits.Shr(id.And(i32(pick.WordTokens-1)).As(kernel.U32)))
			for e := range n {
				logit := x
				if n > 1 {
					logit = s.Let("logit", x.Lane(e))
				}
				key := s.orderKey(logit)
				key = s.Let("key", bits.And(kernel.U(1<<e)).Eq(kernel.U(0)).Select(kernel.U(0), key))
				f(s.Let("i", id.Sub(s.first).Add(i32(e))), key)
			}
		}, nil)
	})
}

// changesAtOnce is how many changes a thread asks for before it looks at the first.
const changesAtOnce = 4

// change makes the keys of the changed logits anew, where the token may be picked.
func (s *keyMaker) change(c changes, keys kernel.Array) {
	s.Comment("Logits are changed as pick.Changes says.")
	s.factors(&c)
	threads := s.Schedule().Threads
	s.For("n", c.from.Add(kernel.Thread()), c.to, i32(changesAtOnce*threads), func(n *kernel.Expr) {
		var at [changesAtOnce]*kernel.Expr
		var x [changesAtOnce]change
		for i := range x {
			at[i] = s.Let("n_at", n.Add(i32(i*threads)))
			x[i] = s.changeAt(at[i].Min(c.to.Sub(i32(1))))
		}
		for i, x := range x {
			s.If(at[i].Lt(c.to).And(x.token.Ge(s.first)).And(x.token.Lt(s.end)), func() {
				place := s.Let("place", x.token.Sub(s.first))
				key := s.Let("key", keys.At(place))
				s.If(key.Gt(kernel.U(0)), func() { keys.Set(place, s.changed(c, x, at[i], key)) }, nil)
			}, nil)
		}
	})
}
