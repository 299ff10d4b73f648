package standin

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strings"
	"testing"
)

// floatBuiltins are expressions of float x and y, and what they are.
var floatBuiltins = []struct {
	text string
	want func(x, y float64) float64
	ulps float64 // of float that the result may differ; 0: exact
}{
	{"precise::exp(x)", func(x, y float64) float64 { return math.Exp(x) }, 1},
	{"fast::exp(x)", func(x, y float64) float64 { return math.Exp(x) }, 1},
	{"exp2(x)", func(x, y float64) float64 { return math.Exp2(x) }, 1},
	{"precise::log(x)", func(x, y float64) float64 { return math.Log(x) }, 1},
	{"log2(x)", func(x, y float64) float64 { return math.Log2(x) }, 1},
	{"log10(x)", func(x, y float64) float64 { return math.Log10(x) }, 1},
	{"precise::sqrt(x)", func(x, y float64) float64 { return math.Sqrt(x) }, 0},
	{"precise::rsqrt(x)", func(x, y float64) float64 { return 1 / math.Sqrt(x) }, 0},
	{"sin(x)", func(x, y float64) float64 { return math.Sin(x) }, 1},
	{"cos(x)", func(x, y float64) float64 { return math.Cos(x) }, 1},
	{"tan(x)", func(x, y float64) float64 { return math.Tan(x) }, 1},
	{"tanh(x)", func(x, y float64) float64 { return math.Tanh(x) }, 1},
	{"pow(x, y)", math.Pow, 1},
	{"fmod(x, y)", math.Mod, 0},
	{"fabs(x)", func(x, y float64) float64 { return math.Abs(x) }, 0},
	{"abs(x)", func(x, y float64) float64 { return math.Abs(x) }, 0},
	{"floor(x)", func(x, y float64) float64 { return math.Floor(x) }, 0},
	{"ceil(x)", func(x, y float64) float64 { return math.Ceil(x) }, 0},
	{"trunc(x)", func(x, y float64) float64 { return math.Trunc(x) }, 0},
	{"round(x)", func(x, y float64) float64 { return math.Round(x) }, 0},
	{"rint(x)", func(x, y float64) float64 { return math.RoundToEven(x) }, 0},
	{"copysign(x, y)", math.Copysign, 0},
	{"fmin(x, y)", func(x, y float64) float64 { return pickNumber(x, y, math.Min) }, 0},
	{"max(x, y)", func(x, y float64) float64 { return pickNumber(x, y, math.Max) }, 0},
	{"clamp(x, -1.0f, 2.0f)", func(x, y float64) float64 { return min(pickNumber(x, -1, math.Max), 2) }, 0},
	{"saturate(x)", func(x, y float64) float64 { return min(pickNumber(x, 0, math.Max), 1) }, 0},
	{"sign(x)", func(x, y float64) float64 {
		switch {
		case x > 0:
			return 1
		case x < 0:
			return -1
		}
		return 0
	}, 0},
	{"fma(x, y, 0.3f)", func(x, y float64) float64 {
		if sum := x*y + 0.3; sum-sum != 0 {
			return sum
		}
		return float64(fma32(float32(x), float32(y), 0.3))
	}, 0},
	{"select(x, y, x < y)", func(x, y float64) float64 { return choose(x < y, y, x) }, 0},
	{"isnan(x) ? 1.0f : 0.0f", func(x, y float64) float64 { return truth(math.IsNaN(x)) }, 0},
	{"isinf(x) ? 1.0f : 0.0f", func(x, y float64) float64 { return truth(math.IsInf(x, 0)) }, 0},
	{"isfinite(x) ? 1.0f : 0.0f", func(x, y float64) float64 { return truth(x-x == 0) }, 0},
	{"signbit(x) ? 1.0f : 0.0f", func(x, y float64) float64 { return truth(math.Signbit(x) && !math.IsNaN(x)) }, 0},
	{"as_type<float>(as_type<uint>(x) ^ 0x80000000u)", func(x, y float64) float64 { return -x }, 0},
	{"float(half(x))", func(x, y float64) float64 { return float64(roundBits(x, 11)) }, 0},
	{"float(half(x) * half(y) + half(0.25f))", func(x, y float64) float64 {
		product := roundBits(float64(roundBits(x, 11))*float64(roundBits(y, 11)), 11)
		return float64(roundBits(float64(product)+0.25, 11))
	}, 0},
	{"float(bfloat(x))", func(x, y float64) float64 { return float64(roundBits(x, 8)) }, 0},
	{"float2(x, y).y + float4(float2(y, 1.0f), x, x).y", func(x, y float64) float64 { return float64(float32(y) + 1) }, 0},
	{"float3(x)[2]", func(x, y float64) float64 { return x }, 0},
	{"max(float2(x, 1.0f), float2(y, 0.5f)).x", func(x, y float64) float64 { return pickNumber(x, y, math.Max) }, 0},
	{"select(float2(x, x), float2(y, y), float2(x, x) < float2(y, y)).y", func(x, y float64) float64 { return choose(x < y, y, x) }, 0},
	{"dot(float2(x, y), float2(2.0f, 0.0f))", func(x, y float64) float64 { return 2*x + 0*y }, 0},
	{"float(float2(half2(float2(x, y)))[0])", func(x, y float64) float64 { return float64(roundBits(x, 11)) }, 0},
	{"x * float(0.5h)", func(x, y float64) float64 { return x / 2 }, 0},
	{"INFINITY - NAN + x", func(x, y float64) float64 { return math.NaN() }, 0},
}

