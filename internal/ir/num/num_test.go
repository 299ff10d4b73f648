package num

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/fmacheck"
)

func TestNothingFused(t *testing.T) { fmacheck.Check(t, "smelt.example/smelt/internal/ir/num") }

func sinOf(x float64) float64 { s, _ := SinCos(x); return s }
func cosOf(x float64) float64 { _, c := SinCos(x); return c }

// function is one of the package's with its reference and the error its doc comment promises.
type function struct {
	name  string
	f     func(float64) float64
	ref   func(x float64) *big.Float
	bound float64
	lo    float64 // random arguments, besides all magnitudes: lo to hi
	hi    float64
}

var functions = []function{
	{"Exp", Exp, func(x float64) *big.Float { return bigExp(bigF(x)) }, 0.51, -708, 709.7},
	{"Exp subnormal", Exp, func(x float64) *big.Float { return bigExp(bigF(x)) }, 1, -745.1, -708},
	{"Exp near 0", Exp, func(x float64) *big.Float { return bigExp(bigF(x)) }, 0.51, -0.01, 0.01},
	{"Log", Log, func(x float64) *big.Float { return bigLog(bigF(x)) }, 0.52, 0.1, 20},
	{"Log near 1", Log, func(x float64) *big.Float { return bigLog(bigF(x)) }, 0.52, 0.98, 1.02},
	{"Log1p", Log1p, func(x float64) *big.Float { return bigLog1p(bigF(x)) }, 0.52, -0.999, 3},
	{"Log1p near 0", Log1p, func(x float64) *big.Float { return bigLog1p(bigF(x)) }, 0.52, -0x1p-12, 0x1p-12},
	{"Sin", sinOf, func(x float64) *big.Float { s, _ := bigSinCos(x); return s }, 0.6, -1 << 24, 1 << 24},
	{"Sin small", sinOf, func(x float64) *big.Float { s, _ := bigSinCos(x); return s }, 0.6, -1, 1},
	{"Cos", cosOf, func(x float64) *big.Float { _, c := bigSinCos(x); return c }, 0.6, -1 << 24, 1 << 24},
	{"Cos small", cosOf, func(x float64) *big.Float { _, c := bigSinCos(x); return c }, 0.6, -1, 1},
	{"Sigmoid", Sigmoid, func(x float64) *big.Float { return bigSigmoid(bigF(x)) }, 3.1, -40, 40},
	{"Softplus", Softplus, func(x float64) *big.Float { return bigLog1p(bigExp(bigF(x))) }, 3.1, -40, 40},
	{"Silu", Silu, func(x float64) *big.Float { return bigN().Mul(bigF(x), bigSigmoid(bigF(x))) }, 4.1, -40, 40},
	{"Silu far below", Silu, func(x float64) *big.Float { return bigN().Mul(bigF(x), bigSigmoid(bigF(x))) }, 4.1, -760, -690},
}

// arguments gives n random arguments of the function's range, and as many of all magnitudes within
// what the function takes (want reports that) with both signs.
func arguments(rng *rand.Rand, f function, n int, want func(float64) bool) []float64 {
	var xs []float64
	for range n {
		xs = append(xs, f.lo+float64(rng.Float64()*(f.hi-f.lo)))
		x := math.Float64frombits(rng.Uint64())
		if want(x) {
			xs = append(xs, x)
		}
	}
	return xs
}

// domain reports where the reference is meant to be computed: finite, not 0 (see TestSpecial), and
// where the result neither overflows nor vanishes.
func (f function) domain(x float64) bool {
	if x == 0 || math.Abs(x) > math.MaxFloat64 || x != x {
		return false
	}
	switch f.name[:3] {
	case "Exp":
		return x < 709.78 && (x > -708.39 || f.name == "Exp subnormal" && x > -745)
	case "Log":
		return x > 0 || strings.HasPrefix(f.name, "Log1p") && x > -1
	case "Sig", "Sof":
		return x > -745 && x < 1e5
	case "Sil":
		return x > -751 && x < 1e5
	}
	return true
}

func TestAccuracy(t *testing.T) {
	n := 4000
	if testing.Short() {
		n = 1000
	}
	for _, f := range functions {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, uint64(len(f.name))))
			worst, at := 0.0, 0.0
			for _, x := range append(arguments(rng, f, n, f.domain), edges(f)...) {
				if e := ulps(f.f(x), f.ref(x)); e > worst {
					worst, at = e, x
				}
			}
			t.Logf("worst error %.4f ulp, at %x", worst, at)
			if worst > f.bound {
				t.Errorf("%.4f ulp at %x (%v): %x, want %s", worst, at, at, f.f(at), f.ref(at).Text('p', 0))
			}
		})
	}
}

