package lower

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// sampleTest is rows of logits with a choice for each.
type sampleTest struct {
	vocab   int
	rows    [][]float32
	choices []pick.Choice
}

func (x *sampleTest) add(row []float32, c pick.Choice) {
	x.rows, x.choices = append(x.rows, row), append(x.choices, c)
}

// sampleInput is the input of a module that returns W rows of logits.
func sampleInput(machine target.Target, phase program.Phase, vocab, rows int) *Input {
	logits := &ir.Value{ID: 1, Type: ir.Tensor(ir.F32, ir.Sym("W"), ir.Const(int64(vocab)))}
	m := &ir.Module{Symbols: []ir.Symbol{{Name: "W", Def: ir.Wanted}}, Results: []*ir.Value{logits}}
	return &Input{Module: m, Phase: phase, Step: program.NewStep(m, rows), Target: machine}
}

// untouched is what is in a token's place before.
const untouched = 99

// run returns the rows' tokens as the kernel picks them.
func (x *sampleTest) run(t *testing.T, machine target.Target, phase program.Phase) []int32 {
	t.Helper()
	in := sampleInput(machine, phase, x.vocab, len(x.rows))
	launches, tokens, err := LowerSample(in)
	if err != nil {
		t.Fatal(err)
	}
	mem := newMemory(in, nil)
	mem.native, mem.choices = true, x.choices
	var all []float32
	for _, row := range x.rows {
		all = append(all, row...)
		mem.wanted = append(mem.wanted, 0)
	}
	mem.values[in.Module.Results[0]] = floatBytes(all)
	// Into the second set, beside a first that is read meanwhile.
	mem.into = program.MaxSampled
	mem.scratch[tokens] = bytes.Repeat([]byte{untouched, 0, 0, 0}, program.TokenSets*program.MaxSampled)
	mem.run(t, launches)
	picked := ints(mem.scratch[tokens])
	for i, token := range picked {
		if token != untouched && (i < mem.into || i >= mem.into+len(x.rows)) {
			t.Errorf("place %d has token %d; %d rows write from place %d on", i, token, len(x.rows), mem.into)
		}
	}
	return picked[mem.into:][:len(x.rows)]
}

// check compares with package pick.
func (x *sampleTest) check(t *testing.T, machine target.Target, phase program.Phase) {
	t.Helper()
	for i, got := range x.run(t, machine, phase) {
		want, err := x.choices[i].Pick(x.rows[i], nil)
		if errors.Is(err, pick.ErrNoLogits) {
			want, err = -1, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s, %d tokens, row %d, %+v: %d, want %d", machine.Name, x.vocab, i, x.choices[i], got, want)
		}
	}
}

// randomLogits have ties, infinities, zeros of both signs and NaN among them.
func randomLogits(r *rand.Rand, n int) []float32 {
	row, spread := make([]float32, n), math.Exp(4*r.Float64()-2)
	special := []float32{float32(math.NaN()), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)), 1, -1, math.SmallestNonzeroFloat32, -0x1p-127}
	for i := range row {
		row[i] = float32(r.NormFloat64() * spread)
		if r.IntN(4) == 0 {
			row[i] = special[r.IntN(len(special))]
		}
	}
	switch r.IntN(12) {
	case 0: // an infinite best, or two
		row[r.IntN(n)] = float32(math.Inf(1))
		row[r.IntN(n)] = float32(math.Inf(1))
	case 1: // all alike
		for i := range row {
			row[i] = row[0]
		}
	case 2: // one number
		for i := range row {
			row[i] = float32(math.NaN())
		}
		row[r.IntN(n)] = -3
	case 3:
		for i := range row {
			row[i] = -float32(math.NaN())
		}
	}
	return row
}