func pickNumber(x, y float64, f func(x, y float64) float64) float64 {
	switch {
	case math.IsNaN(x):
		return y
	case math.IsNaN(y):
		return x
	}
	return f(x, y)
}

func choose(condition bool, yes, no float64) float64 {
	if condition {
		return yes
	}
	return no
}

func truth(b bool) float64 { return choose(b, 1, 0) }

// fma32 rounds a*b+c once.
func fma32(a, b, c float32) float32 {
	sum := new(big.Float).SetPrec(600).SetFloat64(float64(a) * float64(b)) // exact
	sum.Add(sum, new(big.Float).SetFloat64(float64(c)))
	out, _ := sum.Float32()
	return out
}

// roundBits rounds to a number of significant bits, ties to even; inputs are
// within range of float16 and not subnormal there.
func roundBits(v float64, n int) float32 {
	if v == 0 || v-v != 0 {
		return float32(v)
	}
	fraction, exponent := math.Frexp(v)
	return float32(math.Ldexp(math.RoundToEven(math.Ldexp(fraction, n)), exponent-n))
}

// intBuiltins are expressions of int x and uint u, as int.
var intBuiltins = []struct {
	text string
	want func(x int32, u uint32) int32
}{
	{"abs(x)", func(x int32, u uint32) int32 { return max(x, -x) }},
	{"min(x, 3)", func(x int32, u uint32) int32 { return min(x, 3) }},
	{"int(max(u, 100u))", func(x int32, u uint32) int32 { return int32(max(u, 100)) }},
	{"clamp(x, -5, 5)", func(x int32, u uint32) int32 { return min(max(x, -5), 5) }},
	{"int(popcount(u))", func(x int32, u uint32) int32 { return int32(bits.OnesCount32(u)) }},
	{"popcount(x)", func(x int32, u uint32) int32 { return int32(bits.OnesCount32(uint32(x))) }},
	{"int(clz(u))", func(x int32, u uint32) int32 { return int32(bits.LeadingZeros32(u)) }},
	{"clz(x)", func(x int32, u uint32) int32 { return int32(bits.LeadingZeros32(uint32(x))) }},
	{"int(clz(ushort(u)))", func(x int32, u uint32) int32 { return int32(bits.LeadingZeros16(uint16(u))) }},
	{"int(ctz(u))", func(x int32, u uint32) int32 { return int32(bits.TrailingZeros32(u)) }},
	{"int(ctz(uchar(u)))", func(x int32, u uint32) int32 { return int32(bits.TrailingZeros8(uint8(u))) }},
	{"int(reverse_bits(u))", func(x int32, u uint32) int32 { return int32(bits.Reverse32(u)) }},
	{"int(mulhi(u, 0x12345678u))", func(x int32, u uint32) int32 {
		return int32(uint64(u) * 0x12345678 >> 32)
	}},
	{"mulhi(x, 0x12345678)", func(x int32, u uint32) int32 { return int32(int64(x) * 0x12345678 >> 32) }},
	{"select(x, 7, u > 9u)", func(x int32, u uint32) int32 {
		if u > 9 {
			return 7
		}
		return x
	}},
	{"int(uint4(u, u + 1u, 2u, 3u).y)", func(x int32, u uint32) int32 { return int32(u + 1) }},
	{"int(as_type<uchar4>(u)[2])", func(x int32, u uint32) int32 { return int32(u >> 16 & 255) }},
	{"int(short(x)) + int(char(x)) + int(ushort(u))", func(x int32, u uint32) int32 {
		return int32(int16(x)) + int32(int8(x)) + int32(uint16(u))
	}},
	{"int((long(x) * long(x)) >> 16)", func(x int32, u uint32) int32 { return int32(int64(x) * int64(x) >> 16) }},
	{"int(ulong(u) * 3ul >> 1)", func(x int32, u uint32) int32 { return int32(uint64(u) * 3 >> 1) }},
	{"bool2(x < 3, true).x ? 1 : 2", func(x int32, u uint32) int32 {
		if x < 3 {
			return 1
		}
		return 2
	}},
	{"select(int2(x), int2(1, 2), bool2(x < 3, x > 5)).x", func(x int32, u uint32) int32 {
		if x < 3 {
			return 1
		}
		return x
	}},
}

