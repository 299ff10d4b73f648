package lower

import "smelt.example/smelt/internal/codegen/kernel"

// selection picks the k largest of n keys by one threadgroup; of equal keys
// those with the lowest numbers. All threads must reach run.
//
// The k-th largest key is found from the top, some bits a pass: a pass counts
// the keys at a few bounds. Nothing is moved, so keys may lie in threadgroup or
// device memory; few of them each thread holds.
type selection struct {
	u    *emitter
	n    *kernel.Expr                        // how many keys there are (i32, 1 or more, the same for all threads)
	most int                                 // what n is at most, if that is known; else 0
	k    *kernel.Expr                        // how many to take (i32, 1 to n, the same for all threads)
	room int                                 // what k is at most, if threads are to emit side by side, where there are many; else 0
	key  func(i *kernel.Expr) *kernel.Expr   // key i (u32)
	emit func(position, i, key *kernel.Expr) // is told that key i is the position-th of those taken, in ascending i

	bound kernel.Variable // the k-th largest key
	above kernel.Variable // how many of those taken are larger
	left  kernel.Variable // how many keys the next pass looks at

	from, to *kernel.Expr   // the SIMD group's run of keys
	held     []*kernel.Expr // the lane's of them, those beyond the run 0; nil: they are looked up
}

const (
	selectBits   = 2                 // bits of the key that a pass settles
	selectBounds = 1<<selectBits - 1 // bounds it counts at
	selectPasses = 32 / selectBits
	selectHeld   = 16 // keys that a thread holds at most
)

// orderKey maps a score to a u32 in the order of the top-k contract: a higher
// score has a higher key, +0 equals -0, NaN is below all others. It works on
// bits, so a target's float comparisons do not matter.
func (u *emitter) orderKey(score *kernel.Expr) *kernel.Expr {
	bits := u.Let("bits", score.As(kernel.U32))
	magnitude := u.Let("magnitude", bits.And(kernel.U(0x7fffffff)))
	sign := kernel.U(0x80000000)
	ordered := bits.Ge(sign).Select(bits.Not(), bits.Or(sign))
	ordered = magnitude.Eq(kernel.U(0)).Select(sign, ordered)
	return magnitude.Gt(kernel.U(0x7f800000)).Select(kernel.U(0), ordered)
}

// run emits the k largest keys.
func (s *selection) run() {
	s.deal()
	s.findBound()
	if s.room == 0 || s.u.stages() {
		s.compact(s.emit)
		return
	}
	u := s.u
	picked, threads := u.SharedArray("picked", kernel.I32, s.room), u.Schedule().Threads
	s.compact(func(position, i, _ *kernel.Expr) { picked.Set(position, i) })
	u.Barrier()
	u.Comment("What is emitted with them is asked for side by side.")
	u.For("position", kernel.Thread(), s.k, i32(threads), func(position *kernel.Expr) {
		i := u.Let("i", picked.At(position))
		s.emit(position, i, s.key(i))
	})
}

func (s *selection) groups() int { return s.u.Schedule().Threads / s.u.Schedule().SimdWidth }

// deal gives each SIMD group a run of keys, and each lane those of it that it can hold.
func (s *selection) deal() {
	u, threads, width := s.u, s.u.Schedule().Threads, s.u.Schedule().SimdWidth
	run := u.Let("run", s.n.Add(i32(threads-1)).Div(i32(threads)).Mul(i32(width)))
	s.from = u.Let("from", kernel.Simd().Mul(run))
	s.to = u.Let("to", s.from.Add(run).Min(s.n))
	if s.most == 0 || s.most > selectHeld*threads || u.stages() {
		return
	}
	for j := range (s.most + threads - 1) / threads {
		i := u.Let("i", s.from.Add(kernel.Lane()).Add(i32(j*width)))
		s.held = append(s.held, u.Let("held", i.Lt(s.to).Select(s.key(i.Min(s.n.Sub(i32(1)))), kernel.U(0))))
	}
}

// acrossGroups adds up what the SIMD groups below limit left in a, stride
// elements apart. There are at most as many groups as lanes.
func (s *selection) acrossGroups(a kernel.Array, first *kernel.Expr, stride int, limit *kernel.Expr) *kernel.Expr {
	group := kernel.Lane().Min(i32(s.groups() - 1))
	return kernel.Lane().Lt(limit).Select(a.At(first.Add(group.Mul(i32(stride)))), i32(0)).SimdSum()
}

// findBound sets bound and above. Once exactly k keys are at bound or above,
// it looks no further; above is then 0, since all keys equal to bound are taken.
func (s *selection) findBound() {
	u, groups := s.u, s.groups()
	counts := u.SharedArray("counts", kernel.I32, 2*groups*selectBounds)
	u.Comment("The k-th largest key, %d bits a pass.", selectBits)
	s.bound, s.above, s.left = u.Var("bound", kernel.U(0)), u.Var("above", i32(0)), u.Var("left", s.n)
	u.For("pass", i32(0), i32(selectPasses), i32(1), func(pass *kernel.Expr) {
		shift := u.Let("shift", i32(32-selectBits).Sub(pass.Mul(i32(selectBits))).To(kernel.U32))
		bounds := make([]*kernel.Expr, selectBounds)
		for b := range bounds {
			bounds[b] = u.Let("at_least", s.bound.Add(kernel.U(uint32(b+1)).Shl(shift)))
		}
		mine := u.Vars("mine", selectBounds, i32(0))
		s.count(mine, bounds)
		// Passes take turns with two places, so that one barrier is enough.
		place := u.Let("place", pass.And(i32(1)).Mul(i32(groups*selectBounds)))
		s.share(counts, place, mine)
		u.Barrier()
		total := make([]*kernel.Expr, selectBounds)
		for b := range total {
			total[b] = u.Let("total", s.acrossGroups(counts, place.Add(i32(b)), selectBounds, i32(groups)))
		}
		s.narrow(bounds, total)
	})
}

