package pick

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveLogit is Changes.Logit the long way, with numbers of any precision that are
// rounded to float32 after each operation.
func naiveLogit(c *Changes, logit float32, change Change) float32 {
	flush := func(x float32) float32 {
		if math.Abs(float64(x)) < 0x1p-126 {
			return 0
		}
		return x
	}
	if x := float64(logit); math.IsNaN(x) || math.IsInf(x, 0) {
		return logit // factors are above 0, and what is taken away is finite
	}
	factor := c.Negative
	if logit = flush(logit); logit > 0 {
		factor = c.Positive
	}
	if change.Unscaled {
		factor = 1
	}
	round := func(x *big.Float) float32 {
		v, _ := x.Float32()
		return flush(v)
	}
	exact := new(big.Float).SetPrec(2000)
	scaled := round(exact.Mul(exact.SetFloat64(float64(logit)), new(big.Float).SetFloat64(float64(factor))))
	if math.IsInf(float64(scaled), 0) {
		return scaled
	}
	exact = new(big.Float).SetPrec(2000)
	return round(exact.Sub(exact.SetFloat64(float64(scaled)), new(big.Float).SetFloat64(float64(change.Less))))
}

// TestChoiceNaive compares masks and changes with rows from which the tokens that may
// not be picked are taken out, and in which logits are changed before.
func TestChoiceNaive(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	oneOf := func(of ...float32) float32 { return of[r.IntN(len(of))] }
	for range 4000 {
		n := 1 + r.IntN(150)
		row, changed := make([]float32, n), make([]float32, n)
		for i := range row {
			row[i] = oneOf(float32(r.NormFloat64()*5), float32(r.NormFloat64()*5), 0, float32(math.Copysign(0, -1)), 2, -2, nan, negInf, 1e-39, 0x1.8p-126, math.MaxFloat32)
		}
		c := Choice{Inv: oneOf(0, 1, 0.5, 3), TopK: int32(r.IntN(n + 2)), TopP: uint32(oneOf(0, 1<<31, 1<<20)), MinP: uint32(oneOf(0, 1<<20)), Random: r.Uint32()}
		if r.IntN(3) > 0 {
			c.Allowed = NewMask(n)
			for id := range int32(n) {
				if r.IntN(3) > 0 {
					c.Allowed.Allow(id)
				}
			}
		}
		copy(changed, row)
		if r.IntN(3) > 0 {
			c.Changes = &Changes{Positive: oneOf(1, 0.7, 2, 1e-6), Negative: oneOf(1, 0.7, 2, 1e6)}
			for id := range n {
				if r.IntN(2) == 0 {
					less := oneOf(0, 1, -1, float32(r.NormFloat64()), 0x1p-126, 0x1.8p-126)
					change := Change{int32(id), less, r.IntN(3) == 0}
					c.Changes.Tokens = append(c.Changes.Tokens, change)
					changed[id] = naiveLogit(c.Changes, row[id], change)
				}
			}
		}
		var left []float32
		var ids []int32
		for id, x := range changed {
			if c.Allowed == nil || c.Allowed.Allows(int32(id)) {
				left, ids = append(left, x), append(ids, int32(id))
			}
		}
		plain := c
		plain.Allowed, plain.Changes = nil, nil
		want := int32(-1)
		if i, err := plain.Pick(left, nil); err == nil {
			want = ids[i]
		}
		got, err := c.Pick(row, nil)
		if errors.Is(err, ErrNoLogits) {
			got, err = -1, nil
		}
		if got != want || err != nil {
			t.Fatalf("%+v of %v: %d, want %d, %v", c, row, got, want, err)
		}
	}
}

// TestChoiceRefuses what is for another vocabulary.
func TestChoiceRefuses(t *testing.T) {
	change := func(tokens ...int32) *Changes {
		c := &Changes{Positive: 1, Negative: 1}
		for _, id := range tokens {
			c.Tokens = append(c.Tokens, Change{Token: id})
		}
		return c
	}
	for _, c := range []Choice{
		{Allowed: NewMask(4)}, {Allowed: NewMaskOfAll(6)}, {Changes: change(5)}, {Changes: change(-1)}, {Changes: change(2, 2)}, {Changes: change(3, 1)},
	} {
		if _, err := c.Pick(make([]float32, 5), nil); err == nil || errors.Is(err, ErrNoLogits) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if got, err := (Choice{Allowed: NewMaskOfAll(5), Changes: change(0, 4)}).Pick(make([]float32, 5), nil); got != 0 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
}

// TestPenalties: the formulas, and what is off. The prompt is token 3, the text has
// token 4 once and token 5 three times.
func TestPenalties(t *testing.T) {
	for _, p := range []Penalties{{}, {Repetition: 1}, {Bias: map[int32]float64{}}} {
		if p.Changes([]int32{3}) != nil {
			t.Errorf("%+v is not off", p)
		}
	}
	bias := map[int32]float64{3: 1.5, 5: -100, 2: 0.25, 9: 1e-300}
	for _, c := range []struct {
		p                   Penalties
		positive, negative  float32
		repeats             bool
		never, once, thrice float32
		tokens              []Change
	}{
		{Penalties{Repetition: 2}, 0.5, 2, true, 0, 0, 0, []Change{{Token: 3}}},
		{Penalties{Repetition: 0.5}, 2, 0.5, true, 0, 0, 0, []Change{{Token: 3}}},
		{Penalties{Repetition: 1, Presence: 1.5}, 1, 1, false, 0, 1.5, 1.5, nil},
		{Penalties{Frequency: 0.25}, 1, 1, false, 0, 0.25, 0.75, nil},
		{Penalties{Repetition: 4, Presence: -2, Frequency: 2}, 0.25, 4, true, 0, 0, 4, []Change{{Token: 3}}},
		{Penalties{Presence: 1e-300}, 1, 1, false, 0, 0, 0, nil},
		{Penalties{Repetition: 1e-300}, math.MaxFloat32, 0x1p-126, true, 0, 0, 0, []Change{{Token: 3}}},
		{Penalties{Bias: bias}, 1, 1, false, -1.5, 0, 100, []Change{{2, -0.25, true}, {3, -1.5, true}, {5, 100, true}, {9, 0, true}}},
		{Penalties{Repetition: 2, Presence: 1, Frequency: 0.5, Bias: bias}, 0.5, 2, true, -1.5, 1.5, 102.5, []Change{{2, -0.25, true}, {3, -1.5, false}, {5, 100, true}, {9, 0, true}}},
	} {
		x := c.p.Changes([]int32{3, 3})
		if x == nil || x.Positive != c.positive || x.Negative != c.negative || !slices.Equal(x.Tokens, c.tokens) || c.p.Repeats() != c.repeats {
			t.Errorf("%+v: %+v", c.p, x)
		}
		if never, once, thrice := c.p.Less(3, 0), c.p.Less(4, 1), c.p.Less(5, 3); never != c.never || once != c.once || thrice != c.thrice {
			t.Errorf("%+v: %g, %g, %g", c.p, never, once, thrice)
		}
	}
}
