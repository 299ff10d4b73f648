package pick

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	inf    = float32(math.Inf(1))
	negInf = float32(math.Inf(-1))
	nan    = float32(math.NaN())
)

// TestWeighBound checks the documented error: against the exponential of the
// float32 quotient, and of the exact one.
func TestWeighBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	ofQuotient, ofExact := 0.0, 0.0
	for range 2_000_000 {
		largest := float32(rng.NormFloat64() * 10)
		logit := largest - float32(math.Exp(8*rng.Float64()-5))
		temperature := math.Exp(3 * rng.NormFloat64())
		inv := Inverse(temperature)
		w := float64(Weight(logit, largest, inv)) / One
		ofQuotient = max(ofQuotient, math.Abs(w-math.Exp(float64((logit-largest)*inv))))
		ofExact = max(ofExact, math.Abs(w-math.Exp((float64(logit)-float64(largest))/temperature)))
	}
	t.Logf("errors of 2^%.2f and 2^%.2f", math.Log2(ofQuotient), math.Log2(ofExact))
	if ofQuotient >= 0x1p-24 || ofExact >= 0x1p-22 {
		t.Errorf("errors of 2^%.2f and 2^%.2f, expected below 2^-24 and 2^-22", math.Log2(ofQuotient), math.Log2(ofExact))
	}
}

// TestDistributionIsSoftmax: probabilities differ from those of float64 by no
// more than the weights' bound allows, over vocabularies of any size.
func TestDistributionIsSoftmax(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 0))
	for range 300 {
		row := make([]float32, 1+rng.IntN(3000))
		for i := range row {
			row[i] = float32(rng.NormFloat64() * 5)
		}
		temperature := 0.1 + 2*rng.Float64()
		largest, inv := slices.Max(row), Inverse(temperature)
		total, exact := 0.0, 0.0
		for _, x := range row {
			total += float64(Weight(x, largest, inv)) / One
			exact += math.Exp(float64(x-largest) / temperature)
		}
		for _, x := range row {
			got := float64(Weight(x, largest, inv)) / One / total
			want := math.Exp((float64(x)-float64(largest))/temperature) / exact
			// A weight is off by 2^-22, the total by that for every token.
			if limit := (1 + want*float64(len(row))) * 0x1p-22 / total; math.Abs(got-want) > limit {
				t.Fatalf("probability %g, expected %g within %g", got, want, limit)
			}
		}
	}
}

// TestWeighFalls: a lower logit never weighs more, and the edges are what the
// filters rely on.
func TestWeighFalls(t *testing.T) {
	for _, inv := range []float32{1, 0.3, 7, 0x1p-126, math.MaxFloat32} {
		before := uint32(One)
		for x := float32(0); x > -30; x -= 0.001 {
			w := Weight(x, 0, inv)
			if w > before {
				t.Fatalf("inverse %g: %d at %g, %d just above", inv, w, x, before)
			}
			before = w
		}
	}
	smallest := math.Float32frombits(1)
	for _, c := range []struct {
		logit, largest, inv float32
		want                uint32
	}{
		{0, 0, 1, One}, {float32(math.Copysign(0, -1)), 0, 1, One},
		{inf, inf, 1, One}, {negInf, negInf, 1, One}, {3, inf, 1, 0}, {negInf, 3, 1, 0},
		{negInf, 3, 0x1p-126, 0}, {-3e38, 3e38, 0x1p-126, 0},
		{0, float32(math.Nextafter32(17.5, 0)), 1, 0},
		{-17, 0, 1, 1}, {-1000, 0, 1, 0}, {-math.Ln2, 0, 1, One / 2},
		// Subnormal numbers count as 0, whatever they are scaled by.
		{0, smallest, math.MaxFloat32, One}, {0x1p-126, 0x1.8p-126, math.MaxFloat32, One},
	} {
		if got := Weight(c.logit, c.largest, c.inv); got != c.want {
			t.Errorf("weight of %g below %g, inverse %g: %d, expected %d", c.logit, c.largest, c.inv, got, c.want)
		}
	}
}

// TestKey: keys order as logits do.
func TestKey(t *testing.T) {
	order := []float32{nan, negInf, -math.MaxFloat32, -1, -math.SmallestNonzeroFloat32, 0, math.SmallestNonzeroFloat32, 1, math.MaxFloat32, inf}
	for i := range order[1:] {
		if Key(order[i]) >= Key(order[i+1]) {
			t.Errorf("%g has no lower key than %g", order[i], order[i+1])
		}
	}
	if Key(nan) != 0 || Key(-nan) != 0 || Key(float32(math.Copysign(0, -1))) != Key(0) {
		t.Error("NaN is not 0, or the zeros differ")
	}
}
