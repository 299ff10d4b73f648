package lower

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// scoreAsk is for a token of a row, and for the most probable ones beside it. The token is
// the one that was picked for the row if it is negative.
type scoreAsk struct {
	row, token int32
	top        int
}

// scoreTest is rows of logits with asks.
type scoreTest struct {
	vocab  int
	rows   [][]float32
	picked []int32 // by row
	asks   []scoreAsk
	text   bool // kernels for GPUs run as their Metal text
}

// add adds a row and an ask for it.
func (x *scoreTest) add(row []float32, token, top int) {
	x.asks = append(x.asks, scoreAsk{int32(len(x.rows)), int32(token), top})
	x.rows, x.picked = append(x.rows, row), append(x.picked, int32(token))
}

// scored is what an ask gets.
type scored struct {
	token int32
	score float32
	top   []sampling.Probable
}

// run returns what the kernels make of the asks. What is in their place before is untouched.
func (x *scoreTest) run(t *testing.T, machine target.Target, phase program.Phase) (all []scored) {
	t.Helper()
	in := sampleInput(machine, phase, x.vocab, program.MaxSampled)
	launches, scores, err := LowerScore(in)
	if err != nil {
		t.Fatal(err)
	}
	mem := newMemory(in, nil)
	// Into the second set, beside a first that the host reads.
	mem.native, mem.text, mem.asks, mem.into = true, x.text, x.asks, program.MaxSampled
	var logits []float32
	for _, row := range x.rows {
		logits = append(logits, row...)
		mem.wanted = append(mem.wanted, 0)
	}
	mem.values[in.Module.Results[0]] = floatBytes(logits)
	mem.scratch[in.Step.Tokens] = intBytes(slices.Concat(make([]int32, program.MaxSampled), x.picked))
	mem.scratch[scores] = bytes.Repeat([]byte{untouched, 0, 0, 0}, program.ScoreWords*program.TokenSets*program.MaxSampled)
	mem.run(t, launches)
	words := mem.scratch[scores]
	for i, a := range x.asks {
		of := words[4*program.ScoreWords*(mem.into+i):]
		pair := func(n int) (int32, float32) {
			return int32(binary.LittleEndian.Uint32(of[8*n:])), math.Float32frombits(binary.LittleEndian.Uint32(of[8*n+4:]))
		}
		var s scored
		s.token, s.score = pair(0)
		for n := range a.top {
			token, score := pair(1 + n)
			s.top = append(s.top, sampling.Probable{Token: token, LogProb: float64(score)})
		}
		all = append(all, s)
		clear(of[:8*(1+a.top)])
	}
	for i := 0; i < len(words); i += 4 {
		if w := binary.LittleEndian.Uint32(words[i:]); w != untouched && (w != 0 || i < 4*program.ScoreWords*mem.into) {
			t.Fatalf("%s: word %d was written, beyond what was asked for", machine.Name, i/4)
		}
	}
	return all
}

