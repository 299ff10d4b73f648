package sampling

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"smelt.example/smelt/internal/pick"
)

var (
	nan    = float32(math.NaN())
	inf    = float32(math.Inf(1))
	negInf = float32(math.Inf(-1))
)

// naiveKept returns the ids that survive all filters and the share of each in
// what is left, computed the long way: sort, softmax, cut, renormalise, cut.
func naiveKept(logits []float32, p Params) map[int32]float64 {
	type token struct {
		id   int32
		prob float64
	}
	var list []token
	for id, x := range logits {
		if !math.IsNaN(float64(x)) {
			list = append(list, token{int32(id), float64(x)})
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].prob > list[j].prob })
	if p.TopK > 0 && p.TopK < len(list) {
		list = list[:p.TopK]
	}
	best, total := list[0].prob, 0.0
	for i := range list {
		if list[i].prob == best {
			list[i].prob = 1
		} else {
			list[i].prob = math.Exp(list[i].prob/p.Temperature - best/p.Temperature)
		}
		total += list[i].prob
	}
	for i := range list {
		list[i].prob /= total
	}
	if p.TopP < 1 {
		reached := 0.0
		for i := range list {
			if reached += list[i].prob; reached >= p.TopP {
				list = list[:i+1]
				break
			}
		}
	}
	kept, sum := map[int32]float64{}, 0.0
	for _, t := range list {
		if t.prob >= p.MinP*list[0].prob && t.prob > 0 {
			kept[t.id] = t.prob
			sum += t.prob
		}
	}
	for id := range kept {
		kept[id] /= sum
	}
	return kept
}

// naivePick is Pick the long way: sort, weigh, cut, walk, with big integers.
func naivePick(logits []float32, c Choice) int32 {
	type token struct {
		id     int32
		logit  float32
		weight *big.Int
	}
	var list []token
	for id, x := range logits {
		if x == x {
			list = append(list, token{int32(id), x, nil})
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].logit > list[j].logit })
	if c.TopK > 0 && int(c.TopK) < len(list) {
		list = list[:c.TopK]
	}
	best, total := list[0].logit, new(big.Int)
	for i := range list {
		list[i].weight = big.NewInt(int64(pick.Weight(list[i].logit, best, c.Inv)))
		total.Add(total, list[i].weight)
	}
	share := func(total *big.Int, of uint32) *big.Int {
		p := new(big.Int).Mul(total, big.NewInt(int64(of)))
		return p.Rsh(p, 32)
	}
	if c.TopP > 0 {
		target, sum := share(total, c.TopP), new(big.Int)
		for i := range list {
			if sum.Add(sum, list[i].weight).Cmp(target) >= 0 {
				list = list[:i+1]
				break
			}
		}
	}
	total.SetInt64(0)
	var kept []token
	for _, t := range list {
		if t.weight.Cmp(big.NewInt(int64(c.MinP))) >= 0 {
			kept = append(kept, t)
			total.Add(total, t.weight)
		}
	}
	sort.Slice(kept, func(i, j int) bool { return kept[i].id < kept[j].id })
	target, sum := share(total, c.Random), new(big.Int)
	for _, t := range kept {
		if sum.Add(sum, t.weight).Cmp(target) > 0 {
			return t.id
		}
	}
	return -1
}

// randomRow makes logits with ties, infinities and NaN among them.
func randomRow(rng *rand.Rand) []float32 {
	row := make([]float32, 1+rng.IntN(80))
	for i := range row {
		row[i] = float32(rng.NormFloat64() * 3)
		switch rng.IntN(12) {
		case 0:
			row[i] = float32(rng.IntN(3))
		case 1:
			row[i] = float32(math.Copysign(0, -1))
		case 2:
			row[i] = negInf
		case 3:
			row[i] = nan
		}
	}
	row[rng.IntN(len(row))] = float32(rng.NormFloat64())
	return row
}

func randomParams(rng *rand.Rand) Params {
	p := Params{Temperature: 0.2 + 2*rng.Float64(), TopP: 1, Seed: rng.Uint64()}
	if rng.IntN(2) == 0 {
		p.TopK = rng.IntN(90)
	}
	if rng.IntN(2) == 0 {
		p.TopP = 0.01 + 0.98*rng.Float64()
	}
	if rng.IntN(2) == 0 {
		p.MinP = rng.Float64()
	}
	return p
}

