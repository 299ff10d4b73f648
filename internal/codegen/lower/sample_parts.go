package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// lowerSampleParts makes the launches of GPUs. A row is cut into parts, a threadgroup for
// each, so that all cores have some:
//
//	keys  makes keys of the logits and finds the best token of each part;
//	rank  weighs the tokens of a part and ranks them roughly, where one is drawn;
//	pick  takes the best of all parts, or filters and draws, a threadgroup a row.
func (in *Input) lowerSampleParts(logits *ir.Value, vocab int) ([]program.Launch, *program.Scratch, error) {
	if in.Target.SimdWidth != rankBuckets {
		return nil, nil, fmt.Errorf("SIMD groups of %d lanes; sampling takes %d, a bucket each", in.Target.SimdWidth, rankBuckets)
	}
	m := in.sampleMemory(logits, vocab)
	var launches []program.Launch
	for _, lower := range []func() (program.Launch, error){m.lowerKeys, m.lowerRank, m.lowerPick} {
		l, err := lower()
		if err != nil {
			return nil, nil, err
		}
		launches = append(launches, l)
	}
	return launches, m.tokens, nil
}

// Threads of a part, four tokens for each in most vocabularies, and of a row.
const (
	partThreads = 128
	pickThreads = 512
)

// sampleMemory is what the launches share.
type sampleMemory struct {
	in     *Input
	logits *ir.Value
	vocab  int
	rowParts

	tokens                               *program.Scratch // i32, by row
	keys                                 *program.Scratch // u32 of each token, by row, where one is drawn
	bestKeys, bestIDs                    *program.Scratch // u32 and i32, by row and part
	rankedKeys, rankedIDs, rankedWeights *program.Scratch // u32, i32 and u32: a part's tokens by bucket, from its first one's place on
	through                              *program.Scratch // i64, by row, plane, part and bucket
}

func (in *Input) sampleMemory(logits *ir.Value, vocab int) *sampleMemory {
	m := &sampleMemory{in: in, logits: logits, vocab: vocab, rowParts: partsOfRow(vocab)}
	words := func(name string, n int) *program.Scratch {
		return &program.Scratch{Name: name, Bytes: ir.Const(4 * int64(in.Step.Sampled) * int64(n))}
	}
	m.tokens = in.Step.Tokens
	m.keys, m.bestKeys, m.bestIDs = words("token keys", vocab), words("best keys", m.parts), words("best tokens", m.parts)
	m.rankedKeys, m.rankedIDs, m.rankedWeights = words("ranked keys", vocab), words("ranked tokens", vocab), words("ranked weights", vocab)
	m.through = words("sums through buckets", 2*planes*m.parts*rankBuckets)
	return m
}

// words are a row's of something, for the cost.
func (m *sampleMemory) words(n int) ir.Expr {
	return m.logits.Type.Shape[0].Mul(ir.Const(4 * int64(n)))
}

// partSampler writes one of the kernels.
type partSampler struct {
	*sampler
	m                 *sampleMemory
	bestKeys, bestIDs kernel.Buffer
	ranked            struct{ keys, ids, weights kernel.Buffer }
	through           kernel.Buffer
}

// begin starts one, with threadgroups of so many threads.
func (m *sampleMemory) begin(role string, threads int, why string, doc ...string) *partSampler {
	t := m.in.Target
	sch := kernel.Schedule{Threads: t.Threads(threads), SimdWidth: t.SimdWidth}
	sch.Settings = []kernel.Setting{
		{Name: "threads", Value: fmt.Sprint(sch.Threads), Why: why},
		{Name: "tokens of a part", Value: fmt.Sprint(m.each), Why: fmt.Sprintf("%d parts of a row of %d logits, for all cores to have some", m.parts, m.vocab)},
	}
	return &partSampler{sampler: m.in.sampler(role, sch, m.vocab, doc...), m: m}
}

// bindBest binds the parts' best tokens.
func (s *partSampler) bindBest(a kernel.Access) {
	s.bestKeys = s.memory("best_keys", s.m.bestKeys, kernel.U32, a, s.m.parts)
	s.bestIDs = s.memory("best_ids", s.m.bestIDs, kernel.I32, a, s.m.parts)
}

