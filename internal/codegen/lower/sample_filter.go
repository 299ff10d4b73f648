package lower

import (
	mathbits "math/bits"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
)

// filter cuts the ranking off where top-k says, by counting tokens, then where top-p does,
// by adding up their weights. Both go the same way: first to the bucket in which the sum
// gets to its target, then to the token.
func (s *picker) filter() {
	share, topP := s.topP()
	topK := s.topK()
	s.For("plane", i32(planeCounts), i32(planeWeights+1), i32(1), func(plane *kernel.Expr) {
		counts := s.Let("counts", plane.Eq(i32(planeCounts)))
		s.If(counts.And(topK).Or(counts.Not().And(topP)), func() {
			through := s.sumsThrough(plane)
			all := s.Let("kept_sum", s.sumBefore(through, s.cut.Expr).Add(s.sumKept()))
			k := s.StepAt(program.SampleTopK, s.row).To(kernel.I64)
			target := s.Let("cut_target", counts.Select(k, s.portion(all, share).Max(i64(1))))
			bucket := s.cutBucket(through, target)
			s.If(bucket.Lt(i32(restBucket)), func() {
				s.cutIn(bucket, plane, target, s.Let("better", s.sumBefore(through, bucket)))
			}, nil)
		}, nil)
	})
}

// sumsThrough adds up the parts' sums through each bucket of a plane.
func (s *picker) sumsThrough(plane *kernel.Expr) wideArray {
	groups := s.groups()
	sum := s.Var("bucket_sum", i64(0))
	s.For("part", kernel.Simd(), i32(s.m.parts), i32(groups), func(part *kernel.Expr) {
		sum.Set(sum.Add(s.through.At(s.throughAt(plane, part, kernel.Lane()))))
	})
	each, through := s.wideArray("group_through", groups*rankBuckets), s.wideArray("sums_through", rankBuckets)
	each.set(kernel.Thread(), partsOf(sum.Expr))
	s.Barrier()
	s.For("bucket", kernel.Simd(), i32(rankBuckets), i32(groups), func(bucket *kernel.Expr) {
		group := s.Let("group", kernel.Lane().Min(i32(groups-1)))
		of := each.at(group.Mul(i32(rankBuckets)).Add(bucket)).where(kernel.Lane().Lt(i32(groups)))
		all := s.acrossLanes(of)
		s.If(kernel.Lane().Eq(i32(0)), func() { through.set(bucket, partsOf(s.Let("all", all.value()))) }, nil)
	})
	s.Barrier()
	return through
}

// sumBefore is the sum through the buckets before one (i64).
func (s *picker) sumBefore(through wideArray, bucket *kernel.Expr) *kernel.Expr {
	return bucket.Gt(i32(0)).Select(through.at(bucket.Sub(i32(1)).Max(i32(0))).value(), i64(0))
}

// cutBucket is the first bucket through which the sum gets to target, or the one where the
// ranking is cut off already. All threads must reach it.
func (s *picker) cutBucket(through wideArray, target *kernel.Expr) *kernel.Expr {
	reached := kernel.Lane().Lt(s.cut.Expr).And(through.at(kernel.Lane()).value().Ge(target))
	first := s.Let("first_reached", reached.Select(kernel.Lane(), s.cut.Expr).SimdMin())
	// By threadgroup memory, for all threads to agree.
	agreed := s.SharedArray("cut_bucket", kernel.I32, 1)
	s.If(kernel.Thread().Eq(i32(0)), func() { agreed.Set(i32(0), first) }, nil)
	s.Barrier()
	return s.Let("new_cut", agreed.At(i32(0)))
}

// membership says where the members of the bucket that the ranking is cut off in stand, one
// behind the other: those of part p from number start[p] on, and in the part from number
// from[p] on.
type membership struct{ start, from kernel.Array }

func (s *picker) membership() membership {
	return membership{s.SharedArray("member_start", kernel.I32, s.m.parts+1), s.SharedArray("member_from", kernel.I32, s.m.parts)}
}