func TestSampleMatchesNaive(t *testing.T) {
	const seed = 20260101
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var scratch Scratch
	for round := range 3000 {
		row, p := randomRow(rng), randomParams(rng)
		for position := range uint64(8) {
			got, err := Sample(row, p, uint64(round), position, &scratch)
			if err != nil {
				t.Fatal(err)
			}
			if want := naivePick(row, p.Choice(uint64(round), position)); got != want {
				t.Fatalf("round %d position %d: got %d, want %d\n%+v\n%v", round, position, got, want, p, row)
			}
		}
	}
}

// TestSampleDistribution compares counts with exact probabilities. Each case
// varies one part of the key, so none may be ignored or correlate.
func TestSampleDistribution(t *testing.T) {
	logits := []float32{1, -0.5, 2, 0, 0, -3, 1.5, nan, 0.25, negInf}
	const draws = 40000
	// The 0.1 % points of chi-square for 1 to 7 degrees of freedom.
	critical := []float64{0, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32}
	for _, c := range []struct {
		name   string
		params Params
	}{
		{"plain", Params{Temperature: 1, TopP: 1, Seed: 1}},
		{"hot", Params{Temperature: 2.5, TopP: 1, Seed: 2}},
		{"cold", Params{Temperature: 0.6, TopP: 1, Seed: 3}},
		{"top-k 4", Params{Temperature: 1, TopP: 1, TopK: 4, Seed: 4}},
		{"top-p 0.8", Params{Temperature: 1, TopP: 0.8, Seed: 5}},
		{"min-p 0.2", Params{Temperature: 1, TopP: 1, MinP: 0.2, Seed: 6}},
		{"all", Params{Temperature: 1.3, TopK: 6, TopP: 0.9, MinP: 0.15, Seed: 7}},
	} {
		for vary, key := range map[string]func(i uint64) (seed, slot, position uint64){
			"position": func(i uint64) (uint64, uint64, uint64) { return c.params.Seed, 3, i },
			"slot":     func(i uint64) (uint64, uint64, uint64) { return c.params.Seed, i, 5 },
			"seed":     func(i uint64) (uint64, uint64, uint64) { return i, 3, 5 },
		} {
			t.Run(c.name+"/"+vary, func(t *testing.T) {
				counts, scratch := map[int32]float64{}, &Scratch{}
				for i := range uint64(draws) {
					p := c.params
					seed, slot, position := key(i)
					p.Seed = seed
					id, err := Sample(logits, p, slot, position, scratch)
					if err != nil {
						t.Fatal(err)
					}
					counts[id]++
				}
				exact, chi := naiveKept(logits, c.params), 0.0
				for id, prob := range exact {
					expected := prob * draws
					chi += (counts[id] - expected) * (counts[id] - expected) / expected
					delete(counts, id)
				}
				if len(counts) > 0 {
					t.Errorf("drawn although filtered out: %v", counts)
				}
				if limit := critical[len(exact)-1]; chi > limit {
					t.Errorf("chi-square %.2f over %.2f for %d outcomes", chi, limit, len(exact))
				}
			})
		}
	}
}

func TestSampleGreedy(t *testing.T) {
	for _, c := range []struct {
		name   string
		logits []float32
		want   int32
	}{
		{"largest", []float32{1, 3, 2}, 1},
		{"tie to the lower id", []float32{1, 3, 3, 2}, 1},
		{"signed zeros tie", []float32{float32(math.Copysign(0, -1)), 0, -1}, 0},
		{"NaN last", []float32{nan, -5, nan}, 1},
		{"infinity", []float32{7, inf, inf}, 1},
		{"all minus infinity", []float32{nan, negInf, negInf}, 1},
		{"single", []float32{-2}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			topOne := Params{Temperature: 1.7, TopK: 1, TopP: 1, Seed: 9}
			tinyTopP := Params{Temperature: 1.7, TopP: 1e-300, Seed: 9}
			for _, p := range []Params{Greedy(), topOne, tinyTopP} {
				for position := range uint64(20) {
					if got, err := Sample(c.logits, p, 0, position, nil); err != nil || got != c.want {
						t.Errorf("%+v: got %d, %v, want %d", p, got, err, c.want)
					}
				}
			}
		})
	}
}

