package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/pick"
)

// Where a row's ranking is cut off, the tokens of a part are sorted into buckets along the
// ranking, within a bucket by id. Only one bucket has to be looked through then for where
// it is cut. Buckets are of half an octave of weight where most of it is, of two below
// that; each belongs to a lane.
//
// Tokens further down are in none: their weights are 0, and so are those of all behind
// them. A filter that cuts there changes nothing.
const (
	rankBuckets = 32 // with one for the tokens in none
	restBucket  = rankBuckets - 1

	fineOctaves  = 12 // that have two buckets
	coarseBucket = 2 * fineOctaves
	// lastOctave is the lowest scaled logarithm that has a weight above 0.
	lastOctave = pick.WeightBits + 1
)

// planes of the sums that are kept of each part: through each bucket, from the best on.
const (
	planeCounts  = iota // of tokens
	planeWeights        // of weights
	planeDrawn          // of the weights that min-p leaves; in rows without filters only through the last bucket
	planes
)

// weighed is a token with what its place in the ranking follows from.
type weighed struct{ key, octaves *kernel.Expr }

func (s *partSampler) weighed(key *kernel.Expr) weighed {
	z := s.octaves(s.logitOf(key))
	return weighed{key, s.Let("octaves", key.Eq(s.bestKey).Select(kernel.U(0), z))}
}

// weightOf is a token's weight; 0 of what may not be picked.
func (s *partSampler) weightOf(w weighed) *kernel.Expr {
	return w.key.Gt(kernel.U(0)).Select(s.weight(w.key, w.octaves), kernel.U(0))
}

// bucketOf is a token's bucket (u32).
func (s *partSampler) bucketOf(w weighed) *kernel.Expr {
	const fine = fineOctaves << pick.ScaleBits
	coarse := w.octaves.Sub(kernel.U(fine)).Shr(kernel.U(pick.ScaleBits + 1)).Add(kernel.U(coarseBucket))
	bucket := w.octaves.Lt(kernel.U(fine)).Select(w.octaves.Shr(kernel.U(pick.ScaleBits-1)), coarse)
	live := w.key.Gt(kernel.U(0)).And(w.octaves.Le(kernel.U(lastOctave << pick.ScaleBits)))
	return s.Let("bucket", live.Select(bucket, kernel.U(restBucket)))
}

// throughAt is the index of a part's sum through a bucket.
func (s *partSampler) throughAt(plane, part, bucket *kernel.Expr) *kernel.Expr {
	plane = s.row.Mul(i32(planes)).Add(plane)
	return plane.Mul(i32(s.m.parts)).Add(part).Mul(i32(rankBuckets)).Add(bucket)
}

// lowerRank makes the launch that adds up the weights of each part, and sorts its tokens
// where the row has filters.
func (m *sampleMemory) lowerRank() (program.Launch, error) {
	s := &ranker{partSampler: m.begin("rank", partThreads, "a SIMD group has a run of a part's tokens, a lane a bucket",
		"The sum of a part's weights, where a token is drawn. Where the ranking is cut off, by",
		"top-k or top-p, also the part's tokens by buckets of their weights, and the sums",
		"through each bucket.")}
	s.keys = s.memory("keys", m.keys, kernel.U32, kernel.Read, m.vocab)
	s.bindBest(kernel.Read)
	s.bindRanked(kernel.Write, m.vocab)
	s.of(kernel.Group(1))
	s.number = kernel.Group(0)
	s.If(s.inv.Gt(f32(0)), func() {
		key, _ := s.bestOfParts()
		s.setBest(key)
		s.first, s.end = s.part(s.number)
		s.minP = s.choiceBits(program.SampleMinP)
		_, topP := s.topP()
		s.If(s.topK().Or(topP), func() { s.sort(s.tally()) }, s.total)
	}, nil)
	return s.eachPart("rank", program.DrawnRows)
}

// ranker writes that kernel.
type ranker struct {
	*partSampler
	keys       kernel.Buffer
	number     *kernel.Expr // of the part
	first, end *kernel.Expr
	minP       *kernel.Expr
}

// A SIMD group goes through its run of tokens in pieces, of which the weights fit a u32.
const pieceTokens = 128

// pieces runs f for the tokens that lanes have of each piece of the SIMD group's run, by
// ascending id, start before and end behind each piece. A key behind the part's last is 0.
func (s *ranker) pieces(start func(), f func(id *kernel.Expr, w weighed), end func()) {
	pieces := s.m.each / pieceTokens
	run := (pieces + s.groups() - 1) / s.groups()
	from := s.Let("piece_from", kernel.Simd().Mul(i32(run)))
	s.For("piece", from, from.Add(i32(run)).Min(i32(pieces)), i32(1), func(piece *kernel.Expr) {
		start()
		at := s.Let("piece_id", s.first.Add(piece.Mul(i32(pieceTokens))))
		s.For("chunk", at, at.Add(i32(pieceTokens)).Min(s.end), i32(rankBuckets), func(chunk *kernel.Expr) {
			id := s.Let("id", chunk.Add(kernel.Lane()))
			key := s.Let("key", s.keys.At(s.base.Add(id.Min(s.end.Sub(i32(1))))))
			f(id, s.weighed(s.Let("key", id.Lt(s.end).Select(key, kernel.U(0)))))
		})
		end()
	})
}