// gather makes the membership of the bucket and returns how many there are.
func (s *picker) gather(bucket *kernel.Expr) *kernel.Expr {
	m, parts := s.membership(), s.m.parts
	s.Barrier()
	s.For("part", kernel.Thread(), i32(parts), i32(s.Schedule().Threads), func(part *kernel.Expr) {
		from := s.Let("from", s.upTo(i32(planeCounts), part, bucket).To(kernel.I32))
		to := s.Let("to", s.through.At(s.throughAt(i32(planeCounts), part, bucket)).To(kernel.I32))
		m.from.Set(part, from)
		m.start.Set(part, to.Sub(from))
	})
	s.Barrier()
	s.If(kernel.Simd().Eq(i32(0)), func() {
		members := s.Var("members", i32(0))
		s.For("at", i32(0), i32(parts), i32(rankBuckets), func(at *kernel.Expr) {
			part := s.Let("part", at.Add(kernel.Lane()))
			has := s.Let("has", part.Lt(i32(parts)))
			n := s.Var("n", i32(0))
			s.If(has, func() { n.Set(m.start.At(part)) }, nil)
			start := s.Let("start", members.Add(n.SimdPrefix()))
			s.If(has, func() { m.start.Set(part, start) }, nil)
			members.Set(members.Add(n.SimdSum()))
		})
		s.If(kernel.Lane().Eq(i32(0)), func() { m.start.Set(i32(parts), members.Expr) }, nil)
	}, nil)
	s.Barrier()
	return s.Let("members", m.start.At(i32(parts)))
}

// member is the index of the i-th member in the memory of ranked tokens: the part is the
// last that starts at i or before.
func (s *picker) member(i *kernel.Expr) *kernel.Expr {
	m, parts := s.membership(), s.m.parts
	part, half := s.Var("part", i32(0)), s.Var("half", i32(1<<mathbits.Len(uint(parts))))
	s.For("halving", i32(0), i32(mathbits.Len(uint(parts))), i32(1), func(*kernel.Expr) {
		half.Set(half.Shr(i32(1)))
		next := s.Let("next", part.Add(half.Expr).Min(i32(parts)))
		part.Set(m.start.At(next).Le(i).Select(next, part.Expr))
	})
	return s.Let("at", s.rankedAt(part.Expr, m.from.At(part.Expr)).Add(i).Sub(m.start.At(part.Expr)))
}

// measure is what a member counts for: 1, or its weight, or 0 if it is not kept.
func (s *picker) measure(plane, key, at *kernel.Expr) *kernel.Expr {
	v := plane.Eq(i32(planeCounts)).Select(kernel.U(1), s.ranked.weights.At(at))
	return s.kept(key, s.ranked.ids.At(at)).Select(v, kernel.U(0))
}

// sumKept is the sum of the weights of the members that are kept, 0 where the ranking is
// not cut off.
func (s *picker) sumKept() *kernel.Expr {
	total := s.Var("sum_of_members", i64(0))
	s.If(s.cut.Lt(i32(restBucket)), func() {
		sum := s.Var("sum", i64(0))
		s.For("i", kernel.Thread(), s.membership().start.At(i32(s.m.parts)), i32(s.Schedule().Threads), func(i *kernel.Expr) {
			at := s.member(i)
			sum.Set(sum.Add(s.measure(i32(planeWeights), s.Let("key", s.ranked.keys.At(at)), at).To(kernel.I64)))
		})
		total.Set(s.sumOverThreads("member_sums", sum.Expr))
	}, nil)
	return total.Expr
}

// cutIn cuts the ranking off in a bucket, at the token with which the sum of a plane gets to
// target. Better buckets have the sum `better`.
func (s *picker) cutIn(bucket, plane, target, better *kernel.Expr) {
	n := s.gather(bucket)
	key, above := s.findKey(n, plane, target, better)
	s.Comment("Of the members with that key the first ids, until they get there.")
	tie := s.locate(n, func(i *kernel.Expr) *kernel.Expr {
		at := s.member(i)
		k := s.Let("key", s.ranked.keys.At(at))
		return s.Let("tie", k.Eq(key).Select(s.measure(plane, k, at), kernel.U(0)).To(kernel.I64))
	}, s.Let("missing", target.Sub(above).Sub(i64(1))))
	last := s.Let("last_id", s.ranked.ids.At(s.member(tie.index)))
	s.cut.Set(bucket)
	s.bound.Set(key)
	s.last.Set(last)
}

// findKey finds the largest key from which on better and the members add up to target, and
// the sum above that key.
//
// The key is found from the top, a digit at a time: each lane adds up the members of its
// digit, of those whose digits above are the key's. Digits that all have are skipped.
func (s *picker) findKey(n, plane, target, better *kernel.Expr) (key, above *kernel.Expr) {
	const digit = 5 // bits: a lane has one
	const passes = (32 + digit - 1) / digit
	low, high := s.keyRange(n)
	bound, sum := s.Var("key_bound", kernel.U(0)), s.Var("above", better)
	s.For("pass", i32(0), i32(passes), i32(1), func(pass *kernel.Expr) {
		shift := s.Let("digit_shift", i32(passes-1).Sub(pass).Mul(i32(digit)).To(kernel.U32))
		s.If(low.Shr(shift).Eq(high.Shr(shift)), func() {
			bound.Set(high.Shr(shift).Shl(shift))
		}, func() {
			mine := s.digitSums(n, plane, bound.Expr, shift)
			s.settle(bound, sum, target, shift, mine, pass)
		})
	})
	return bound.Expr, sum.Expr
}

