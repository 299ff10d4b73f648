package encoding

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vectors are matrices and what code independent of this package, in numpy, stores and reads back.
type vectors struct {
	Inputs []struct {
		Name       string
		Rows, Cols int
		Values     hexBytes // float64, little-endian
	}
	Cases []struct {
		Input, Encoding        string
		Weight, Scales, Biases hexBytes
		DecodedCRC             uint32 // CRC-32 of the decoded float64 values, little-endian
	}
	// Stored are planes with any bits, and their values: float32, little-endian.
	Stored []struct {
		Encoding               string
		Rows, Cols             int
		Weight, Scales, Biases hexBytes
		Values                 hexBytes
	}
}

// readVectors reads the files of testdata.
func readVectors(t *testing.T) (all vectors) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v vectors
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all.Inputs, all.Cases, all.Stored = append(all.Inputs, v.Inputs...), append(all.Cases, v.Cases...), append(all.Stored, v.Stored...)
	}
	return all
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func TestVectors(t *testing.T) {
	v := readVectors(t)
	seen := map[string]bool{}
	for _, c := range v.Cases {
		seen[c.Encoding] = true
		t.Run(c.Encoding+"/"+c.Input, func(t *testing.T) {
			e, err := Parse(c.Encoding)
			if err != nil {
				t.Fatal(err)
			}
			for _, in := range v.Inputs {
				if in.Name != c.Input {
					continue
				}
				values := make([]float64, in.Rows*in.Cols)
				for i := range values {
					values[i] = math.Float64frombits(binary.LittleEndian.Uint64(in.Values[8*i:]))
				}
				p, err := Encode(e, values, in.Rows, in.Cols)
				if err != nil {
					t.Fatal(err)
				}
				want := Planes{c.Weight, c.Scales, c.Biases}
				for _, r := range []Role{Weight, Scales, Biases} {
					if string(p.Of(r)) != string(want.Of(r)) {
						t.Fatalf("%s:\n%x, want\n%x", r, p.Of(r), want.Of(r))
					}
				}
				if got := decodedCRC(e, p, in.Rows, in.Cols); got != c.DecodedCRC {
					t.Fatalf("decoded values have CRC %#x, want %#x", got, c.DecodedCRC)
				}
			}
		})
	}
	for _, e := range All() {
		if !seen[e.Name()] {
			t.Errorf("no vector for %s", e.Name())
		}
	}
}

// TestStored decodes planes of any bits. Where a value is NaN, Decode's may be another NaN.
func TestStored(t *testing.T) {
	for _, c := range readVectors(t).Stored {
		e, err := Parse(c.Encoding)
		if err != nil {
			t.Fatal(err)
		}
		p := Planes{c.Weight, c.Scales, c.Biases}
		if err := Check(e, p, c.Rows, c.Cols); err != nil {
			t.Fatal(err)
		}
		row := make([]float32, c.Cols)
		for r := range c.Rows {
			Decode(e, row, p, r)
			for k, got := range row {
				want := math.Float32frombits(binary.LittleEndian.Uint32(c.Values[4*(r*c.Cols+k):]))
				if math.Float32bits(got) != math.Float32bits(want) && (got == got || want == want) {
					t.Fatalf("%s [%d,%d]: %v (%#x), want %v (%#x)", c.Encoding, r, k, got, math.Float32bits(got), want, math.Float32bits(want))
				}
			}
		}
	}
}

func decodedCRC(e Encoding, p Planes, rows, cols int) uint32 {
	var out []byte
	row := make([]float64, cols)
	for r := range rows {
		Decode(e, row, p, r)
		for _, x := range row {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
		}
	}
	return crc32.ChecksumIEEE(out)
}

// TestRoundTrip encodes random matrices and bounds the error by the format's step.
func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, e := range All() {
		t.Run(e.Name(), func(t *testing.T) {
			const rows, cols = 3, 256
			values := make([]float64, rows*cols)
			for i := range values {
				values[i] = rng.NormFloat64()
			}
			p, err := Encode(e, values, rows, cols)
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(e, p, rows, cols); err != nil {
				t.Fatal(err)
			}
			row := make([]float64, cols)
			for r := range rows {
				Decode(e, row, p, r)
				for c, got := range row {
					if d, lim := math.Abs(got-values[r*cols+c]), step(e, values); d > lim {
						t.Fatalf("[%d,%d] %v became %v: error %v over %v", r, c, values[r*cols+c], got, d, lim)
					}
				}
			}
			// What is decoded is representable, so another round changes nothing, except in affine and
			// mxfp4, which may pick another scale.
			if _, affine := e.(Affine); affine || e == (MX{4}) {
				return
			}
			again := make([]float64, len(values))
			for r := range rows {
				Decode(e, again[r*cols:][:cols], p, r)
			}
			q, err := Encode(e, again, rows, cols)
			if err != nil {
				t.Fatal(err)
			}
			if a, b := decodedCRC(e, p, rows, cols), decodedCRC(e, q, rows, cols); a != b {
				t.Error("a second round trip changes values")
			}
		})
	}
}

