package num

import (
	"math"
	"testing"
)

// slowValue is the value of a code by definition, from its fields, without the package's tables.
func slowValue(code uint64, mantissa, exponent, bias int) float64 {
	sign := 1.0
	if code>>(mantissa+exponent)&1 == 1 {
		sign = -1
	}
	e := int(code >> mantissa & (1<<exponent - 1))
	m := float64(code&(1<<mantissa-1)) / float64(int(1)<<mantissa)
	if e == 0 {
		return sign * m * math.Pow(2, float64(1-bias))
	}
	return sign * (1 + m) * math.Pow(2, float64(e-bias))
}

func slowE4M3(c uint8) float64 {
	if c&0x7F == 0x7F {
		return math.NaN()
	}
	return slowValue(uint64(c), 3, 4, 7)
}

func slowE2M1(c uint8) float64 { return slowValue(uint64(c), 1, 2, 1) }

func slowE8M0(s uint8) float64 {
	if s == 255 {
		return math.NaN()
	}
	return math.Pow(2, float64(int(s)-127))
}

// same compares bits, except that all NaN are one.
func same(a, b float64) bool {
	return a != a && b != b || math.Float64bits(a) == math.Float64bits(b)
}

func TestSmallFormats(t *testing.T) {
	for c := range 256 {
		c := uint8(c)
		if got := float64(E4M3ToF32(c)); !same(got, slowE4M3(c)) {
			t.Errorf("E4M3ToF32(%#x) = %v, want %v", c, got, slowE4M3(c))
		}
		if got := float64(E2M1ToF32(c)); !same(got, slowE2M1(c&15)) {
			t.Errorf("E2M1ToF32(%#x) = %v, want %v", c, got, slowE2M1(c&15))
		}
		if got := float64(E8M0ToF32(c)); !same(got, slowE8M0(c)) {
			t.Errorf("E8M0ToF32(%#x) = %v, want %v", c, got, slowE8M0(c))
		}
	}
	for c, want := range map[uint8]float64{0x01: 0x1p-9, 0x08: 0x1p-6, 0x38: 1, 0x7E: 448, 0xFE: -448} {
		if got := float64(E4M3ToF32(c)); got != want {
			t.Errorf("E4M3ToF32(%#x) = %v, want %v", c, got, want)
		}
	}
	for c, want := range []float32{0, .5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1)), -.5, -1, -1.5, -2, -3, -4, -6} {
		if got := E2M1ToF32(uint8(c)); !same(float64(got), float64(want)) {
			t.Errorf("E2M1ToF32(%d) = %v, want %v", c, got, want)
		}
	}
}

// rounding describes a conversion to n finite non-negative codes 0..n-1 in ascending order.
type rounding struct {
	name  string
	n     int
	value func(code int) float64
	code  func(x float64) int
	sign  int // sign bit of a code
	above int // code of values above the largest: n is infinity, n-1 saturates
}

var roundings = []rounding{
	{"e4m3", 127, func(c int) float64 { return slowE4M3(uint8(c)) }, func(x float64) int { return int(F64ToE4M3(x)) }, 0x80, 126},
	{"e2m1", 8, func(c int) float64 { return slowE2M1(uint8(c)) }, func(x float64) int { return int(F64ToE2M1(x)) }, 8, 7},
	{"f16", 0x7C00, func(c int) float64 { return slowValue(uint64(c), 10, 5, 15) }, func(x float64) int { return int(F64ToF16(x)) }, 0x8000, 0x7C00},
	{"f16 of float32", 0x7C00, func(c int) float64 { return slowValue(uint64(c), 10, 5, 15) }, func(x float64) int { return int(F32ToF16(float32(x))) }, 0x8000, 0x7C00},
	{"bf16", 0x7F80, func(c int) float64 { return slowValue(uint64(c), 7, 8, 127) }, func(x float64) int { return int(F32ToBF16(float32(x))) }, 0x8000, 0x7F80},
}

// TestRounding tries every code, every tie between neighbours and the floats on both sides of it.
func TestRounding(t *testing.T) {
	for _, r := range roundings {
		t.Run(r.name, func(t *testing.T) {
			next := func(x, to float64) float64 { return float64(math.Nextafter32(float32(x), float32(to))) }
			expect := func(x float64, want int) {
				t.Helper()
				if got := r.code(x); got != want {
					t.Fatalf("%v gives %#x, want %#x", x, got, want)
				}
				if got := r.code(-x); got != want|r.sign {
					t.Fatalf("%v gives %#x, want %#x", -x, got, want|r.sign)
				}
			}
			for c := range r.n {
				v := r.value(c)
				expect(v, c)
				up := r.above
				var tie float64
				if c+1 < r.n {
					tie, up = (v+r.value(c+1))/2, c+1
				} else {
					tie = v + (v-r.value(c-1))/2
				}
				even := c
				if c%2 == 1 {
					even = up
				}
				if next(tie, 0) > v { // else float32 has nothing between, as at 2^-149 steps
					expect(next(tie, 0), c)
				}
				expect(tie, even)
				expect(next(tie, math.Inf(1)), up)
			}
			expect(math.Inf(1), r.above)
		})
	}
}

func TestHalvesBothWays(t *testing.T) {
	for u := range 1 << 16 {
		h := uint16(u)
		b, f := BF16ToF32(h), F16ToF32(h)
		wantF := slowValue(uint64(h), 10, 5, 15)
		switch {
		case h&0x7FFF == 0x7C00:
			wantF = math.Inf(1 - int(h>>15)*2)
		case h&0x7FFF > 0x7C00:
			wantF = math.NaN()
		}
		if !same(float64(f), wantF) {
			t.Fatalf("F16ToF32(%#x) = %v, want %v", h, f, wantF)
		}
		if math.Float32bits(b) != uint32(h)<<16 {
			t.Fatalf("BF16ToF32(%#x) = %#x", h, math.Float32bits(b))
		}
		if got := F32ToF16(f); got != h && f == f {
			t.Fatalf("F32ToF16(F16ToF32(%#x)) = %#x", h, got)
		}
		if got := F32ToBF16(b); got != h && b == b {
			t.Fatalf("F32ToBF16(BF16ToF32(%#x)) = %#x", h, got)
		}
		if back := F16ToF32(F32ToF16(f)); f != f && back == back {
			t.Fatalf("the NaN %#x does not survive F16", h)
		}
		if back := BF16ToF32(F32ToBF16(b)); b != b && back == back {
			t.Fatalf("the NaN %#x does not survive BF16", h)
		}
	}
	// A NaN whose payload lies wholly in the bits that are cut off.
	low := math.Float32frombits(0x7F800001)
	if x := BF16ToF32(F32ToBF16(low)); x == x {
		t.Error("a NaN with a low payload becomes an infinity in BF16")
	}
	if x := F16ToF32(F32ToF16(low)); x == x {
		t.Error("a NaN with a low payload becomes an infinity in F16")
	}
	if c := F64ToE4M3(math.NaN()); c != 0x7F {
		t.Errorf("F64ToE4M3(NaN) = %#x", c)
	}
}

// TestF16RoundsOnce uses a float64 that a detour through float32 would round to the wrong half.
func TestF16RoundsOnce(t *testing.T) {
	x := 1 + 0x1p-11 + 0x1p-40 // just above a tie
	if got := F64ToF16(x); got != 0x3C01 {
		t.Errorf("F64ToF16(%v) = %#x, want 0x3c01", x, got)
	}
	if got := F64ToF16(float64(float32(x))); got != 0x3C00 {
		t.Errorf("by float32: %#x, want 0x3c00", got)
	}
}
