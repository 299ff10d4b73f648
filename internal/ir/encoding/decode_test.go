package encoding

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"smelt.example/smelt/internal/ir/num"
)

// slowDecode reads value (r, c) by the definition of the format, bit by bit and in float64.
func slowDecode(e Encoding, p Planes, r, c, cols int) float64 {
	bits := func(plane []byte, first, n int) (q uint64) {
		for i := range n {
			q |= uint64(plane[(first+i)/8]>>((first+i)%8)&1) << i
		}
		return q
	}
	half := func(dt DType, plane []byte, i int) float64 {
		switch dt {
		case BF16:
			return float64(num.BF16ToF32(uint16(bits(plane, i*16, 16))))
		case F16:
			return float64(num.F16ToF32(uint16(bits(plane, i*16, 16))))
		case F32:
			return float64(math.Float32frombits(uint32(bits(plane, i*32, 32))))
		}
		return math.Float64frombits(bits(plane, i*64, 64))
	}
	scale := func(dt DType, plane []byte, i int) float64 {
		if dt == "" {
			return float64(num.E8M0ToF32(plane[i]))
		}
		return half(dt, plane, i)
	}
	i := r*cols + c
	switch e := e.(type) {
	case Plain:
		return half(e.DType, p.Weight, i)
	case FP8Block:
		return float64(num.E4M3ToF32(p.Weight[i])) * scale(e.Scale, p.Scales, r/128*((cols+127)/128)+c/128)
	case FP4:
		return float64(num.E2M1ToF32(uint8(bits(p.Weight, i*4, 4)))) * scale(e.Scale, p.Scales, i/32)
	case MX:
		if e.Bits == 4 {
			return float64(num.E2M1ToF32(uint8(bits(p.Weight, i*4, 4)))) * float64(num.E8M0ToF32(p.Scales[i/32]))
		}
		return float64(num.E4M3ToF32(p.Weight[i])) * float64(num.E8M0ToF32(p.Scales[i/32]))
	case Affine:
		q := float64(bits(p.Weight, i*e.Bits, e.Bits))
		return float64(half(e.Scale, p.Scales, i/e.Group)*q) + half(e.Scale, p.Biases, i/e.Group)
	case Q80:
		block := p.Weight[i/32*34:]
		return half(F16, block, 0) * float64(int8(bits(block, 16+i%32*8, 8)))
	}
	panic("no slow decoder for " + e.Name())
}

// same compares bits, except that all NaN are one.
func same(a, b float64) bool {
	return a != a && b != b || math.Float64bits(a) == math.Float64bits(b)
}

// want32 is what Decode documents for float32, from the planes' exact value.
func want32(e Encoding, p Planes, r, c, cols int) float32 {
	a, ok := e.(Affine)
	if !ok {
		return float32(slowDecode(e, p, r, c, cols))
	}
	i := (r*cols + c) / a.Group
	s, b := halfAt[float32](a.Scale, p.Scales, i), halfAt[float32](a.Scale, p.Biases, i)
	first := (r*cols + c) * a.Bits
	var q uint
	for k := range a.Bits {
		q |= uint(p.Weight[(first+k)/8]>>((first+k)%8)&1) << k
	}
	return float32(s*float32(q)) + b
}

// randomPlanes fills the planes of a matrix at odd addresses. moderate keeps scales near 1.
func randomPlanes(t testing.TB, rng *rand.Rand, e Encoding, rows, cols int, moderate bool) Planes {
	t.Helper()
	ps, err := e.Planes(rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	var p Planes
	for _, d := range ps {
		buf := make([]byte, d.Bytes()+1)[1:]
		for i := range buf {
			buf[i] = byte(rng.Uint32())
			if moderate && d.Role == Scales && d.DType != BF16 && d.DType != F16 && d.DType != F32 {
				buf[i] = 120 + buf[i]%16
			}
		}
		switch d.Role {
		case Weight:
			p.Weight = buf
		case Scales:
			p.Scales = buf
		case Biases:
			p.Biases = buf
		}
	}
	if err := Check(e, p, rows, cols); err != nil {
		t.Fatal(err)
	}
	return p
}

func checkDecode(t *testing.T, e Encoding, p Planes, rows, cols int) {
	t.Helper()
	d32, d64 := make([]float32, cols), make([]float64, cols)
	for r := range rows {
		for c := range cols { // poison
			d32[c], d64[c] = float32(math.NaN()), math.NaN()
		}
		Decode(e, d32, p, r)
		Decode(e, d64, p, r)
		for c := range cols {
			if want := slowDecode(e, p, r, c, cols); !same(d64[c], want) {
				t.Fatalf("%s %dx%d [%d,%d] float64: %v, want %v", e.Name(), rows, cols, r, c, d64[c], want)
			}
			if want := want32(e, p, r, c, cols); !same(float64(d32[c]), float64(want)) {
				t.Fatalf("%s %dx%d [%d,%d] float32: %v, want %v", e.Name(), rows, cols, r, c, d32[c], want)
			}
		}
	}
}

// TestDecodeRandomBytes decodes random planes, with infinities, NaN and subnormals among them,
// in every encoding.
func TestDecodeRandomBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, e := range All() {
		t.Run(e.Name(), func(t *testing.T) {
			for _, size := range [][2]int{{1, 128}, {5, 256}, {3, 384}, {2, 128 * 7}} {
				for _, moderate := range []bool{false, true} {
					checkDecode(t, e, randomPlanes(t, rng, e, size[0], size[1], moderate), size[0], size[1])
				}
			}
		})
	}
}

func TestDecodeOddSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, rows := range []int{1, 127, 128, 129, 257} {
		for _, cols := range []int{1, 127, 128, 129, 257} {
			for _, e := range []Encoding{FP8Block{}, FP8Block{F32}, FP8Block{BF16}} {
				checkDecode(t, e, randomPlanes(t, rng, e, rows, cols, true), rows, cols)
			}
		}
	}
	for cols := 1; cols <= 17; cols++ {
		for _, dt := range []DType{BF16, F16, F32, F64} {
			checkDecode(t, Plain{dt}, randomPlanes(t, rng, Plain{dt}, 3, cols, true), 3, cols)
		}
	}
	for _, e := range []Encoding{FP4{}, FP4{F32}, FP4{BF16}, MX{4}, MX{8}, Affine{3, 32, BF16}, Affine{5, 32, F16}} {
		for _, cols := range []int{32, 64, 96, 160} {
			checkDecode(t, e, randomPlanes(t, rng, e, 7, cols, true), 7, cols)
		}
	}
}

// TestDecodeEveryCode meets every code with every scale of the FP8 and FP4 formats.
func TestDecodeEveryCode(t *testing.T) {
	every := func(n int) []byte { // bytes 0..255, n times
		var b []byte
		for i := range 256 * n {
			b = append(b, byte(i))
		}
		return b
	}
	var blockScales, microScales []byte
	for s := range 256 {
		blockScales = append(blockScales, byte(s), byte(s))
		microScales = append(microScales, bytes.Repeat([]byte{byte(s)}, 8)...)
	}
	// FP8: one row of codes per scale row of 128; the other rows repeat it.
	checkDecode(t, FP8Block{}, Planes{Weight: every(256 * 128), Scales: blockScales}, 256*128, 256)
	checkDecode(t, MX{8}, Planes{Weight: every(256), Scales: microScales}, 256, 256)
	var fourScales []byte
	for s := range 256 {
		fourScales = append(fourScales, bytes.Repeat([]byte{byte(s)}, 16)...)
	}
	for _, e := range []Encoding{FP4{}, MX{4}} {
		checkDecode(t, e, Planes{Weight: every(256), Scales: fourScales}, 256, 512)
	}
}

func TestFloat32Edges(t *testing.T) {
	decode := func(e Encoding, p Planes, cols int) []float32 {
		if err := Check(e, p, 1, cols); err != nil {
			t.Fatal(err)
		}
		d := make([]float32, cols)
		Decode(e, d, p, 0)
		return d
	}
	inf := float32(math.Inf(1))
	d := decode(FP8Block{}, Planes{Weight: []byte{0x7E, 0x38, 0xFE}, Scales: []byte{254}}, 3)
	if d[0] != inf || d[1] != 0x1p127 || d[2] != -inf {
		t.Errorf("scale 254: %v", d)
	}
	d = decode(FP8Block{}, Planes{Weight: []byte{0x01, 0x81, 0x80}, Scales: []byte{0}}, 3)
	if d[0] != 0x1p-136 || d[1] != -0x1p-136 || math.Float32bits(d[2]) != 1<<31 {
		t.Errorf("scale 0: %v", d)
	}
	f64 := floatBytes(F64, []float64{1e300, 0x1p-149, 1 + 0x1p-24})
	if d = decode(Plain{F64}, Planes{Weight: f64}, 3); d[0] != inf || d[1] != 0x1p-149 || d[2] != 1 {
		t.Errorf("f64: %v", d)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, e := range All() {
		p := randomPlanes(t, rng, e, 2, 128, true)
		d32, d64 := make([]float32, 128), make([]float64, 128)
		if n := testing.AllocsPerRun(10, func() { Decode(e, d32, p, 1); Decode(e, d64, p, 1) }); n != 0 {
			t.Errorf("%s: %v allocations", e.Name(), n)
		}
	}
}

// FuzzDecode: no bytes that pass Check can panic, and both widths agree where float32 is exact.
func FuzzDecode(f *testing.F) {
	all := All()
	for i := range all {
		f.Add(uint16(i), uint8(1), uint8(2), []byte{0xFF, 0x7F, 0x80})
	}
	f.Fuzz(func(t *testing.T, which uint16, r, c uint8, fill []byte) {
		e := all[int(which)%len(all)]
		rows, cols := int(r)%5+1, (int(c)%4+1)*128
		ps, err := e.Planes(rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		var planes [3][]byte
		for _, d := range ps {
			planes[d.Role] = make([]byte, d.Bytes())
			for i := 0; len(fill) > 0 && i < d.Bytes(); i++ {
				planes[d.Role][i] = fill[(i+int(d.Role))%len(fill)]
			}
		}
		p := Planes{planes[0], planes[1], planes[2]}
		checkDecode(t, e, p, rows, cols)
	})
}

func BenchmarkDecode(b *testing.B) {
	const cols = 4096
	rng := rand.New(rand.NewPCG(7, 8))
	for _, e := range []Encoding{Plain{BF16}, Plain{F16}, Plain{F32}, FP8Block{}, FP4{}, MX{4}, MX{8},
		Affine{2, 64, BF16}, Affine{3, 64, BF16}, Affine{4, 64, BF16}, Affine{4, 32, F16}, Affine{5, 64, BF16}, Affine{6, 64, BF16}, Affine{8, 64, BF16}} {
		p := randomPlanes(b, rng, e, 4, cols, true)
		b.Run(e.Name()+"/float32", func(b *testing.B) { benchDecode(b, e, make([]float32, cols), p) })
		b.Run(e.Name()+"/float64", func(b *testing.B) { benchDecode(b, e, make([]float64, cols), p) })
	}
}

func benchDecode[F Float](b *testing.B, e Encoding, dst []F, p Planes) {
	n, err := Bytes(e, 1, len(dst))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(n))
	for i := 0; b.Loop(); i++ {
		Decode(e, dst, p, i&3)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(dst)), "ns/value")
}