// count adds up, for each bound, the thread's keys that reach it. Bounds are 1 or more, so a
// key of 0 counts nowhere.
func (s *selection) count(mine []kernel.Variable, bounds []*kernel.Expr) {
	u := s.u
	if s.held == nil {
		u.For("i", kernel.Thread(), s.left.Expr, i32(u.Schedule().Threads), func(i *kernel.Expr) {
			key := u.Let("key", s.key(i))
			for b, c := range mine {
				c.Set(c.Add(oneIf(key.Ge(bounds[b]))))
			}
		})
		return
	}
	u.If(s.left.Gt(i32(0)), func() {
		for b, c := range mine {
			sum := oneIf(s.held[0].Ge(bounds[b]))
			for _, key := range s.held[1:] {
				sum = sum.Add(oneIf(key.Ge(bounds[b])))
			}
			c.Set(sum)
		}
	}, nil)
}

// share leaves the SIMD group's sums of vs in a, from place on.
func (s *selection) share(a kernel.Array, place *kernel.Expr, vs []kernel.Variable) {
	sums := make([]*kernel.Expr, len(vs))
	for b, v := range vs {
		sums[b] = s.u.Let("sum", v.SimdSum())
	}
	s.u.If(kernel.Lane().Eq(i32(0)), func() {
		for b, sum := range sums {
			a.Set(place.Add(kernel.Simd().Mul(i32(len(vs)))).Add(i32(b)), sum)
		}
	}, nil)
}

// narrow raises bound to the highest of bounds that k keys or more reach, and
// lowers above to the number that reach the next one. total[b] keys reach bounds[b].
func (s *selection) narrow(bounds, total []*kernel.Expr) {
	last := len(bounds) - 1
	s.u.If(total[last].Ge(s.k), func() {
		s.bound.Set(bounds[last])
		s.u.If(total[last].Eq(s.k), func() {
			s.left.Set(i32(0))
			s.above.Set(i32(0))
		}, nil)
	}, func() {
		s.above.Set(total[last])
		if last > 0 {
			s.narrow(bounds[:last], total[:last])
		}
	})
}

// compact emits the keys above bound and the first of those equal to it. Both
// numbers of a SIMD group's keys are counted in one word.
func (s *selection) compact(emit func(position, i, key *kernel.Expr)) {
	u, groups, width := s.u, s.groups(), s.u.Schedule().SimdWidth
	u.Comment("Emit them in ascending order.")
	ties := u.Let("ties", s.k.Sub(s.above.Expr))
	mine := u.Vars("mine", 2, i32(0)) // above bound, equal to it
	s.eachOfRun(func(_, _, isLarger, isEqual *kernel.Expr) {
		mine[0].Set(mine[0].Add(isLarger))
		mine[1].Set(mine[1].Add(isEqual))
	})
	taken := u.SharedArray("taken", kernel.I32, 2*groups)
	s.share(taken, i32(0), mine)
	u.Barrier()
	larger := u.Var("larger", s.acrossGroups(taken, i32(0), 2, kernel.Simd()))
	equal := u.Var("equal", s.acrossGroups(taken, i32(1), 2, kernel.Simd()))
	s.eachOfRun(func(i, key, isLarger, isEqual *kernel.Expr) {
		both := u.Let("both", isLarger.Add(isEqual.Mul(i32(2*width))))
		before := u.Let("before", both.SimdPrefix())
		rank := u.Let("rank", equal.Add(before.Div(i32(2*width))))
		position := u.Let("position", larger.Add(before.And(i32(2*width-1))).Add(rank.Min(ties)))
		u.If(isLarger.Eq(i32(1)).Or(isEqual.Eq(i32(1)).And(rank.Lt(ties))), func() { emit(position, i, key) }, nil)
		sum := u.Let("sum", both.SimdSum())
		larger.Set(larger.Add(sum.And(i32(2*width - 1))))
		equal.Set(equal.Add(sum.Div(i32(2 * width))))
	})
}

// eachOfRun calls f with the keys of the SIMD group's run, a lane each at a time, and
// whether (1 or 0) they are above bound, or equal to it.
func (s *selection) eachOfRun(f func(i, key, isLarger, isEqual *kernel.Expr)) {
	u, width := s.u, s.u.Schedule().SimdWidth
	judge := func(i, key *kernel.Expr) {
		inRun := i.Lt(s.to)
		f(i, key, u.Let("is_larger", oneIf(inRun.And(key.Gt(s.bound.Expr)))), u.Let("is_equal", oneIf(inRun.And(key.Eq(s.bound.Expr)))))
	}
	for j, key := range s.held {
		judge(u.Let("i", s.from.Add(kernel.Lane()).Add(i32(j*width))), key)
	}
	if s.held != nil {
		return
	}
	u.For("first", s.from, s.to, i32(width), func(first *kernel.Expr) {
		i := u.Let("i", first.Add(kernel.Lane()))
		judge(i, u.Let("key", s.key(i.Min(s.n.Sub(i32(1))))))
	})
}

func oneIf(cond *kernel.Expr) *kernel.Expr { return cond.Select(i32(1), i32(0)) }

// nth is the i-th of a few values.
func nth(i *kernel.Expr, of []*kernel.Expr) *kernel.Expr {
	v := of[len(of)-1]
	for n := len(of) - 2; n >= 0; n-- {
		v = i.Eq(i32(n)).Select(of[n], v)
	}
	return v
}
