package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// LowerScore makes the launches that say how probable tokens are by the module's logits, and
// the memory they write that to, the step's Scores: the natural logarithm of a token's
// probability, and the most probable tokens with theirs. The input's region is not used. It
// fails for a module without Logits.
//
//	parts  the largest logit of each part of a row, the sum of its exponentials relative to
//	       that, and its best tokens: a threadgroup for each part;
//	       (no role) puts the parts of a row together.
//
// Tokens rank as package sampling has it: by logit, equal ones by id, NaN not at all. As
// sampling.LogProb has it, a logarithm is NaN where a logit is NaN or +Inf, or all are
// -Inf; and -Inf is that of a token that has -Inf beside numbers. Others are
// off by at most 8e-6 + 2^-23 of their size, on any target and for any vocabulary it
// takes. Exponents are rounded twice, within a part and between parts (1.5e-6), and so are
// exponentials, to 4 units in the last place (1e-6); a thread adds its own up with
// compensation, of both (2e-7), at most 16 additions over threads follow (1e-6), a product
// (1e-7) and a logarithm to 4 units (3.9e-6). The two differences that are left are rounded
// by at most half a unit of the result each.
func LowerScore(in *Input) ([]program.Launch, *program.Scratch, error) {
	logits, vocab, err := in.logits("scores take")
	if err != nil {
		return nil, nil, err
	}
	for _, s := range in.Module.Symbols {
		if s.Name == program.ScoredTokens {
			return nil, nil, fmt.Errorf("the module's symbol %s has the name of scoring's own", s.Name)
		}
	}
	own := *in
	own.Region = &ir.Region{Kind: program.ScoreRegion, Name: program.ScoreRegion}
	m := own.scoreMemory(logits, vocab)
	parts, err := m.lowerParts()
	if err != nil {
		return nil, nil, err
	}
	merge, err := m.lowerMerge()
	return []program.Launch{parts, merge}, in.Step.Scores, err
}

// scoreMemory is what the launches share.
type scoreMemory struct {
	in     *Input
	logits *ir.Value
	vocab  int
	rowParts

	largest, sums  *program.Scratch // u32, the key, and f32, by ask and part
	topKeys, topID *program.Scratch // u32 and i32, by ask, then as many of each part as are asked for
}

func (in *Input) scoreMemory(logits *ir.Value, vocab int) *scoreMemory {
	m := &scoreMemory{in: in, logits: logits, vocab: vocab, rowParts: partsOfRow(vocab)}
	words := func(name string, n int) *program.Scratch {
		return &program.Scratch{Name: name, Bytes: ir.Const(4 * int64(in.Step.Sampled) * int64(n))}
	}
	m.largest, m.sums = words("largest keys", m.parts), words("sums of parts", m.parts)
	m.topKeys, m.topID = words("top keys", m.parts*program.MaxTop), words("top tokens", m.parts*program.MaxTop)
	return m
}

// scoreThreads is how many threads look at a part, and at the parts of a row.
const scoreThreads = 128

// tokenScorer writes one of the kernels.
type tokenScorer struct {
	*emitter
	m             *scoreMemory
	ask, row, top *kernel.Expr

	largest, sums, topKeys, topIDs kernel.Buffer
}

func (m *scoreMemory) begin(role, why string, doc ...string) *tokenScorer {
	t := m.in.Target
	s := kernel.Schedule{Threads: t.Threads(scoreThreads), SimdWidth: t.SimdWidth}
	if t.Vector > 0 {
		s.Threads, s.SimdWidth = t.Vector, t.Vector
	}
	s.Settings = []kernel.Setting{
		{Name: "threads", Value: fmt.Sprint(s.Threads), Why: why},
		{Name: "tokens of a part", Value: fmt.Sprint(m.each), Why: fmt.Sprintf("%d parts of a row of %d logits, for all cores to have some", m.parts, m.vocab)},
	}
	return &tokenScorer{emitter: m.in.begin(m.in.kernelName(role), s, doc...), m: m}
}

// bindParts binds what the kernels share.
func (s *tokenScorer) bindParts(a kernel.Access) {
	s.largest = s.memory("largest", s.m.largest, kernel.U32, a, s.m.parts)
	s.sums = s.memory("sums", s.m.sums, kernel.F32, a, s.m.parts)
	s.topKeys = s.memory("top_keys", s.m.topKeys, kernel.U32, a, s.m.parts*program.MaxTop)
	s.topIDs = s.memory("top_ids", s.m.topID, kernel.I32, a, s.m.parts*program.MaxTop)
}

// memory binds memory of which an ask needs so many words.
func (s *tokenScorer) memory(name string, of *program.Scratch, elem kernel.Scalar, a kernel.Access, words int) kernel.Buffer {
	b := s.scratch(name, of, elem, a)
	s.accesses(ir.Sym(program.ScoredTokens).Mul(ir.Const(4 * int64(words))))
	return b
}

// bindLogits binds the logits, of which an ask needs so many.
func (s *tokenScorer) bindLogits(words int) kernel.Buffer {
	b := s.activation("logits", s.m.logits, kernel.Read)
	s.accesses(ir.Sym(program.ScoredTokens).Mul(ir.Const(4 * int64(words))))
	return b
}

// of begins with the ask's numbers.
func (s *tokenScorer) of(ask *kernel.Expr) {
	s.ask = s.Let("ask", ask)
	s.row = s.Let("row", s.StepAt(program.ScoreRow, s.ask))
	s.top = s.Let("top", s.StepAt(program.ScoreTop, s.ask))
}

// tops is the index of the first of a part's best tokens.
func (s *tokenScorer) tops(part *kernel.Expr) *kernel.Expr {
	return s.ask.Mul(i32(s.m.parts * program.MaxTop)).Add(part.Mul(s.top))
}

// maxOverThreads is the largest of the threads' keys; all threads must reach it, and get it.
func (s *tokenScorer) maxOverThreads(key *kernel.Expr) *kernel.Expr {
	groups := s.Schedule().Threads / s.Schedule().SimdWidth
	of := s.Let("most_of_lanes", key.SimdMax())
	if groups == 1 {
		return of
	}
	keys := s.SharedArray("group_keys", kernel.U32, groups)
	s.If(kernel.Lane().Eq(i32(0)), func() { keys.Set(kernel.Simd(), of) }, nil)
	s.Barrier()
	// There are at most as many groups as lanes.
	return s.Let("most_of_all", keys.At(kernel.Lane().Min(i32(groups-1))).SimdMax())
}

// sum adds up terms of n indices (i32, the same for all threads) over the threadgroup; what
// an addition loses goes into the thread's next.
func (s *tokenScorer) sum(n *kernel.Expr, term func(i *kernel.Expr) *kernel.Expr) *kernel.Expr {
	sum, lost := s.Var("sum", f32(0)), s.Var("lost", f32(0))
	s.For("i", kernel.Thread(), n, i32(s.Schedule().Threads), func(i *kernel.Expr) {
		x := s.Let("term", term(i).Sub(lost.Expr))
		with := s.Let("with", sum.Add(x))
		lost.Set(s.Let("added", with.Sub(sum.Expr)).Sub(x))
		sum.Set(with)
	})
	return s.threadgroupSum(sum.Expr)
}