// TestSampleSets checks which ids can come out at all.
func TestSampleSets(t *testing.T) {
	for _, c := range []struct {
		name   string
		logits []float32
		params Params
		want   []int32
	}{
		{"infinities share", []float32{inf, 50, inf, nan}, Params{Temperature: 1, TopP: 1}, []int32{0, 2}},
		{"minus infinities share", []float32{negInf, nan, negInf}, Params{Temperature: 1, TopP: 1}, []int32{0, 2}},
		{"top-k cuts a tie by id", []float32{1, 2, 2, 2}, Params{Temperature: 1, TopK: 2, TopP: 1}, []int32{1, 2}},
		{"top-p cuts a tie by id", []float32{0, 0, 0, 0}, Params{Temperature: 1, TopP: 0.5}, []int32{0, 1}},
		{"top-p takes the one that reaches it", []float32{0, 0, 0, 0}, Params{Temperature: 1, TopP: 0.51}, []int32{0, 1, 2}},
		{"top-p counts after top-k", []float32{0, 0, 0, 0, 0, 0}, Params{Temperature: 1, TopK: 2, TopP: 0.6}, []int32{0, 1}},
		{"min-p 1 keeps ties of the best", []float32{3, 1, 3}, Params{Temperature: 1, TopP: 1, MinP: 1}, []int32{0, 2}},
		{"min-p counts after temperature", []float32{0, -1}, Params{Temperature: 10, TopP: 1, MinP: 0.9}, []int32{0, 1}},
		{"min-p cuts", []float32{0, -1}, Params{Temperature: 1, TopP: 1, MinP: 0.9}, []int32{0}},
		{"top-k beyond the vocabulary", []float32{0, 0, nan}, Params{Temperature: 1, TopK: 99, TopP: 1}, []int32{0, 1}},
		{"smallest temperature", []float32{0, -1, 0}, Params{Temperature: math.SmallestNonzeroFloat64, TopP: 1}, []int32{0, 2}},
		{"largest temperature", []float32{-1e38, 1e38}, Params{Temperature: math.MaxFloat64, TopP: 1}, []int32{0, 1}},
		{"a difference beyond float32 is infinite", []float32{-3e38, 3e38}, Params{Temperature: math.MaxFloat64, TopP: 1}, []int32{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := map[int32]bool{}
			for position := range uint64(400) {
				id, err := Sample(c.logits, c.params, 1, position, nil)
				if err != nil {
					t.Fatal(err)
				}
				seen[id] = true
			}
			var ids []int32
			for id := range seen {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			if !slices.Equal(ids, c.want) {
				t.Errorf("got %v, want %v", ids, c.want)
			}
		})
	}
}

// TestFiltersOnlyNarrow checks that a stricter filter never adds a token.
func TestFiltersOnlyNarrow(t *testing.T) {
	const seed = 77
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	possible := func(row []float32, p Params) map[int32]bool {
		ids := map[int32]bool{}
		for position := range uint64(200) {
			id, err := Sample(row, p, 0, position, nil)
			if err != nil {
				t.Fatal(err)
			}
			ids[id] = true
		}
		return ids
	}
	for range 200 {
		row, p := randomRow(rng), randomParams(rng)
		strict := p
		strict.TopK, strict.TopP, strict.MinP = max(1, p.TopK/2), p.TopP*rng.Float64(), p.MinP+(1-p.MinP)*rng.Float64()
		if strict.TopP == 0 {
			continue
		}
		allowed := naiveKept(row, p)
		for id := range possible(row, strict) {
			if _, ok := allowed[id]; !ok {
				t.Fatalf("%d passes %+v but not %+v in %v", id, strict, p, row)
			}
		}
	}
}

// TestSampleIsPinned fails if the random layout or the arithmetic changes: texts
// made with a seed must stay reproducible.
func TestSampleIsPinned(t *testing.T) {
	logits := make([]float32, 1000)
	for i := range logits {
		logits[i] = float32(i%37)/8 - float32(i%11)/4
	}
	p := Params{Temperature: 0.8, TopK: 200, TopP: 0.95, MinP: 0.01, Seed: 42}
	var got []int32
	for position := range uint64(12) {
		id, err := Sample(logits, p, 2, position, nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, id)
	}
	want := []int32{397, 553, 737, 66, 70, 619, 441, 331, 396, 289, 145, 221}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestZeroParams: the zero value takes the largest logit, and a TopP of 0 keeps
// what 1 keeps.
func TestZeroParams(t *testing.T) {
	if id, err := Sample([]float32{1, 3, 2}, Params{}, 0, 0, nil); err != nil || id != 1 {
		t.Errorf("got %d, %v", id, err)
	}
	for position := range uint64(20) {
		with, without := Params{Temperature: 1.5, TopP: 1, Seed: 4}, Params{Temperature: 1.5, Seed: 4}
		if a, b := with.Choice(1, position), without.Choice(1, position); a != b {
			t.Errorf("position %d: %+v and %+v", position, a, b)
		}
	}
}

func TestSampleErrors(t *testing.T) {
	for _, row := range [][]float32{nil, {}, {nan}, {nan, nan, nan}} {
		for _, temperature := range []float64{0, 1} {
			if _, err := Sample(row, Params{Temperature: temperature, TopP: 1}, 0, 0, nil); !errors.Is(err, ErrNoLogits) {
				t.Errorf("%v at %v: got %v", row, temperature, err)
			}
		}
	}
	tooMany := map[int32]float64{}
	for id := range int32(1025) {
		tooMany[id] = 1
	}
	for field, list := range map[string][]Params{
		"Temperature": {{Temperature: -1, TopP: 1}, {Temperature: math.NaN(), TopP: 1}, {Temperature: math.Inf(1), TopP: 1}},
		"TopK":        {{TopK: -1, TopP: 1}},
		"TopP":        {{TopP: 1.5}, {TopP: -0.1}, {TopP: math.NaN()}},
		"Bias":        {{Bias: map[int32]float64{0: 101}}, {Bias: map[int32]float64{0: math.NaN()}}, {Bias: map[int32]float64{-1: 1}}, {Bias: tooMany}},
		"MinP":        {{TopP: 1, MinP: -0.1}, {TopP: 1, MinP: 1.1}, {TopP: 1, MinP: math.NaN()}},
	} {
		for _, p := range list {
			_, err := Sample([]float32{1}, p, 0, 0, nil)
			if err == nil || !strings.HasPrefix(err.Error(), field+": found ") {
				t.Errorf("%+v: got %v, want %s named", p, err, field)
			}
		}
	}
}

// TestBias: sampling with biases is sampling from logits that they were added to, and a
// token that the row does not have is refused.
func TestBias(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		p := Params{Temperature: float64(r.IntN(2)), TopK: r.IntN(9), MinP: 0.3 * r.Float64(), Seed: r.Uint64(), Bias: map[int32]float64{}}
		row := make([]float32, 1+r.IntN(40))
		for i := range row {
			row[i] = float32(r.NormFloat64() * 4)
		}
		biased := slices.Clone(row)
		for range r.IntN(6) {
			id, bias := int32(r.IntN(len(row))), float64(float32(20*r.Float64()-10))
			p.Bias[id], biased[id] = bias, row[id]+float32(bias)
		}
		plain := p
		plain.Bias = nil
		got, err := Sample(row, p, 0, 1, nil)
		if want, werr := Sample(biased, plain, 0, 1, nil); got != want || err != nil || werr != nil {
			t.Fatalf("%v with %+v: token %d, %v; expected %d, %v", row, p, got, err, want, werr)
		}
	}
	if _, err := Sample([]float32{1, 2}, Params{Bias: map[int32]float64{2: 1}}, 0, 0, nil); err == nil || !strings.Contains(err.Error(), "token 2") {
		t.Errorf("a bias of no token: %v", err)
	}
}

func bigRow(n int) []float32 {
	rng := rand.New(rand.NewPCG(5, 0))
	row := make([]float32, n)
	for i := range row {
		row[i] = float32(rng.NormFloat64() * 4)
	}
	return row
}

func TestSampleDoesNotAllocate(t *testing.T) {
	row, scratch := bigRow(4096), &Scratch{}
	for _, p := range []Params{Greedy(), {Temperature: 1, TopP: 1}, {Temperature: 1, TopK: 40, TopP: 0.9, MinP: 0.05}, {Temperature: 1, TopP: 0.9}} {
		position := uint64(0)
		allocs := testing.AllocsPerRun(20, func() {
			position++
			if _, err := Sample(row, p, 0, position, scratch); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%+v: %v allocations a call", p, allocs)
		}
	}
}

func BenchmarkSample(b *testing.B) {
	row, scratch := bigRow(129280), &Scratch{}
	for _, c := range []struct {
		name   string
		params Params
	}{
		{"greedy", Greedy()},
		{"plain", Params{Temperature: 1, TopP: 1}},
		{"top-k", Params{Temperature: 1, TopK: 40, TopP: 1}},
		{"top-k and top-p", Params{Temperature: 1, TopK: 40, TopP: 0.95}},
		{"top-p", Params{Temperature: 1, TopP: 0.95}},
		{"top-p, flat row", Params{Temperature: 1e6, TopP: 0.9999}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(row)) * 4)
			for i := range b.N {
				if _, err := Sample(row, c.params, 0, uint64(i), scratch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleSample() {
	id, err := Sample([]float32{0.1, 2.5, -1}, Greedy(), 0, 0, nil)
	fmt.Println(id, err)
	// Output: 1 <nil>
}