// bindRanked binds the memory of tokens by buckets and the sums through buckets, of which
// a row needs so many tokens.
func (s *partSampler) bindRanked(a kernel.Access, tokens int) {
	s.ranked.keys = s.memory("ranked_keys", s.m.rankedKeys, kernel.U32, a, tokens)
	s.ranked.ids = s.memory("ranked_ids", s.m.rankedIDs, kernel.I32, a, tokens)
	s.ranked.weights = s.memory("ranked_weights", s.m.rankedWeights, kernel.U32, a, tokens)
	s.through = s.memory("through", s.m.through, kernel.I64, a, 2*planes*s.m.parts*rankBuckets)
}

// memory binds memory of which a row needs so many words.
func (s *partSampler) memory(name string, of *program.Scratch, elem kernel.Scalar, a kernel.Access, words int) kernel.Buffer {
	b := s.scratch(name, of, elem, a)
	s.accesses(s.m.words(words))
	return b
}

// eachPart launches a kernel whose threadgroups are parts, then rows.
func (s *partSampler) eachPart(role, rows string) (program.Launch, error) {
	return s.launch(role, ir.Const(int64(s.m.parts)), ir.Sym(rows))
}

// part is a part's first token and the one after its last.
func (s *partSampler) part(n *kernel.Expr) (first, end *kernel.Expr) {
	first = s.Let("first_id", n.Mul(i32(s.m.each)))
	return first, s.Let("end_id", first.Add(i32(s.m.each)).Min(i32(s.vocab)))
}

// ofParts is the index of a part's number where each row has one of each.
func (s *partSampler) ofParts(part *kernel.Expr) *kernel.Expr {
	return s.row.Mul(i32(s.m.parts)).Add(part)
}

// bestOfParts is the row's best token.
func (s *partSampler) bestOfParts() (key, id *kernel.Expr) {
	b := s.noBest()
	s.For("n", kernel.Thread(), i32(s.m.parts), i32(s.Schedule().Threads), func(n *kernel.Expr) {
		at := s.Let("at", s.ofParts(n))
		s.better(b, s.Let("key", s.bestKeys.At(at)), s.Let("id", s.bestIDs.At(at)))
	})
	return s.bestOfAll(b)
}

// topK tells whether the row has that filter, and topP, which also gives its share.
func (s *partSampler) topK() *kernel.Expr {
	k := s.Let("top_k", s.StepAt(program.SampleTopK, s.row))
	return s.Let("has_top_k", k.Gt(i32(0)).And(k.Lt(i32(s.vocab))))
}

func (s *partSampler) topP() (share, asked *kernel.Expr) {
	share = s.choiceBits(program.SampleTopP)
	return share, s.Let("has_top_p", share.Gt(kernel.U(0)))
}

// sumOverLanes adds up over the SIMD group (i64).
func (s *partSampler) sumOverLanes(v *kernel.Expr) *kernel.Expr {
	return s.Let("sum_of_lanes", s.acrossLanes(partsOf(v)).value())
}

// sumBeforeLane adds up over the lanes before (i64).
func (s *partSampler) sumBeforeLane(v *kernel.Expr) *kernel.Expr {
	return s.Let("sum_before", s.lanesBefore(partsOf(v)).value())
}

// sumOfGroups adds up what the SIMD groups below a limit left in an array. There are at
// most as many as lanes.
func (s *partSampler) sumOfGroups(a wideArray, limit *kernel.Expr) *kernel.Expr {
	group := s.Let("group", kernel.Lane().Min(i32(s.groups()-1)))
	return s.Let("sum_of_groups", s.acrossLanes(a.at(group).where(kernel.Lane().Lt(limit))).value())
}

// sumOverThreads adds up over the threadgroup (i64), which has to meet: once for a name.
func (s *partSampler) sumOverThreads(name string, v *kernel.Expr) *kernel.Expr {
	sums, mine := s.wideArray(name, s.groups()), s.acrossLanes(partsOf(v))
	s.If(kernel.Lane().Eq(i32(0)), func() { sums.set(kernel.Simd(), partsOf(s.Let("mine", mine.value()))) }, nil)
	s.Barrier()
	return s.sumOfGroups(sums, i32(s.groups()))
}