// keyRange is the smallest and the largest key of the members.
func (s *picker) keyRange(n *kernel.Expr) (low, high *kernel.Expr) {
	groups := s.groups()
	least, most := s.Var("least", kernel.U(0xffffffff)), s.Var("most", kernel.U(0))
	s.For("i", kernel.Thread(), n, i32(s.Schedule().Threads), func(i *kernel.Expr) {
		key := s.Let("key", s.ranked.keys.At(s.member(i)))
		least.Set(least.Min(key))
		most.Set(most.Max(key))
	})
	lows, highs := s.SharedArray("least_keys", kernel.U32, groups), s.SharedArray("most_keys", kernel.U32, groups)
	l, h := s.Let("least", least.SimdMin()), s.Let("most", most.SimdMax())
	s.If(kernel.Lane().Eq(i32(0)), func() {
		lows.Set(kernel.Simd(), l)
		highs.Set(kernel.Simd(), h)
	}, nil)
	s.Barrier()
	lowest, highest := s.Var("lowest", kernel.U(0xffffffff)), s.Var("highest", kernel.U(0))
	s.For("g", i32(0), i32(groups), i32(1), func(g *kernel.Expr) {
		lowest.Set(lowest.Min(lows.At(g)))
		highest.Set(highest.Max(highs.At(g)))
	})
	return lowest.Expr, highest.Expr
}

// digitSums adds up, for the lane's digit, what the SIMD group looks at of the members (i64).
func (s *picker) digitSums(n, plane, bound, shift *kernel.Expr) kernel.Variable {
	const width = rankBuckets
	threads := s.Schedule().Threads
	mine := s.Var("of_digit", i64(0))
	s.For("at", kernel.Simd().Mul(i32(width)), n, i32(threads), func(first *kernel.Expr) {
		i := s.Let("i", first.Add(kernel.Lane()))
		at := s.member(i.Min(n.Sub(i32(1))))
		key := s.Let("key", s.ranked.keys.At(at))
		// Keys below bound wrap around, to digits that are not there.
		digit := s.Let("digit", key.Sub(bound).Shr(shift))
		in := s.Let("in", i.Lt(n).And(digit.Lt(kernel.U(uint32(width)))))
		v := s.Let("v", in.Select(s.measure(plane, key, at), kernel.U(0)))
		s.If(s.Let("any", v.SimdMax()).Gt(kernel.U(0)), func() {
			s.For("l", i32(0), i32(width), i32(1), func(l *kernel.Expr) {
				of := s.Let("digit_of", digit.Shuffle(l))
				w := s.Let("v_of", v.Shuffle(l))
				mine.Set(mine.Add(of.Eq(kernel.Lane().As(kernel.U32)).Select(w, kernel.U(0)).To(kernel.I64)))
			})
		}, nil)
	})
	return mine
}

// settle moves bound up to the highest digit from which on target is reached, where mine is
// the SIMD group's sum of the lane's digit, and makes above the sum of what is higher.
func (s *picker) settle(bound, above kernel.Variable, target, shift *kernel.Expr, mine kernel.Variable, pass *kernel.Expr) {
	const width = rankBuckets
	// Passes take turns with two places, so that one barrier is enough.
	sums := s.wideArray("digit_sums", 2*s.groups()*width)
	place := s.Let("digits_at", pass.And(i32(1)).Mul(i32(s.groups()*width)))
	sums.set(place.Add(kernel.Thread()), partsOf(mine.Expr))
	s.Barrier()
	mine.Set(i64(0))
	s.For("g", i32(0), i32(s.groups()), i32(1), func(g *kernel.Expr) {
		mine.Set(mine.Add(sums.at(place.Add(g.Mul(i32(width))).Add(kernel.Lane())).value()))
	})
	from := s.Let("from_digit", above.Add(s.sumOverLanes(mine.Expr)).Sub(s.sumBeforeLane(mine.Expr)))
	chosen := s.Let("chosen", from.Ge(target).Select(kernel.Lane(), i32(0)).SimdMax())
	above.Set(above.Add(s.sumOverLanes(kernel.Lane().Gt(chosen).Select(mine.Expr, i64(0)))))
	bound.Set(bound.Add(chosen.As(kernel.U32).Shl(shift)))
}