// randomChoice has every filter on or off, at its edges too.
func randomChoice(r *rand.Rand, n int) pick.Choice {
	oneOf := func(of ...float64) float64 { return of[r.IntN(len(of))] }
	p := sampling.Params{
		Temperature: oneOf(0, 1, 1, 0.7, 2.5, 1e-300, 1e-30, 1e30, 3*r.Float64()),
		TopK:        int(oneOf(0, 0, 1, 2, float64(1+r.IntN(n)), float64(n-1), float64(n), 1e6)),
		TopP:        oneOf(1, 1, 1e-300, 0.5, math.Nextafter(1, 0), 1-0x1p-32, 1-r.Float64()),
		MinP:        oneOf(0, 0, 1, 1e-9, r.Float64()),
		Seed:        r.Uint64(),
	}
	return p.Choice(r.Uint64(), r.Uint64())
}

// randomMask allows a share of the tokens: few, half, or all but a few.
func randomMask(r *rand.Rand, n int) *pick.Mask {
	m, share := pick.NewMask(n), []float64{0, 0.01, 0.5, 0.99, 1}[r.IntN(5)]
	for id := range int32(n) {
		if r.Float64() < share {
			m.Allow(id)
		}
	}
	return m
}

// randomChanges are of at most `most` tokens, with factors and amounts at the edges
// of what float32 holds among them.
func randomChanges(r *rand.Rand, n, most int) *pick.Changes {
	factors := []float32{1, 1.05, 2, 1 / 1.05, 1e6, 1e-6, 0x1p-126, math.MaxFloat32, r.Float32() + 0.5}
	less := []float32{0, 0x1.8p-126, 1, -2, 0x1p-126, -0x1p-126, 1e30, 4*r.Float32() - 2, 0x1p-120}
	c := &pick.Changes{Positive: factors[r.IntN(len(factors))], Negative: factors[r.IntN(len(factors))]}
	tokens := r.Perm(n)[:r.IntN(most+1)]
	slices.Sort(tokens)
	for _, id := range tokens {
		c.Tokens = append(c.Tokens, pick.Change{Token: int32(id), Less: less[r.IntN(len(less))], Unscaled: r.IntN(3) == 0})
	}
	return c
}

// weightOf is the weight of a row's token: as the least weight it keeps just that.
func weightOf(row []float32, id int, inv float32) uint32 {
	largest := row[id]
	for _, x := range row {
		if pick.Key(x) > pick.Key(largest) {
			largest = x
		}
	}
	return pick.Weight(row[id], largest, inv)
}

func TestSample(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	// Two SIMD groups of Metal's, and all it has, take different paths.
	small := target.GPU
	small.MaxThreads = 64
	for _, machine := range []target.Target{target.CPU4, target.CPU8, target.CPU16, small, target.GPU} {
		vocabs, rows := []int{1, 2, 31, 97, 256, 1009, 5003}, program.MaxSampled
		if machine.MaxThreads > 100 { // slow in the interpreter
			vocabs, rows = []int{2, 97, 1009, 5003}, 5
		}
		if testing.Short() {
			vocabs = []int{2, 97, 1009}
		}
		for _, vocab := range vocabs {
			t.Run(fmt.Sprintf("%s of %d, %d tokens", machine.Name, machine.MaxThreads/32+machine.Vector, vocab), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, uint64(vocab+machine.Vector)))
				x, room := &sampleTest{vocab: vocab}, vocab // in the list of changes
				for range rows - rows/2*(vocab/5000) {
					row, choice := randomLogits(r, vocab), randomChoice(r, vocab)
					if choice.Inv > 0 && r.IntN(3) == 0 {
						choice.MinP = weightOf(row, r.IntN(vocab), choice.Inv)
					}
					if r.IntN(2) == 0 {
						choice.Allowed = randomMask(r, vocab)
					}
					if r.IntN(2) == 0 {
						choice.Changes = randomChanges(r, vocab, room)
						room -= len(choice.Changes.Tokens)
					}
					x.add(row, choice)
				}
				x.check(t, machine, program.Decode)
			})
		}
	}
}