// total adds up the weights.
func (s *ranker) total() {
	sum := s.Var("sum", i64(0))
	var part kernel.Variable
	s.pieces(func() { part = s.Var("part", kernel.U(0)) }, func(_ *kernel.Expr, w weighed) {
		part.Set(part.Add(drawn(s.weightOf(w), s.minP)))
	}, func() { sum.Set(sum.Add(part.To(kernel.I64))) })
	total := s.sumOverThreads("run_sums", sum.Expr)
	s.If(kernel.Thread().Eq(i32(0)), func() {
		s.through.Set(s.throughAt(i32(planeDrawn), s.number, i32(restBucket-1)), total)
	}, nil)
}

// eachLane runs f with each lane's number and word, if some lane has a bucket.
func (s *ranker) eachLane(bucket, word *kernel.Expr, f func(lane, word *kernel.Expr)) {
	word = s.Let("word", word)
	best := s.Let("best_bucket", bucket.SimdMin())
	s.If(best.Lt(kernel.U(restBucket)), func() {
		s.For("l", i32(0), i32(rankBuckets), i32(1), func(lane *kernel.Expr) {
			f(lane, s.Let("word_of", word.Shuffle(lane)))
		})
	}, nil)
}

// mine tells whether a bucket is the lane's.
func (s *ranker) mine(bucket *kernel.Expr) *kernel.Expr {
	return s.Let("mine", bucket.As(kernel.I32).Eq(kernel.Lane()))
}

// tally writes the part's sums through each bucket, and returns the place of the lane's
// bucket's first token of the SIMD group's run, among the part's.
func (s *ranker) tally() (place kernel.Variable) {
	s.Comment("Each lane adds up its bucket.")
	count, weights, drawn := s.Var("count", i32(0)), s.Var("weights", i64(0)), s.Var("drawn", i64(0))
	var part, partDrawn kernel.Variable
	const shift = pick.WeightBits + 1
	s.pieces(func() {
		part, partDrawn = s.Var("part", kernel.U(0)), s.Var("part_drawn", kernel.U(0))
	}, func(_ *kernel.Expr, w weighed) {
		bucket := s.bucketOf(w)
		s.eachLane(bucket, bucket.Shl(kernel.U(shift)).Or(s.weightOf(w)), func(_, word *kernel.Expr) {
			mine := s.mine(word.Shr(kernel.U(shift)))
			weight := s.Let("weight_of", mine.Select(word.And(kernel.U(1<<shift-1)), kernel.U(0)))
			count.Set(count.Add(oneIf(mine)))
			part.Set(part.Add(weight))
			partDrawn.Set(partDrawn.Add(weight.Ge(s.minP).Select(weight, kernel.U(0))))
		})
	}, func() {
		weights.Set(weights.Add(part.To(kernel.I64)))
		drawn.Set(drawn.Add(partDrawn.To(kernel.I64)))
	})
	return s.share(count, weights, drawn)
}

// share does that with what the SIMD groups have added up.
func (s *ranker) share(count, weights, drawn kernel.Variable) (place kernel.Variable) {
	n := s.groups() * rankBuckets
	counts, all := s.SharedArray("counts", kernel.I32, n), map[int]wideArray{planeWeights: s.wideArray("bucket_weights", n), planeDrawn: s.wideArray("bucket_drawn", n)}
	counts.Set(kernel.Thread(), count.Expr)
	all[planeWeights].set(kernel.Thread(), partsOf(weights.Expr))
	all[planeDrawn].set(kernel.Thread(), partsOf(drawn.Expr))
	s.Barrier()
	before, total := s.Var("runs_before", i32(0)), s.Var("of_all_runs", i32(0))
	s.For("g", i32(0), i32(s.groups()), i32(1), func(g *kernel.Expr) {
		n := s.Let("n", counts.At(g.Mul(i32(rankBuckets)).Add(kernel.Lane())))
		before.Set(before.Add(g.Lt(kernel.Simd()).Select(n, i32(0))))
		total.Set(total.Add(n))
	})
	start := s.Let("bucket_start", total.SimdPrefix())
	s.If(kernel.Simd().Eq(i32(0)), func() {
		s.put(planeCounts, start.Add(total.Expr).To(kernel.I64))
		for _, plane := range []int{planeWeights, planeDrawn} {
			sum := s.Var("of_bucket", i64(0))
			s.For("g", i32(0), i32(s.groups()), i32(1), func(g *kernel.Expr) {
				sum.Set(sum.Add(all[plane].at(g.Mul(i32(rankBuckets)).Add(kernel.Lane())).value()))
			})
			s.put(plane, s.sumBeforeLane(sum.Expr).Add(sum.Expr))
		}
	}, nil)
	return s.Var("place", start.Add(before.Expr))
}

// put writes the sum through the lane's bucket.
func (s *ranker) put(plane int, v *kernel.Expr) {
	s.through.Set(s.throughAt(i32(plane), s.number, kernel.Lane()), v)
}

// sort writes each token to the next place of its bucket.
func (s *ranker) sort(place kernel.Variable) {
	s.Comment("Each token goes to the next place of its bucket.")
	s.pieces(func() {}, func(id *kernel.Expr, w weighed) {
		bucket, at := s.bucketOf(w), s.Var("token_place", i32(0))
		s.eachLane(bucket, bucket, func(lane, of *kernel.Expr) {
			next := s.Let("next", place.Shuffle(of.As(kernel.I32)))
			at.Set(kernel.Lane().Eq(lane).Select(next, at.Expr))
			place.Set(place.Add(oneIf(s.mine(of))))
		})
		s.If(bucket.Lt(kernel.U(restBucket)), func() {
			to := s.Let("to", s.base.Add(s.first).Add(at.Expr))
			s.ranked.keys.Set(to, w.key)
			s.ranked.ids.Set(to, id)
			s.ranked.weights.Set(to, s.weightOf(w))
		}, nil)
	}, func() {})
}