// check compares with the definition, in float64, and returns the largest share of what
// LowerScore allows.
func (x *scoreTest) check(t *testing.T, machine target.Target, phase program.Phase) (worst float64) {
	t.Helper()
	for i, got := range x.run(t, machine, phase) {
		a := x.asks[i]
		row, token := x.rows[a.row], a.token
		if token < 0 {
			token = x.picked[a.row]
		}
		compare := func(what string, got, want float64) {
			t.Helper()
			switch {
			case math.IsNaN(want) && got != got, math.IsInf(float64(float32(want)), 0) && float64(float32(want)) == got:
				return
			case math.IsNaN(want) || math.IsInf(want, 0) || got-got != 0:
				t.Errorf("%s, %d tokens, ask %d, %s: %v, want %v", machine.Name, x.vocab, i, what, got, want)
				return
			}
			share := math.Abs(got-want) / (8e-6 - want*0x1p-23)
			if worst = max(worst, share); share > 1 {
				t.Errorf("%s, %d tokens, ask %d, %s: %v, want %v: off by %.1f times what is allowed", machine.Name, x.vocab, i, what, got, want, share)
			}
		}
		if got.token != token {
			t.Errorf("%s, %d tokens, ask %d: of token %d, want %d", machine.Name, x.vocab, i, got.token, token)
			continue
		}
		if token >= 0 {
			compare("the token", float64(got.score), definition(row, token))
		} else if got.score == got.score {
			t.Errorf("%s, ask %d: no token scores %v", machine.Name, i, got.score)
		}
		want := sampling.Top(row, a.top)
		for n, p := range got.top {
			if n >= len(want) {
				if p.Token != -1 {
					t.Errorf("%s, %d tokens, ask %d: %d best is %d, of %d", machine.Name, x.vocab, i, n, p.Token, len(want))
				}
				continue
			}
			if p.Token != want[n].Token {
				t.Errorf("%s, %d tokens, ask %d: the %d-th of %d best is %d, want %d", machine.Name, x.vocab, i, n, a.top, p.Token, want[n].Token)
				break
			}
			compare(fmt.Sprintf("the %d-th best", n), p.LogProb, definition(row, p.Token))
		}
	}
	return worst
}

// definition is the logarithm of a token's probability.
func definition(row []float32, token int32) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, x := range row {
		if x != x {
			return math.NaN()
		}
		top = max(top, float64(x))
	}
	for _, x := range row {
		sum += math.Exp(float64(x) - top)
	}
	if math.IsInf(top, 0) {
		return math.NaN()
	}
	return float64(row[token]) - top - math.Log(sum)
}

// scoredLogits are numbers of some spread, in some cases beside what is none.
func scoredLogits(r *rand.Rand, n int) []float32 {
	row, spread := make([]float32, n), []float64{0, 1e-3, 1, 4, 30, 1e4, 1e37}[r.IntN(7)]
	shift := []float64{0, 0, 50, -80, 3e5}[r.IntN(5)]
	for i := range row {
		row[i] = float32(r.NormFloat64()*spread + shift)
	}
	put := func(x float32, times int) {
		for range times {
			row[r.IntN(n)] = x
		}
	}
	inf := float32(math.Inf(1))
	switch r.IntN(12) {
	case 0: // a few of the best
		put(row[r.IntN(n)]+float32(10*spread), 3)
	case 1, 2:
		put(-inf, 1+n/2)
	case 3:
		put(inf, 1)
	case 4: // of either sign, with any bits
		put(math.Float32frombits(0x7f800001|r.Uint32()), 1)
	case 5:
		put(inf, 2)
		put(-inf, 2)
		put(float32(math.NaN()), 1)
	case 6: // one number at most
		for i := range row {
			row[i] = -inf
		}
		put([]float32{-3, -inf, math.MaxFloat32}[r.IntN(3)], 1)
	case 7:
		put(math.MaxFloat32, 1)
		put(-math.MaxFloat32, 2)
	case 8:
		put(0, n)
		put(float32(math.Copysign(0, -1)), n)
		put(math.SmallestNonzeroFloat32, 1)
	}
	return row
}

// random fills the test with rows, and with asks for random ones of them, of which one may
// have several asks or none.
func (x *scoreTest) random(r *rand.Rand, rows int) {
	for range rows {
		x.rows, x.picked = append(x.rows, scoredLogits(r, x.vocab)), append(x.picked, int32(r.IntN(x.vocab+1))-1)
	}
	for range 1 + r.IntN(rows) {
		x.asks = append(x.asks, scoreAsk{int32(r.IntN(rows)), int32(r.IntN(x.vocab+1)) - 1, r.IntN(program.MaxTop + 1)})
	}
	x.asks[0].top = program.MaxTop
}