// step bounds the error of encoding values in e.
func step(e Encoding, values []float64) float64 {
	amax := maxAbs(values)
	switch e := e.(type) {
	case Plain:
		return amax * map[DType]float64{BF16: 0x1p-8, F16: 0x1p-11, F32: 0x1p-24, F64: 0}[e.DType]
	case Affine:
		// The range is at most 2 amax. Half a step is lost to rounding, one more where the scale was
		// adjusted to make zero exact and the far end clips.
		half := amax / float64(int(1)<<e.Bits-1)
		rounding := map[DType]float64{BF16: 0x1p-9, F16: 0x1p-12, F32: 0x1p-24}[e.Scale]
		return 3*half + 3*amax*rounding
	case MX:
		if e.Bits == 4 {
			return amax / 2.9
		}
		return amax / 14
	case FP4:
		return amax / 5
	case Q80:
		return amax / 250
	}
	return amax / 14
}

func TestEncodeErrors(t *testing.T) {
	row := func(v float64) []float64 {
		out := make([]float64, 128)
		out[3] = v
		return out
	}
	for _, c := range []struct {
		name       string
		e          Encoding
		values     []float64
		rows, cols int
		want       string
	}{
		{"count", Plain{F32}, make([]float64, 5), 2, 3, "expected 6 values for 2 rows x 3 columns, found 5"},
		{"columns", FP4{}, make([]float64, 33), 1, 33, "expected a multiple of 32 columns for fp4_e2m1_g32, found 33"},
		{"no rows", FP4{}, nil, 0, 32, "expected a matrix of 1 to 2^48 values, found 0 rows x 32 columns"},
		{"NaN", FP4{}, row(math.NaN()), 1, 128, "expected finite values, found NaN at index 3"},
		{"infinity", Affine{4, 64, BF16}, row(math.Inf(-1)), 1, 128, "expected finite values, found -Inf at index 3"},
		{"beyond float32", MX{4}, row(1e39), 1, 128, "expected finite values, found +Inf at index 3 in float32, in which MLX computes mxfp4"},
		{"beyond E8M0", FP8Block{}, row(1e300), 1, 128, "expected magnitudes of at most 448 * 2^127, found 1e+300"},
		{"beyond E8M0 of FP4", FP4{}, row(1e300), 1, 128, "expected magnitudes of at most 6 * 2^127, found 1e+300"},
		{"beyond F16", Affine{4, 64, F16}, row(1e6), 1, 128, "expected values whose scale and bias fit F16, found more in values 0 to 63"},
		{"beyond F16 of Q8_0", Q80{}, row(9e6), 1, 128, "expected values whose scale fits F16, found more in values 0 to 31"},
		{"not in the table", Affine{7, 64, F16}, row(1), 1, 128, `expected an encoding of the table, found "affine7_g64_f16"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Encode(c.e, c.values, c.rows, c.cols)
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if p.Weight != nil || p.Scales != nil || p.Biases != nil {
				t.Error("planes along with an error")
			}
		})
	}
}

func TestCheckErrors(t *testing.T) {
	p, err := Encode(Affine{4, 64, BF16}, make([]float64, 256), 2, 128)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		p    Planes
		want string
	}{
		{"short weight", Planes{p.Weight[1:], p.Scales, p.Biases}, "expected 128 bytes of weight for 2 x 128 in affine4_g64_bf16, found 127"},
		{"no scales", Planes{p.Weight, nil, p.Biases}, "expected 8 bytes of scales"},
		{"long biases", Planes{p.Weight, p.Scales, append(p.Biases, 0)}, "expected 8 bytes of biases for 2 x 128 in affine4_g64_bf16, found 9"},
	} {
		if err := Check(Affine{4, 64, BF16}, c.p, 2, 128); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
	}
	if err := Check(MX{4}, Planes{Weight: make([]byte, 16), Scales: []byte{1}, Biases: []byte{1}}, 1, 32); err == nil {
		t.Error("a plane that mxfp4 does not have passes")
	}
}

// TestRoundedScaleMargin supports the claim at roundedScale: around each change of its result, the
// next float32 is farther from it than any float64 logarithm errs.
func TestRoundedScaleMargin(t *testing.T) {
	log2 := func(x float64) float64 { // near half-integers: by the series of log2(x^2/2^(2n+1))/2
		f, e := math.Frexp(x * x)
		if f > 0.75 {
			f, e = f/2, e+1
		}
		u, _ := new(big.Float).Quo(big.NewFloat(f-0.5), big.NewFloat(f+0.5)).Float64()
		return float64(e-1)/2 + (u+u*u*u/3)/math.Ln2
	}
	for n := -126; n <= 126; n++ {
		mid := float32(math.Ldexp(math.Sqrt2, n))
		half := float64(n) + 0.5
		ulp := float64(math.Nextafter32(float32(half), float32(math.Inf(1)))) - half
		below := half - float64(math.Nextafter32(float32(half), float32(math.Inf(-1))))
		x := mid
		for range 64 {
			x = math.Nextafter32(x, 0)
		}
		for range 128 {
			l := log2(float64(x))
			for _, edge := range []float64{half - below/2, half + ulp/2} {
				if d := math.Abs(l - edge); d < 1e-12 {
					t.Errorf("log2(%v) is %.2g from the change of its rounding at %v", x, d, edge)
				}
			}
			x = math.Nextafter32(x, float32(math.Inf(1)))
		}
	}
}
