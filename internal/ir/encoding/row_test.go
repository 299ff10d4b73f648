package encoding_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/num"
)

func layout(t *testing.T, name string, width int) encoding.RowLayout {
	t.Helper()
	f, err := encoding.ParseRow(name)
	if err != nil {
		t.Fatal(err)
	}
	l, err := f.Layout(width)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRowNames(t *testing.T) {
	for _, name := range []string{"f32", "bf16", "fp8_b64_r0", "fp8_b64_r32", "fp8_b64_r64", "fp4_b32"} {
		if f, err := encoding.ParseRow(name); err != nil || f.Name() != name || f.Doc() == "" {
			t.Errorf("%s: %s %v", name, f.Name(), err)
		}
	}
	for _, name := range []string{"", "f16", "f320", "fp8_b64_r", "fp8_b64_rN", "fp8_b64_r-1", "fp8_b64_r064", "fp8_b64_r+6", "fp8_b64_r6x", "fp8_b64_r99999999999999999999", "fp4_b32_r64"} {
		_, err := encoding.ParseRow(name)
		want := fmt.Sprintf("expected the name of a row format (f32, bf16, fp8_b64_rN, fp4_b32; N is a number), found %q", name)
		if err == nil || err.Error() != want {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

func TestRowLayouts(t *testing.T) {
	for _, c := range []struct {
		name  string
		width int
		bytes int
		want  string // kind first+count @offset, /block @scales
	}{
		{"f32", 512, 2048, "f32 0+512 @0"},
		{"bf16", 512, 1024, "bf16 0+512 @0"},
		{"bf16", 3, 8, "bf16 0+3 @0"},
		{"fp8_b64_r64", 512, 584, "e4m3 0+448 @0 /64 @576, bf16 448+64 @448"},
		{"fp8_b64_r64", 128, 200, "e4m3 0+64 @0 /64 @192, bf16 64+64 @64"},
		{"fp8_b64_r32", 96, 136, "e4m3 0+64 @0 /64 @128, bf16 64+32 @64"},
		{"fp8_b64_r64", 160, 232, "e4m3 0+96 @0 /64 @224, bf16 96+64 @96"}, // a block of 32 at the end
		{"fp8_b64_r3", 8, 16, "e4m3 0+5 @0 /64 @14, bf16 5+3 @8"},          // the bf16 part on a word
		{"fp8_b64_r0", 65, 72, "e4m3 0+65 @0 /64 @65"},
		{"fp4_b32", 128, 68, "e2m1 0+128 @0 /32 @64"},
		{"fp4_b32", 64, 36, "e2m1 0+64 @0 /32 @32"},
		{"fp4_b32", 33, 20, "e2m1 0+33 @0 /32 @17"},
	} {
		l := layout(t, c.name, c.width)
		var parts []string
		for _, s := range l.Segments {
			p := fmt.Sprintf("%s %d+%d @%d", s.Kind, s.FirstElement, s.Count, s.Offset)
			if s.Block > 0 {
				p += fmt.Sprintf(" /%d @%d", s.Block, s.ScaleOffset)
			}
			parts = append(parts, p)
		}
		if got := strings.Join(parts, ", "); got != c.want || l.Bytes != c.bytes || l.Width != c.width || l.Format.Name() != c.name {
			t.Errorf("%s of %d: %d bytes: %s", c.name, c.width, l.Bytes, got)
		}
	}
	for _, c := range []struct {
		name  string
		width int
		want  string
	}{
		{"f32", 0, "expected a row of 1 to 1048576 elements for f32, found 0"},
		{"fp4_b32", 1<<20 + 1, "expected a row of 1 to 1048576 elements for fp4_b32, found 1048577"},
		{"fp8_b64_r64", 64, "fp8_b64_r64: expected a row of more than 64 elements, found 64"},
	} {
		f, err := encoding.ParseRow(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Layout(c.width); err == nil || err.Error() != c.want {
			t.Errorf("%s of %d: error %v", c.name, c.width, err)
		}
	}
}

// TestRowBytes has rows written out by hand.
func TestRowBytes(t *testing.T) {
	for _, c := range []struct {
		name string
		row  []float64
		want string
	}{
		{"f32", []float64{1, -2.5}, "0000803f 000020c0"},
		{"bf16", []float64{1, -2.5, 3.141592653589793}, "803f20c0 49400000"},
		// amax 500 needs scale 2: 250 is e4m3 0x78 (256), 500 is 0x78 at twice the value; 1 is 0.5; the scale is 2^1.
		{"fp8_b64_r2", []float64{500, 1, -0.001953125, 0, 1, -1}, "7830 8000 803f 80bf 80"},
		{"fp8_b64_r0", []float64{448, -448, 0.001953125}, "7efe01 7f"},
		{"fp4_b32", []float64{6, -3, 0.5, 0, -1.5}, "d7 01 0b 7f"},
		{"fp4_b32", append(make([]float64, 32), 12), strings.Repeat("00", 16) + "07 01 80"},
	} {
		l := layout(t, c.name, len(c.row))
		got := make([]byte, l.Bytes)
		for i := range got {
			got[i] = 0xAA // EncodeRow clears what it does not write
		}
		encoding.EncodeRow(l, got, c.row)
		want := strings.ReplaceAll(c.want, " ", "")
		want += strings.Repeat("00", l.Bytes-len(want)/2)
		if s := fmt.Sprintf("%x", got); s != want {
			t.Errorf("%s of %v is %s, want %s", c.name, c.row, s, want)
		}
	}
}

// rounded is a row as the format holds it, by the segments.
func rounded[F encoding.Float](l encoding.RowLayout, row []F) []F {
	out := slices.Clone(row)
	for _, s := range l.Segments {
		values := out[s.FirstElement : s.FirstElement+s.Count]
		switch s.Kind {
		case encoding.RowF32:
			for i, x := range values {
				values[i] = F(float32(x))
			}
		case encoding.RowBF16:
			for i, x := range values {
				values[i] = F(num.BF16ToF32(num.F64ToBF16(float64(x))))
			}
		default:
			code, err := encoding.BlockCodeNamed(string(s.Kind))
			if err != nil {
				panic(err)
			}
			for b := range slices.Chunk(values, s.Block) {
				encoding.Round(code, b)
			}
		}
	}
	return out
}

// TestRows: a row comes back as the rounding gives it, and a rounded one without loss.
func TestRows(t *testing.T) {
	r := rand.New(rand.NewPCG(91, 0))
	for _, name := range []string{"f32", "bf16", "fp8_b64_r0", "fp8_b64_r3", "fp8_b64_r32", "fp8_b64_r64", "fp4_b32"} {
		for _, width := range []int{1, 4, 31, 32, 33, 65, 96, 128, 160, 512} {
			f, err := encoding.ParseRow(name)
			if err != nil {
				t.Fatal(err)
			}
			l, err := f.Layout(width)
			if err != nil {
				continue // TestRowLayouts has the widths that cannot be
			}
			for _, magnitude := range []float64{0, 1e-38, 1e-30, 1e-6, 1, 100, 1e30} {
				row := make([]float64, width)
				for i := range row {
					row[i] = r.NormFloat64() * magnitude * math.Exp2(r.Float64()*8)
				}
				comesBack(t, l, row)
				row32 := make([]float32, width)
				for i, x := range row {
					row32[i] = float32(x)
				}
				comesBack(t, l, row32)
			}
		}
	}
}

func comesBack[F encoding.Float](t *testing.T, l encoding.RowLayout, row []F) {
	t.Helper()
	bytes, got := make([]byte, l.Bytes), make([]F, l.Width)
	want := rounded(l, row)
	for _, given := range [][]F{row, want} {
		encoding.EncodeRow(l, bytes, given)
		encoding.DecodeRow(l, got, bytes)
		for i := range got {
			if math.Float64bits(float64(got[i])) != math.Float64bits(float64(want[i])) {
				t.Fatalf("%s of %d: element %d comes back as %v, want %v", l.Format.Name(), l.Width, i, got[i], want[i])
			}
		}
	}
}

// TestEveryScale: decoding knows each scale and code.
func TestEveryScale(t *testing.T) {
	l := layout(t, "fp8_b64_r0", 4)
	row, values := []byte{0x7E, 0x01, 0x80, 0x7F, 0, 0, 0, 0}, make([]float64, 4)
	for s := range 256 {
		row[l.Segments[0].ScaleOffset] = byte(s)
		encoding.DecodeRow(l, values, row)
		scale := math.Ldexp(1, s-127)
		if s == 255 {
			scale = math.NaN()
		}
		for i, want := range []float64{448 * scale, 0x1p-9 * scale, math.Copysign(0, -1) * scale, math.NaN()} {
			if got := values[i]; got != want && (got == got || want == want) {
				t.Errorf("scale %d: element %d is %v, want %v", s, i, got, want)
			}
		}
	}
}

// TestBlockExponent: the least power of two that fits, found by trying all.
func TestBlockExponent(t *testing.T) {
	r := rand.New(rand.NewPCG(92, 0))
	for _, c := range []struct {
		code    *encoding.BlockCode
		largest float64
		least   int
	}{{encoding.E4M3Blocks, 448, -22}, {encoding.E2M1Blocks, 6, -126}} {
		check := func(amax float64) {
			e := c.least
			for e < 127 && amax > math.Ldexp(c.largest, e) {
				e++
			}
			if got := c.code.Exponent(amax); got != e {
				t.Errorf("largest %g: exponent of %v is %d, want %d", c.largest, amax, got, e)
			}
		}
		for e := -150; e <= 130; e++ {
			edge := math.Ldexp(c.largest, e)
			check(edge)
			check(math.Nextafter(edge, math.Inf(1)))
			check(math.Nextafter(edge, 0))
			check(math.Ldexp(1+r.Float64(), e))
		}
		check(0)
		check(math.MaxFloat64)
		check(math.Inf(1))
		check(math.SmallestNonzeroFloat64)
	}
}

func TestRowSizePanics(t *testing.T) {
	l := layout(t, "fp4_b32", 64)
	for name, f := range map[string]func(){
		"bytes":  func() { encoding.EncodeRow(l, make([]byte, 35), make([]float32, 64)) },
		"values": func() { encoding.DecodeRow(l, make([]float64, 63), make([]byte, 36)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