// builtinSource has a kernel for each expression: f0, f1 ... and i0, i1 ...
func builtinSource() string {
	var out strings.Builder
	out.WriteString("#include <metal_stdlib>\nusing namespace metal;\n" +
		"struct Floats { device const float *x; device const float *y; device float *out; };\n" +
		"struct Ints { device const int *x; device const uint *u; device int *out; };\n")
	for i, b := range floatBuiltins {
		fmt.Fprintf(&out, "kernel void f%d(constant Floats &args [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"+
			"const float x = args.x[i];\nconst float y = args.y[i];\nargs.out[i] = %s;\n}\n", i, b.text)
	}
	for i, b := range intBuiltins {
		fmt.Fprintf(&out, "kernel void i%d(constant Ints &args [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"+
			"const int x = args.x[i];\nconst uint u = args.u[i];\nargs.out[i] = %s;\n}\n", i, b.text)
	}
	return out.String()
}

func TestBuiltins(t *testing.T) {
	source := builtinSource()
	if err := compiler(t).Check("builtins.metal", source); err != nil {
		t.Error(err)
	}
	r := start(t, false)
	inf := float32(math.Inf(1))
	x := []float32{0.5, 1, 2.5, 3.5, -0.75, -2.5, 7.125, 100.3, 1.0009765, 0.1, -1e-3, 3, inf, -inf, float32(math.NaN()), 0}
	y := []float32{2, -3, 0.7, 1.5, 2, 3, -1.25, 0.01, 1.0029297, 0.2, 5, float32(math.NaN()), 1, 2, 3, -1}
	n := len(x)
	floats := args(0, put(r, x), put(r, y), r.space(n))[:24]
	for i, b := range floatBuiltins {
		r.launch(Launch{Kernel: fmt.Sprintf("f%d", i), Threads: uint32(n), Args: floats})
		for j, got := range get[float32](r, Addr(readWord(floats, 2)), n) {
			want := b.want(float64(x[j]), float64(y[j]))
			exact := float32(want)
			ok := math.Float32bits(got) == math.Float32bits(exact) || got == exact || (got != got && exact != exact)
			if b.ulps > 0 && !ok {
				ulp := float64(math.Nextafter32(abs32(exact), inf) - abs32(exact))
				ok = math.Abs(float64(got)-want) <= b.ulps*ulp
			}
			if !ok {
				t.Errorf("%s of x = %v, y = %v: got %v, want %v", b.text, x[j], y[j], got, exact)
			}
		}
	}
	xi := []int32{0, 1, -1, 5, 6, -7, 100, 30000, -30001, 2, 3, 46340}
	u := []uint32{0, 1, 0xffffffff, 9, 10, 0x80000000, 0x00f00000, 77, 65536, 128, 0x1234567, 40}
	n = len(xi)
	ints := args(0, put(r, xi), put(r, u), r.space(n))[:24]
	for i, b := range intBuiltins {
		r.launch(Launch{Kernel: fmt.Sprintf("i%d", i), Threads: uint32(n), Args: ints})
		for j, got := range get[int32](r, Addr(readWord(ints, 2)), n) {
			if want := b.want(xi[j], u[j]); got != want {
				t.Errorf("%s of x = %d, u = %#x: got %d, want %d", b.text, xi[j], u[j], got, want)
			}
		}
	}
}

func abs32(v float32) float32 { return float32(math.Abs(float64(v))) }