// TestSampleParts: rows of many parts, in each of which the ranking may be cut off: with
// one bucket that has nearly all tokens, at ties over all parts, and where parts are
// larger than one run of a SIMD group.
func TestSampleParts(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: large vocabularies take the interpreter seconds")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const vocab = 40013
	tied := func(values ...float32) []float32 {
		row := make([]float32, vocab)
		for i := range row {
			row[i] = values[r.IntN(len(values))]
		}
		return row
	}
	flat := normals(r, vocab)
	for i := range flat {
		flat[i] *= 0.01
	}
	far := tied(0, -30) // half of them have no weight, and are beyond what buckets are of
	far[r.IntN(vocab)] = 3
	x := &sampleTest{vocab: vocab}
	for _, row := range [][]float32{flat, tied(2), tied(1, 1, 2, float32(math.Inf(-1))), tied(0, -17.32, -17.329), far, normals(r, vocab)} {
		for _, c := range []pick.Choice{
			{Inv: 1, TopK: int32(1 + r.IntN(vocab-1)), Random: r.Uint32()},
			{Inv: 1, TopP: uint32(1 + r.Uint64N(1<<32-1)), Random: r.Uint32()},
			{Inv: 0.7, TopK: int32(1 + r.IntN(vocab-1)), TopP: math.MaxUint32, MinP: r.Uint32N(pick.One), Random: math.MaxUint32},
		} {
			x.add(row, c)
		}
	}
	var cases []int
	for i := range x.rows {
		cases = append(cases, i)
	}
	for _, i := range sample.Of(t, cases, 5) {
		one := &sampleTest{vocab: vocab, rows: x.rows[i : i+1], choices: x.choices[i : i+1]}
		one.check(t, target.GPU, program.Decode)
	}
	one := &sampleTest{vocab: mostParts*partTokens + 77}
	row := normals(r, one.vocab)
	one.add(row, pick.Choice{Inv: 1, TopK: int32(1 + r.IntN(one.vocab-1)), TopP: uint32(1 + r.Uint64N(1<<32-1)), Random: r.Uint32()})
	one.check(t, target.GPU, program.Decode)
}

// TestSampleSmallest: what a change leaves below the smallest normal number is 0, on
// either side of the difference.
func TestSampleSmallest(t *testing.T) {
	for _, machine := range targets {
		for _, c := range []pick.Changes{{Positive: 1, Negative: 1}, {Positive: 0.5, Negative: 2}, {Positive: 0x1p-126, Negative: 1}} {
			x := &sampleTest{vocab: 40}
			row := make([]float32, x.vocab)
			for i := range row {
				row[i] = 0x1.8p-126
				less := float32(0x1.8p-126)
				if i > 0 {
					less = 0x1p-126
				}
				c.Tokens = append(c.Tokens, pick.Change{Token: int32(i), Less: less})
			}
			x.add(row, pick.Choice{Changes: &c})
			x.check(t, machine, program.Decode)
		}
	}
}

// TestSampleLeavesRowsAlone: rows that are not sampled keep what is in their place.
func TestSampleLeavesRowsAlone(t *testing.T) {
	for _, machine := range targets {
		x := &sampleTest{vocab: 3}
		for range 3 {
			x.add([]float32{1, 3, 2}, pick.Choice{})
		}
		x.choices[1].Inv = -1
		if got, want := fmt.Sprint(x.run(t, machine, program.Prefill)), fmt.Sprint([]int{1, untouched, 1}); got != want {
			t.Errorf("%s: %s, want %s", machine.Name, got, want)
		}
	}
}

// TestSampleLargeVocabulary: with a vocabulary whose lists do not fit the constant address
// space the text is still what a compiler takes that knows address spaces.
func TestSampleLargeVocabulary(t *testing.T) {
	c, err := standin.Find()
	if err != nil {
		t.Skip(err)
	}
	for vocab, space := range map[int]string{512: "constant", 129280: "device const"} {
		for _, phase := range []program.Phase{program.Decode, program.Prefill} {
			launches, _, err := LowerSample(sampleInput(target.GPU, phase, vocab, 16))
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range launches {
				text, err := msl.Print(l.Kernel)
				if err != nil {
					t.Fatal(err)
				}
				if want := space + " Step &step"; l.Role == "keys" && !strings.Contains(text, want) {
					t.Errorf("%s, %d tokens: no %q", l.Kernel.Name, vocab, want)
				}
				if err := c.Check(l.Kernel.Name+".metal", text); err != nil {
					t.Errorf("%s, %d tokens: %v", l.Kernel.Name, vocab, err)
				}
			}
		}
	}
}

