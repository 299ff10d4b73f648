package lower

import "smelt.example/smelt/internal/codegen/kernel"

// A pass of findKey settles some bits of the bound, by the sums from each digit
// on.
const (
	filterBits   = 4
	filterDigits = 1 << filterBits
	filterPasses = 32 / filterBits
)

// keepBest keeps, of the tokens that are in, the best until they add up to
// target, which is above 0: the one that gets there is the last. It keeps all if
// they do not get there. All threads must reach it, with the same target.
func (s *rowSampler) keepBest(m measure, target *kernel.Expr) {
	key, above := s.findKey(m, target)
	s.Comment("Of the tokens with that key the first ids, until they get there.")
	ties := measure{func(c candidate) *kernel.Expr { return c.key.Eq(key).And(m.in(c)) }, m.of}
	s.sumSegments(ties)
	last := s.locate(ties, s.Let("missing", target.Sub(above).Sub(i64(1))))
	s.If(key.Gt(kernel.U(0)), func() {
		s.bound.Set(key)
		s.last.Set(last)
	}, nil)
}

// findKey finds the largest key from which on the tokens add up to target, 0 if
// there is none, and the sum above that key.
//
// The key is found from the top, some bits a pass. A pass adds up the tokens
// whose bits above are those of the key; what is larger is known by then.
func (s *rowSampler) findKey(m measure, target *kernel.Expr) (key, above *kernel.Expr) {
	bound, sum := s.Var("key_bound", kernel.U(0)), s.Var("above", i64(0))
	digits := filterDigits - 1 // digit 0 is left
	s.For("pass", i32(0), i32(filterPasses), i32(1), func(pass *kernel.Expr) {
		shift := s.Let("digit_shift", i32(32-filterBits).Sub(pass.Mul(i32(filterBits))).To(kernel.U32))
		from := s.Vars("from_digit", digits, i64(0)) // [d]: of the digits above d
		var part []kernel.Variable
		s.eachSegment(func() { part = s.Vars("part", digits, kernel.U(0)) }, func(c candidate) {
			digit := s.Let("digit", c.key.Sub(bound.Expr).Shr(shift))
			// Keys below bound wrap around, to digits that are not there.
			in := digit.Sub(kernel.U(1)).Lt(kernel.U(uint32(digits))).And(m.in(c))
			s.If(in, func() {
				v := s.Let("v", m.of(c))
				for d, p := range part {
					p.Set(p.Add(digit.Gt(kernel.U(uint32(d))).Select(v, kernel.U(0))))
				}
			}, nil)
		}, func(*kernel.Expr) {
			for d, p := range part {
				from[d].Set(from[d].Add(p.To(kernel.I64)))
			}
		})
		s.settle(bound, sum, target, shift, s.totals(from))
	})
	return bound.Expr, sum.Expr
}

// settle moves bound up to the highest digit from which on target is reached,
// where total[d] is the sum of the digits above d, and makes above the sum of
// what is higher.
func (s *rowSampler) settle(bound, above kernel.Variable, target, shift *kernel.Expr, total []*kernel.Expr) {
	known, start := s.Let("known", above.Expr), s.Let("start", bound.Expr)
	above.Set(known.Add(total[0]))
	for d, sum := range total {
		s.If(known.Add(sum).Ge(target), func() {
			bound.Set(start.Add(kernel.U(uint32(d + 1)).Shl(shift)))
			if d+1 < len(total) {
				above.Set(known.Add(total[d+1]))
			} else {
				above.Set(known)
			}
		}, nil)
	}
}
