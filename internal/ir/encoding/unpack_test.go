package encoding

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"smelt.example/smelt/internal/ir/num"
)

// planesOf makes random planes of rows x cols: any codes but those that
// kernels take for others (NaN of e4m3), scales of a few powers of two or
// around 1, and values of plain encodings that are finite. Blocks are those of
// RandomPlanes.
func planesOf(t *testing.T, e Encoding, rng *rand.Rand, rows, cols int) Planes {
	t.Helper()
	described, err := e.Planes(rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	var p Planes
	for _, d := range described {
		b := make([]byte, d.Bytes())
		if u, err := UnpackOf(e, Features{}); err == nil && u.Block != nil {
			fill(b, RandomPlanes(e, 0, 1)[0], rng)
		} else {
			for i := 0; i < len(b); i += d.ElementBytes() {
				copy(b[i:], elementOf(e, d, rng))
			}
		}
		switch d.Role {
		case Weight:
			p.Weight = b
		case Scales:
			p.Scales = b
		case Biases:
			p.Biases = b
		}
	}
	return p
}

func elementOf(e Encoding, d Plane, rng *rand.Rand) []byte {
	switch {
	case d.Role != Weight && (d.DType == E8M0 || d.DType == U8):
		return []byte{byte(1 + rng.IntN(254))}
	case d.Role != Weight:
		return floatBytes(d.DType, []float64{rng.NormFloat64()})
	}
	switch d.DType {
	case BF16, F16, F32:
		return floatBytes(d.DType, []float64{rng.NormFloat64()})
	}
	size, _ := d.DType.Size()
	out := make([]byte, size)
	for i := range out {
		for out[i] = byte(rng.IntN(256)); e4m3Codes(e) && out[i]&0x7f == 0x7f; {
			out[i] = byte(rng.IntN(256))
		}
	}
	return out
}

// fill makes a plane of random words.
func fill(plane []byte, r Random, rng *rand.Rand) {
	words := make([]byte, (len(plane)+7)/8*8)
	for i := range len(words) / 8 {
		binary.LittleEndian.PutUint64(words[8*i:], rng.Uint64()&r.Keep[i%len(r.Keep)]+r.Add[i%len(r.Add)])
	}
	if r.Then != nil {
		r.Then(words)
	}
	copy(plane, words)
}

func e4m3Codes(e Encoding) bool {
	mx, isMX := e.(MX)
	_, isFP8 := e.(FP8Block)
	return isFP8 || isMX && mx.Bits == 8
}

// unpacked is row r as a kernel reads it: value*scale, plus bias in one
// rounding more.
func unpacked(u Unpack, p Planes, r, rows, cols int) []float32 {
	row := p.Weight[r*(len(p.Weight)/rows):]
	out := make([]float32, cols)
	for n := 0; n*u.Elements < cols; n++ {
		unit := unitOf(u, row, n)
		for i, code := range u.Codes {
			k := n*u.Elements + i
			out[k] = code.eval(unit)
			exponent := u.Exponent
			if u.Exponents != nil {
				exponent += u.Exponents[i]
			}
			out[k] = float32(math.Ldexp(float64(out[k]), exponent))
			if u.Scale != nil {
				out[k] = float32(out[k] * factorOf(u.Scale, unit, p.Scales, r, k, cols))
			}
			if u.Bias != nil {
				out[k] += factorOf(u.Bias, unit, p.Biases, r, k, cols)
			}
		}
	}
	return out
}

// unitOf reads unit n of a row, its block's words among them.
func unitOf(u Unpack, row []byte, n int) unit {
	unit := unit{words: make([]uint32, u.Words)}
	if b := u.Block; b != nil {
		unit.number = uint32(n % b.Units)
		for i := range b.Shorts {
			unit.block = append(unit.block, binary.LittleEndian.Uint16(row[2*(n/b.Units*b.Shorts+i):]))
		}
	}
	for w := range unit.words {
		if u.Block != nil {
			unit.words[w] = u.Block.Words[w].bits(unit)
		} else {
			unit.words[w] = binary.LittleEndian.Uint32(row[4*(n*u.Words+w):])
		}
	}
	return unit
}

func factorOf(f *Factor, unit unit, plane []byte, r, k, cols int) float32 {
	if f.Value != nil {
		return f.Value.eval(unit)
	}
	i := r/f.GroupRows*ceilDiv(cols, f.Group) + k/f.Group
	if f.DType == E8M0 {
		return num.E8M0ToF32(plane[i])
	}
	return halfAt[float32](f.DType, plane, i)
}

func TestUnpack(t *testing.T) {
	for _, by := range allMeans {
		t.Run(fmt.Sprintf("%+v", by), func(t *testing.T) { testUnpack(t, by) })
	}
}

var allMeans = []Features{{}, {Halves: true}, {E2M1: true}, {Halves: true, E2M1: true}}

func testUnpack(t *testing.T, by Features) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, e := range All() {
		u, err := UnpackOf(e, by)
		if e.Name() == "f64" {
			if err == nil {
				t.Error("f64 unpacks")
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", e.Name(), err)
			continue
		}
		if u.Bias != nil && u.Exponent != 0 {
			t.Errorf("%s: 2^%d is left out of its codes, and a bias added to sums of them", e.Name(), u.Exponent)
		}
		const rows, cols = 130, 256
		p := planesOf(t, e, rng, rows, cols)
		want := make([]float32, cols)
		for _, r := range []int{0, 1, 127, 128, 129} {
			Decode(e, want, p, r)
			for k, got := range unpacked(u, p, r, rows, cols) {
				// An affine value is rounded after the product and after the sum where
				// Decode rounds once (bf16 and f16 scales).
				slack := 0.0
				if u.Bias != nil {
					unit := unitOf(u, p.Weight[r*(len(p.Weight)/rows):], k/u.Elements)
					slack = 2e-6 * (math.Abs(float64(got)) + math.Abs(float64(factorOf(u.Bias, unit, p.Biases, r, k, cols))))
				}
				if d := math.Abs(float64(got) - float64(want[k])); got != want[k] && !(d <= slack) {
					t.Fatalf("%s: row %d, column %d: unpacked %v, decoded %v", e.Name(), r, k, got, want[k])
				}
			}
		}
	}
}

// TestMiniFloats reads every code of e4m3 and e2m1 but NaN, at every place in a
// word, and sees to it that no step makes a float32 subnormal.
func TestMiniFloats(t *testing.T) {
	for _, c := range []struct {
		encoding Encoding
		bits     int
		want     func(uint32) float32
	}{
		{FP8Block{}, 8, func(b uint32) float32 { return num.E4M3ToF32(uint8(b)) }},
		{FP4{}, 4, func(b uint32) float32 { return num.E2M1ToF32(uint8(b)) }},
	} {
		for _, by := range allMeans {
			u, err := UnpackOf(c.encoding, by)
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range u.Codes {
				for code := range uint32(1) << c.bits {
					want := c.want(code)
					if want != want {
						continue
					}
					// What is beside a code must not matter.
					beside := uint32(0x5a96c3e1) &^ ((1<<c.bits - 1) << (i * c.bits))
					words := []uint32{beside | code<<(i*c.bits)}
					if got := float32(math.Ldexp(float64(e.eval(unit{words: words})), u.Exponent)); got != want {
						t.Errorf("%s, %+v: code %#x at %d: %v, expected %v", c.encoding.Name(), by, code, i, got, want)
					}
					if s := subnormal(e, words); s != "" {
						t.Errorf("%s, %+v: code %#x at %d: %s is subnormal", c.encoding.Name(), by, code, i, s)
					}
				}
			}
		}
	}
}

// subnormal finds a part of an expression that is a float32 subnormal.
func subnormal(e *BitExpr, words []uint32) string {
	for _, a := range e.Args {
		if s := subnormal(a, words); s != "" {
			return s
		}
	}
	if v := math.Abs(float64(math.Float32frombits(e.bits(unit{words: words})))); e.Type == Real && v > 0 && v < 0x1p-126 {
		return e.String()
	}
	return ""
}

func TestBitTypes(t *testing.T) {
	real, word := bitReal(1), bitWord(0)
	for i, f := range []func(){
		func() { bitApply(BitAnd, Bits, real, word) },
		func() { bitApply(BitMul, Real, word, word) },
		func() { bitApply(BitAdd, Real, real, word) },
		func() { bitApply(BitAdd, Bits, real, real) },
		func() { bitApply(BitSelect, Real, word, real, real) },
		func() { bitApply(BitSelect, Real, bitApply(BitLess, Truth, word, word), real, word) },
		func() { bitApply(BitToReal, Real, real) },
		func() { bitApply(BitE2M1, Real, real) },
		func() { bitApply(BitShl, Bits, word) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("case %d: operands of wrong types are taken", i)
				}
			}()
			f()
		}()
	}
	if s := fmt.Sprint(e2m1.value(codeAt(4, 4))); s == "" {
		t.Error("an expression prints as nothing")
	}
}