// edges are arguments at which something changes: table intervals, switches between formulas, the
// ends of the range, near multiples of pi/2, and the smallest and largest numbers.
func edges(f function) []float64 {
	xs := []float64{0x1p-1074, 0x1p-1060, 0x1p-1022, 0x1p-54, 0x1p-53, 0x1p-27, 0x1p-13, 0x1p-8, 0x1p-7, 0.5, 0.6875, 1, 1.375, 2, 37, 700, 708.4,
		709, 709.78, 744, 745, 0x1p24, 0x1p53, 0x1p62, 0x1p120, 0x1p1000, math.MaxFloat64,
		0x1.6ac5b262ca1ffp849 /* the float64 nearest to a multiple of pi/2 */}
	for i := 1; i < 40; i++ {
		xs = append(xs, float64(i)*math.Ln2/256, float64(i)*math.Pi/4, math.Ldexp(math.Pi/2, i), float64(i*i*i*17)*(math.Pi/2))
		xs = append(xs, float64(64+i)/128, float64(128+i)/128)
	}
	for _, m := range []float64{5, 22, 333, 355, 103993, 104348, 208341, 312689, 833719, 1146408, 4272943, 5419351} { // numerators of pi's convergents
		xs = append(xs, m, 3*m)
	}
	var out []float64
	for _, x := range xs {
		for _, v := range []float64{x, math.Nextafter(x, 0), math.Nextafter(x, math.Inf(1))} {
			for _, v := range []float64{v, -v} {
				if f.domain(v) {
					out = append(out, v)
				}
			}
		}
	}
	return out
}

// TestLogParts holds the two parts to what logParts promises, which Pow relies on.
func TestLogParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 11))
	for _, f := range functions[3:5] {
		for _, x := range append(arguments(rng, f, 2000, f.domain), edges(f)...) {
			hi, lo := logParts(x)
			want := bigLog(bigF(x))
			d, _ := bigN().Sub(bigN().Add(bigF(hi), bigF(lo)), want).Float64()
			size, _ := want.Float64()
			if math.Abs(d) > min(0x1p-66, math.Abs(size)*0x1p-59) {
				t.Fatalf("log %x = %v is off by %.3g", x, size, d)
			}
		}
	}
}