func TestSampleRefuses(t *testing.T) {
	named := sampleInput(target.GPU, program.Decode, 5, 1)
	named.Module.Symbols = append(named.Module.Symbols, ir.Symbol{Name: program.DrawnRows, Def: ir.Rows})
	if _, _, err := LowerSample(named); err == nil {
		t.Error("a symbol with the name of sampling's own was accepted")
	}
	if _, _, err := LowerSample(sampleInput(target.GPU, program.Decode, maxVocabulary+1, 1)); err == nil {
		t.Error("a vocabulary that sums overflow with was accepted")
	}
	in := sampleInput(target.GPU, program.Decode, 5, 1)
	in.Module.Symbols[0].Def = ir.Rows
	if _, _, err := LowerSample(in); err == nil {
		t.Error("a module without logits of wanted rows was accepted")
	}
}

// TestSampleWeights: weights are those of package pick, bit by bit.
func TestSampleWeights(t *testing.T) {
	t.Parallel()
	const n = 4096
	r := rand.New(rand.NewPCG(12, 0))
	inf := float32(math.Inf(1))
	for _, c := range []struct{ largest, inv, spread float32 }{
		{3, 1, 5}, {-700.5, 0.3, 40}, {0, 1.7, 8}, {inf, 1, 9}, {-inf, 1, 9}, {3e38, 0x1p-126, 3e38},
		{0x1p-125, math.MaxFloat32, 0x1p-126}, {math.SmallestNonzeroFloat32, 0x1p126, 0x1p-125}, {1, 0x1p100, 1e-7},
	} {
		logits := []float32{c.largest, -inf, 0, math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 0x1p-126, -math.MaxFloat32}
		for len(logits) < n {
			logits = append(logits, min(c.largest, c.largest-c.spread*float32(r.ExpFloat64())))
		}
		for i, x := range logits {
			logits[i] = min(x, c.largest)
		}
		for _, machine := range targets {
			in := sampleInput(machine, program.Decode, n, 1)
			from, to := in.Module.Results[0], testValue(2, ir.I32, n)
			in.Region = &ir.Region{Name: "weights"}
			s := in.sampler("", kernel.Schedule{Threads: 32}, n, "")
			x, y := s.activation("logits", from, kernel.Read), s.activation("weights", to, kernel.Write)
			s.of(kernel.Group(0))
			s.setBest(s.orderKey(s.Let("first", x.At(i32(0)))))
			s.For("i", kernel.Thread(), i32(n), i32(32), func(i *kernel.Expr) {
				key := s.Let("key", s.orderKey(s.Let("logit", x.At(i))))
				y.Set(i, s.weight(key, s.octaves(s.logitOf(key))).As(kernel.I32))
			})
			launch, err := s.launch("", ir.Const(1))
			if err != nil {
				t.Fatal(err)
			}
			mem := newMemory(in, nil)
			mem.native, mem.wanted, mem.choices = true, []int32{0}, []pick.Choice{{Inv: c.inv}}
			mem.values[from], mem.values[to] = floatBytes(logits), make([]byte, 4*n)
			mem.run(t, []program.Launch{launch})
			for i, got := range ints(mem.values[to]) {
				if want := pick.Weight(logits[i], c.largest, c.inv); uint32(got) != want {
					t.Fatalf("%s: weight of %g below %g, inverse %g: %d, want %d", machine.Name, logits[i], c.largest, c.inv, got, want)
				}
			}
		}
	}
}
