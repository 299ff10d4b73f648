package lower

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// scoreTest is rows of logits with a target for each.
type scoreTest struct {
	vocab   int
	rows    [][]float32
	targets []int32
	text    bool // kernels for GPUs run as their Metal text
}

func (x *scoreTest) add(row []float32, target int) {
	x.rows, x.targets = append(x.rows, row), append(x.targets, int32(target))
}

// run returns the rows' scores as the kernel has them. What is in their place before is
// 99.
func (x *scoreTest) run(t *testing.T, machine target.Target) []float32 {
	t.Helper()
	in := sampleInput(machine, program.Prefill, x.vocab, len(x.rows))
	launch, scores, err := LowerScore(in)
	if err != nil {
		t.Fatal(err)
	}
	mem := newMemory(in, nil)
	mem.native, mem.text, mem.targets = true, x.text, x.targets
	var all, before []float32
	for _, row := range x.rows {
		all, before = append(all, row...), append(before, untouched)
		mem.wanted = append(mem.wanted, 0)
	}
	mem.values[in.Module.Results[0]] = floatBytes(all)
	mem.scratch[scores] = floatBytes(before)
	mem.run(t, []program.Launch{launch})
	return floats(mem.scratch[scores])
}

// check compares with the definition, in float64, and returns the largest share of what
// LowerScore allows.
func (x *scoreTest) check(t *testing.T, machine target.Target) (worst float64) {
	t.Helper()
	for i, got := range x.run(t, machine) {
		want := definition(x.rows[i], x.targets[i])
		switch {
		case math.IsNaN(want) && got != got, math.IsInf(float64(float32(want)), 0) && float32(want) == got:
			continue
		case math.IsNaN(want) || math.IsInf(want, 0) || got-got != 0:
			t.Errorf("%s, %d tokens, row %d: %v, want %v", machine.Name, x.vocab, i, got, want)
			continue
		}
		share := math.Abs(float64(got)-want) / (8e-6 - want*0x1p-23)
		if worst = max(worst, share); share > 1 {
			t.Errorf("%s, %d tokens, row %d: %v, want %v: off by %.1f times what is allowed", machine.Name, x.vocab, i, got, want, share)
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

func TestScore(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	small := target.GPU
	small.MaxThreads = 64
	for _, machine := range []target.Target{target.CPU4, target.CPU8, target.CPU16, small, target.GPU} {
		// Around the numbers of lanes and threads; the interpreter is slow with many.
		vocabs, rows := []int{1, 2, 15, 16, 17, 63, 64, 65, 1009}, 40
		if machine.MaxThreads > 100 {
			vocabs, rows = []int{2, 1023, 1024, 1025, 2500}, 12
		}
		for _, vocab := range vocabs {
			t.Run(fmt.Sprintf("%s of %d, %d tokens", machine.Name, machine.MaxThreads/32+machine.Vector, vocab), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, uint64(vocab+machine.Vector)))
				x := &scoreTest{vocab: vocab}
				for range rows {
					x.add(scoredLogits(r, vocab), r.IntN(vocab))
				}
				x.check(t, machine)
			})
		}
	}
}

// TestScoreText is TestScore of the kernel's Metal text, by all its threads.
func TestScoreText(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: clang builds a program")
	}
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	x := &scoreTest{vocab: 1500, text: true}
	for range 24 {
		x.add(scoredLogits(r, x.vocab), r.IntN(x.vocab))
	}
	x.check(t, target.GPU)
}

// TestScoreLargest: the bound holds for the vocabularies of large models, of which a
// thread of a processor adds up the most.
func TestScoreLargest(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	x := &scoreTest{vocab: 129280}
	for _, spread := range []float64{0, 0.01, 3} {
		row := make([]float32, x.vocab)
		for i := range row {
			row[i] = float32(r.NormFloat64() * spread)
		}
		x.add(row, r.IntN(x.vocab))
	}
	t.Logf("%.3f of what is allowed", x.check(t, target.CPU4))
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

// TestScoreLeavesRowsAlone: rows without a target keep what is in their place.
func TestScoreLeavesRowsAlone(t *testing.T) {
	for _, machine := range targets {
		x := &scoreTest{vocab: 3}
		for _, target := range []int{1, -1, 2} {
			x.add([]float32{1, 3, 2}, target)
		}
		got := x.run(t, machine)
		x.targets[1] = 0
		if want := x.run(t, machine); got[0] != want[0] || got[1] != untouched || want[1] == untouched || got[2] != want[2] {
			t.Errorf("%s: %v, with all targets %v", machine.Name, got, want)
		}
	}
}

func TestScoreRefuses(t *testing.T) {
	if _, _, err := LowerScore(sampleInput(target.GPU, program.Prefill, maxVocabulary+1, 1)); err == nil {
		t.Error("a vocabulary that no sum was bounded for was accepted")
	}
	in := sampleInput(target.GPU, program.Prefill, 5, 1)
	in.Module.Symbols[0].Def = ir.Rows
	if _, _, err := LowerScore(in); err == nil {
		t.Error("a module without logits of wanted rows was accepted")
	}
}