func TestScore(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	small := target.GPU
	small.MaxThreads = 64
	for _, machine := range []target.Target{target.CPU4, target.CPU8, target.CPU16, small, target.GPU} {
		// Around the numbers of lanes and threads, and of tokens of a part; the interpreter is
		// slow with many.
		vocabs, rows := []int{1, 2, 15, 16, 17, 63, 64, 65, 511, 512, 513, 1009, 5003}, program.MaxSampled
		if machine.Vector == 0 {
			rows = 3
		}
		for _, vocab := range sample.Of(t, vocabs, 6) {
			t.Run(fmt.Sprintf("%s of %d, %d tokens", machine.Name, machine.MaxThreads/32+machine.Vector, vocab), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, uint64(vocab+machine.Vector)))
				x := &scoreTest{vocab: vocab}
				x.random(r, rows)
				x.check(t, machine, program.Phase(r.IntN(2)))
			})
		}
	}
}

// TestScoreTies: of equal logits those with lower ids are listed, wherever the edges of
// lanes, threads and parts lie.
func TestScoreTies(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, machine := range targets {
		x := &scoreTest{vocab: 3*partTokens + 77}
		for range 8 {
			row := make([]float32, x.vocab)
			for _, edge := range []int{0, 4, 8, 32, 128, partTokens, 2 * partTokens, 3 * partTokens, x.vocab} {
				for id := max(0, edge-3); id < min(edge+3, x.vocab); id++ {
					row[id] = float32(r.IntN(3))
				}
			}
			x.add(row, -1, 1+r.IntN(program.MaxTop))
			x.picked[len(x.picked)-1] = int32(r.IntN(x.vocab))
		}
		for i := range x.rows[0] {
			x.rows[0][i] = 2 // all are equal
		}
		x.check(t, machine, program.Decode)
	}
}

// TestScoreText is TestScore of the kernels' Metal text, by all their threads.
func TestScoreText(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: clang builds a program")
	}
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	x := &scoreTest{vocab: 1500, text: true}
	x.random(r, program.MaxSampled)
	x.check(t, target.GPU, program.Decode)
}

// TestScoreLargest: the bound holds for the vocabularies of large models, of which a
// thread of a processor adds up the most, and for the largest.
func TestScoreLargest(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, vocab := range sample.Of(t, []int{129280, mostParts*partTokens + 77}, 1) {
		x := &scoreTest{vocab: vocab}
		for _, spread := range []float64{0, 0.01, 3} {
			row := make([]float32, x.vocab)
			for i := range row {
				row[i] = float32(r.NormFloat64() * spread)
			}
			x.add(row, r.IntN(x.vocab), program.MaxTop)
		}
		t.Logf("%d tokens: %.3f of what is allowed", vocab, x.check(t, target.CPU4, program.Decode))
	}
}

// TestScoreIsLogProb: package sampling's, which the host has it from, is the same
// definition.
func TestScoreIsLogProb(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		row := scoredLogits(r, 1+r.IntN(60))
		token := int32(r.IntN(len(row)))
		got, want := sampling.LogProb(row, token), definition(row, token)
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) && !(math.Abs(got-want) <= 1e-12*(1+math.Abs(want))) {
			t.Errorf("%v, token %d: %v, want %v", row, token, got, want)
		}
	}
}

func TestScoreRefuses(t *testing.T) {
	named := sampleInput(target.GPU, program.Decode, 5, 1)
	named.Module.Symbols = append(named.Module.Symbols, ir.Symbol{Name: program.ScoredTokens, Def: ir.Rows})
	if _, _, err := LowerScore(named); err == nil {
		t.Error("a symbol with the name of scoring's own was accepted")
	}
	if _, _, err := LowerScore(sampleInput(target.GPU, program.Prefill, maxVocabulary+1, 1)); err == nil {
		t.Error("a vocabulary that no sum was bounded for was accepted")
	}
	in := sampleInput(target.GPU, program.Prefill, 5, 1)
	in.Module.Symbols[0].Def = ir.Rows
	if _, _, err := LowerScore(in); err == nil {
		t.Error("a module without logits of wanted rows was accepted")
	}
}