func TestPowAccuracy(t *testing.T) {
	n := 10000
	if testing.Short() {
		n = 1000
	}
	rng := rand.New(rand.NewPCG(2, 3))
	ref := func(b, y float64) *big.Float { return bigExp(bigN().Mul(bigLog(bigF(b)), bigF(y))) }
	for _, c := range []struct {
		name  string
		bound float64
		args  func() (b, y float64)
	}{
		{"rotary frequencies", 0.6, func() (float64, float64) {
			return []float64{1e4, 16e4, 5e5, 1e6, 1e7}[rng.IntN(5)], -float64(2*rng.IntN(256)) / 512
		}},
		{"exponents to 1", 0.6, func() (float64, float64) { return math.Exp(rng.Float64()*18 - 2), rng.Float64()*2 - 1 }},
		{"all", 1, func() (float64, float64) {
			for {
				b, y := math.Ldexp(1+rng.Float64(), rng.IntN(2098)-1074), math.Ldexp(rng.Float64()*2-1, rng.IntN(80)-20)
				if rng.IntN(3) == 0 {
					b = 1 + math.Ldexp(rng.Float64()-0.5, -rng.IntN(45))
				}
				if p := math.Abs(math.Log(b) * y); b > 0 && b < math.MaxFloat64 && p < 700 {
					return b, y
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			worst := 0.0
			for range n {
				b, y := c.args()
				e := ulps(Pow(b, y), ref(b, y))
				worst = max(worst, e)
				if e > c.bound {
					t.Fatalf("Pow(%x, %x) = %v: %.3f ulp", b, y, Pow(b, y), e)
				}
			}
			t.Logf("worst error %.4f ulp", worst)
		})
	}
}

func TestSpecial(t *testing.T) {
	inf, nan, negZero := math.Inf(1), math.NaN(), math.Copysign(0, -1)
	pow := func(y float64) func(float64) float64 { return func(b float64) float64 { return Pow(b, y) } }
	for _, c := range []struct {
		name    string
		f       func(float64) float64
		x, want float64
	}{
		{"Exp", Exp, nan, nan}, {"Exp", Exp, inf, inf}, {"Exp", Exp, -inf, 0}, {"Exp", Exp, 0, 1}, {"Exp", Exp, negZero, 1},
		{"Exp", Exp, 0x1p-1074, 1}, {"Exp", Exp, math.MaxFloat64, inf}, {"Exp", Exp, -math.MaxFloat64, 0},
		{"Exp", Exp, 709.782712893384, 0x1.fffffffffff2ap1023}, {"Exp", Exp, 709.7827128933841, inf}, {"Exp", Exp, 999, inf},
		{"Exp", Exp, -745.13, 0x1p-1074}, {"Exp", Exp, -745.14, 0}, {"Exp", Exp, -999, 0},
		{"Log", Log, nan, nan}, {"Log", Log, inf, inf}, {"Log", Log, -inf, nan}, {"Log", Log, 0, -inf}, {"Log", Log, negZero, -inf},
		{"Log", Log, -1, nan}, {"Log", Log, 1, 0}, {"Log", Log, -0x1p-1074, nan},
		{"Log1p", Log1p, nan, nan}, {"Log1p", Log1p, inf, inf}, {"Log1p", Log1p, -inf, nan}, {"Log1p", Log1p, -1, -inf}, {"Log1p", Log1p, -1.5, nan},
		{"Log1p", Log1p, 0, 0}, {"Log1p", Log1p, negZero, negZero}, {"Log1p", Log1p, -0x1p-1074, -0x1p-1074},
		{"sin", sinOf, 0, 0}, {"sin", sinOf, negZero, negZero}, {"sin", sinOf, nan, nan}, {"sin", sinOf, inf, nan}, {"sin", sinOf, -inf, nan},
		{"cos", cosOf, 0, 1}, {"cos", cosOf, negZero, 1}, {"cos", cosOf, nan, nan}, {"cos", cosOf, inf, nan}, {"cos", cosOf, -inf, nan},
		{"Sigmoid", Sigmoid, nan, nan}, {"Sigmoid", Sigmoid, inf, 1}, {"Sigmoid", Sigmoid, -inf, 0}, {"Sigmoid", Sigmoid, 0, 0.5}, {"Sigmoid", Sigmoid, 1e9, 1},
		{"Softplus", Softplus, nan, nan}, {"Softplus", Softplus, inf, inf}, {"Softplus", Softplus, -inf, 0}, {"Softplus", Softplus, 0, math.Ln2},
		{"Softplus", Softplus, 1e300, 1e300}, {"Softplus", Softplus, -1e300, 0},
		{"Silu", Silu, nan, nan}, {"Silu", Silu, inf, inf}, {"Silu", Silu, -inf, negZero}, {"Silu", Silu, 0, 0}, {"Silu", Silu, negZero, negZero},
		{"Silu", Silu, -800, negZero}, {"Silu", Silu, -1e300, negZero}, {"Silu", Silu, 1e300, 1e300},
		{"Pow 0", pow(0), 1e4, 1}, {"Pow 1", pow(1), 160000, 160000}, {"Pow -1", pow(-1), 8, 0.125}, {"Pow 1/2", pow(0.5), 65536, 256},
		{"Pow 3", pow(3), 7, 343}, {"Pow 2000", pow(2000), 2, inf}, {"Pow -2000", pow(-2000), 2, 0}, {"Pow huge", pow(1e308), 2, inf},
		{"Pow huge", pow(1e308), 0.5, 0}, {"Pow huge", pow(1e308), 1, 1}, {"Pow of 0", pow(1), 0, nan}, {"Pow of -1", pow(1), -1, nan},
		{"Pow of inf", pow(1), inf, nan}, {"Pow of NaN", pow(1), nan, nan}, {"Pow NaN", pow(nan), 1, nan}, {"Pow inf", pow(inf), 1, nan},
		{"Pow subnormal", pow(-1074), 2, 0x1p-1074},
	} {
		if got := c.f(c.x); math.Float64bits(got) != math.Float64bits(c.want) && !(got != got && c.want != c.want) {
			t.Errorf("%s(%v) = %v (%x), want %v", c.name, c.x, got, got, c.want)
		}
	}
}

// TestMonotone: results of neighbours never swap, over many places. (Not so for the composed
// functions, whose error is beyond one unit.)
func TestMonotone(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	for _, f := range []function{{"Exp", Exp, nil, 0, 0.7, 40}, {"Log", Log, nil, 0, 0.5, 2}, {"Log1p", Log1p, nil, 0, -0.5, 1}} {
		for range 2000 {
			x := f.lo + float64(rng.Float64()*(f.hi-f.lo))
			for range 20 {
				next := math.Nextafter(x, math.Inf(1))
				if f.f(next) < f.f(x) {
					t.Fatalf("%s falls from %x to %x", f.name, x, next)
				}
				x = next
			}
		}
	}
}

func BenchmarkFunctions(b *testing.B) {
	rng := rand.New(rand.NewPCG(6, 7))
	for _, f := range []function{
		{"Exp", Exp, nil, 0, -20, 20}, {"Log", Log, nil, 0, 0.1, 20}, {"Log1p", Log1p, nil, 0, 0, 1},
		{"Sigmoid", Sigmoid, nil, 0, -10, 10}, {"Softplus", Softplus, nil, 0, -10, 10}, {"Silu", Silu, nil, 0, -10, 10},
		{"SinCos", sinOf, nil, 0, -1e6, 1e6}, {"SinCos beyond 2^24", sinOf, nil, 0, 1e9, 1e12},
		{"Pow", func(x float64) float64 { return Pow(160000, x) }, nil, 0, -1, 0},
	} {
		var xs [1024]float64
		for i := range xs {
			xs[i] = f.lo + float64(rng.Float64()*(f.hi-f.lo))
		}
		b.Run(f.name, func(b *testing.B) {
			var sum float64
			for i := 0; b.Loop(); i++ {
				sum += f.f(xs[i&1023])
			}
			sink = sum
		})
	}
}

var sink float64

func Example() {
	fmt.Printf("%x\n", Exp(1))
	// Output: 0x1.5bf0a8b145769p+01
}
