package encoding

import (
	"math"
	"strings"
	"testing"
)

func stored(ps []Plane) Storage {
	var s Storage
	for _, p := range ps {
		st := &Stored{p.DType, p.Rows, p.Cols}
		switch p.Role {
		case Weight:
			s.Weight = st
		case Scales:
			s.Scales = st
		case Biases:
			s.Biases = st
		}
	}
	return s
}

func TestRecogniseAll(t *testing.T) {
	for _, e := range All() {
		for _, size := range [][2]int{{1, 128}, {3, 384}, {129, 256}, {2048, 4096}, {129280, 7168}} {
			ps, err := e.Planes(size[0], size[1])
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Recognise(stored(ps), size[0], size[1]); err != nil || got != e {
				t.Errorf("%s %v: recognised as %v, %v", e.Name(), size, got, err)
			}
		}
		if got, err := Parse(e.Name()); err != nil || got != e {
			t.Errorf("Parse(%q) = %v, %v", e.Name(), got, err)
		}
	}
	if n := len(All()); n < 4+1+1+54+2 {
		t.Errorf("%d encodings", n)
	}
}

// TestRecogniseEquivalents covers storage types that differ from what Planes says.
func TestRecogniseEquivalents(t *testing.T) {
	for _, c := range []struct {
		name       string
		s          Storage
		rows, cols int
		want       Encoding
	}{
		{"fp8, U8 scale", Storage{Weight: &Stored{E4M3, 129, 257}, Scales: &Stored{U8, 2, 3}}, 129, 257, FP8Block{}},
		{"fp8, F32 scale", Storage{Weight: &Stored{E4M3, 129, 257}, Scales: &Stored{F32, 2, 3}}, 129, 257, FP8Block{F32}},
		{"fp8, BF16 scale", Storage{Weight: &Stored{E4M3, 8, 128}, Scales: &Stored{BF16, 1, 1}}, 8, 128, FP8Block{BF16}},
		{"fp4, F32 scale", Storage{Weight: &Stored{I8, 4, 32}, Scales: &Stored{F32, 4, 2}}, 4, 64, FP4{F32}},
		{"fp4 as U8, BF16 scale", Storage{Weight: &Stored{U8, 4, 32}, Scales: &Stored{BF16, 4, 2}}, 4, 64, FP4{BF16}},
		{"fp4, U8 scale", Storage{Weight: &Stored{I8, 4, 32}, Scales: &Stored{U8, 4, 2}}, 4, 64, FP4{}},
		{"fp4, U8 both", Storage{Weight: &Stored{U8, 8, 64}, Scales: &Stored{U8, 8, 4}}, 8, 128, FP4{}},
		{"fp4 as U8", Storage{Weight: &Stored{U8, 4, 32}, Scales: &Stored{E8M0, 4, 2}}, 4, 64, FP4{}},
		{"fp4 as I8", Storage{Weight: &Stored{I8, 4, 32}, Scales: &Stored{E8M0, 4, 2}}, 4, 64, FP4{}},
	} {
		if got, err := Recognise(c.s, c.rows, c.cols); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

func TestRecogniseErrors(t *testing.T) {
	const (
		affine = "expected U32 [N, K*bits/32] with BF16, F16 or F32 scales and biases of one type, both [N, K/group] (bits 2 3 4 5 6 8, group 32 64 128) for N = 8 rows and K = 128 columns, found "
		mx     = "expected U32 [N, K/8] (mxfp4) or [N, K/4] (mxfp8) with U8 scales [N, K/32] and no biases for N = 8 rows and K = 128 columns, found "
		fp8    = "expected F8_E4M3 [N, K] with F8_E8M0, U8, F32 or BF16 scales [ceil(N/128), ceil(K/128)] for N = 8 rows and K = 128 columns, found "
		fp4    = "expected I8 or U8 [N, K/2] with F8_E8M0, U8, F32 or BF16 scales [N, K/32] for N = 8 rows and K = 128 columns, found "
		plain  = "expected BF16, F16, F32 or F64 [N, K] alone for N = 8 rows and K = 128 columns, found "
		none   = "expected BF16, F16, F32 or F64 [N, K] alone; or F8_E4M3"
		u32    = "expected U32 [N, K*bits/32] with BF16, F16 or F32 scales and biases of one type, both [N, K/group] (bits 2 3 4 5 6 8, group 32 64 128); or U32 [N, K/8] (mxfp4) or [N, K/4] (mxfp8) with U8 scales [N, K/32] and no biases for N = 8 rows and K = 128 columns, found "
	)
	for _, c := range []struct {
		name                   string
		weight, scales, biases *Stored
		want                   []string
	}{
		{"nothing", nil, nil, nil, []string{"expected a weight for 8 rows x 128 columns, found no weight, no scales, no biases"}},
		{"scales only", nil, &Stored{U8, 8, 4}, nil, []string{"expected a weight for 8 rows x 128 columns, found no weight, scales U8 [8, 4], no biases"}},
		{"plain, other rows", &Stored{BF16, 9, 128}, nil, nil, []string{plain + "weight BF16 [9, 128], no scales, no biases"}},
		{"plain, transposed", &Stored{F32, 128, 8}, nil, nil, []string{plain + "weight F32 [128, 8]"}},
		{"plain with scales", &Stored{BF16, 8, 128}, &Stored{BF16, 8, 2}, nil, []string{plain, "found weight BF16 [8, 128], scales BF16 [8, 2], no biases"}},
		{"fp8 without scale", &Stored{E4M3, 8, 128}, nil, nil, []string{fp8, "found weight F8_E4M3 [8, 128], no scales, no biases"}},
		{"fp8, half scale", &Stored{E4M3, 8, 128}, &Stored{F16, 1, 1}, nil, []string{fp8, "scales F16 [1, 1]"}},
		{"fp8, float scale per row", &Stored{E4M3, 8, 128}, &Stored{F32, 8, 1}, nil, []string{fp8, "scales F32 [8, 1]"}},
		{"fp8, float scale per tensor", &Stored{E4M3, 8, 128}, &Stored{F32, 1, 0}, nil, []string{fp8, "scales F32 [1, 0]"}},
		{"fp8, biases", &Stored{E4M3, 8, 128}, &Stored{F32, 1, 1}, &Stored{F32, 1, 1}, []string{fp8, "biases F32 [1, 1]"}},
		{"fp4, float scale per block", &Stored{I8, 8, 64}, &Stored{F32, 1, 1}, nil, []string{fp4, "scales F32 [1, 1]"}},
		{"fp8, scale per row", &Stored{E4M3, 8, 128}, &Stored{E8M0, 8, 1}, nil, []string{fp8 + "weight F8_E4M3 [8, 128], scales F8_E8M0 [8, 1], no biases"}},
		{"fp8, floor division", &Stored{E4M3, 8, 128}, &Stored{E8M0, 0, 1}, nil, []string{fp8 + "weight F8_E4M3 [8, 128], scales F8_E8M0 [0, 1]"}},
		{"fp8 e5m2", &Stored{E5M2, 8, 128}, &Stored{E8M0, 1, 1}, nil, []string{none, "weight F8_E5M2 [8, 128]"}},
		{"fp4, unpacked", &Stored{I8, 8, 128}, &Stored{E8M0, 8, 4}, nil, []string{fp4 + "weight I8 [8, 128], scales F8_E8M0 [8, 4], no biases"}},
		{"fp4, group 16", &Stored{I8, 8, 64}, &Stored{E8M0, 8, 8}, nil, []string{fp4 + "weight I8 [8, 64], scales F8_E8M0 [8, 8]"}},
		{"fp4, U8 both, group 64", &Stored{U8, 8, 64}, &Stored{U8, 8, 2}, nil, []string{fp4, "weight U8 [8, 64], scales U8 [8, 2]"}},
		{"mx, six bits", &Stored{U32, 8, 24}, &Stored{U8, 8, 4}, nil, []string{mx + "weight U32 [8, 24], scales U8 [8, 4], no biases"}},
		{"mx, group 16", &Stored{U32, 8, 16}, &Stored{U8, 8, 8}, nil, []string{mx + "weight U32 [8, 16], scales U8 [8, 8]"}},
		{"mx with biases", &Stored{U32, 8, 16}, &Stored{U8, 8, 4}, &Stored{U8, 8, 4}, []string{u32, "biases U8 [8, 4]"}},
		{"affine without biases", &Stored{U32, 8, 16}, &Stored{BF16, 8, 2}, nil, []string{u32, "scales BF16 [8, 2], no biases"}},
		{"affine, mixed types", &Stored{U32, 8, 16}, &Stored{BF16, 8, 2}, &Stored{F16, 8, 2}, []string{u32, "scales BF16 [8, 2], biases F16 [8, 2]"}},
		{"affine, seven bits", &Stored{U32, 8, 28}, &Stored{BF16, 8, 2}, &Stored{BF16, 8, 2}, []string{affine + "weight U32 [8, 28], scales BF16 [8, 2], biases BF16 [8, 2]"}},
		{"affine, group 16", &Stored{U32, 8, 16}, &Stored{BF16, 8, 8}, &Stored{BF16, 8, 8}, []string{affine + "weight U32 [8, 16], scales BF16 [8, 8]"}},
		{"affine, short biases", &Stored{U32, 8, 16}, &Stored{BF16, 8, 2}, &Stored{BF16, 8, 1}, []string{affine, "biases BF16 [8, 1]"}},
		{"integers", &Stored{I64, 8, 128}, nil, nil, []string{none, "found weight I64 [8, 128]"}},
		{"an unknown type", &Stored{"F4", 8, 128}, nil, nil, []string{none, "found weight F4 [8, 128]"}},
		{"no type", &Stored{"", 8, 128}, nil, nil, []string{none, "found weight  [8, 128]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Recognise(Storage{c.weight, c.scales, c.biases}, 8, 128)
			if err == nil {
				t.Fatalf("recognised as %s", e.Name())
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("message\n%s\ndoes not hold\n%s", err, want)
				}
			}
		})
	}
}

func TestSizeLimits(t *testing.T) {
	for _, size := range [][2]int{{0, 1}, {1, 0}, {-1, 128}, {128, -1}, {math.MaxInt, math.MaxInt}, {1 << 40, 1 << 40}} {
		if _, err := Recognise(Storage{Weight: &Stored{F32, size[0], size[1]}}, size[0], size[1]); err == nil {
			t.Errorf("Recognise accepts %v", size)
		}
		for _, e := range All() {
			if _, err := e.Planes(size[0], size[1]); err == nil {
				t.Errorf("%s accepts %v", e.Name(), size)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, name := range []string{"", "BF16", "affine7_g64_bf16", "affine4_g16_bf16", "affine4_g64_f64", "mxfp6", "q4"} {
		_, err := Parse(name)
		want := "expected the name of an encoding (such as bf16, fp8_e4m3_b128, fp4_e2m1_g32, affine2_g32_bf16, mxfp4"
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Parse(%q): %v", name, err)
		}
	}
}

// TestIncompleteFamily: a family with an empty column stops the program at its start.
func TestIncompleteFamily(t *testing.T) {
	breaks := map[string]func(*family){
		"name":         func(f *family) { f.name = "" },
		"storedAs":     func(f *family) { f.storedAs = "" },
		"members":      func(f *family) { f.members = nil },
		"decode32":     func(f *family) { f.decode32 = nil },
		"decode64":     func(f *family) { f.decode64 = nil },
		"encode":       func(f *family) { f.encode = nil },
		"foreign":      func(f *family) { f.members = []Encoding{FP4{}} },
		"double entry": func(f *family) { f.members = append(f.members, f.members[0]) },
	}
	for name, spoil := range breaks {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil || name != "name" && !strings.Contains(r.(string), "plain") {
					t.Errorf("panic %v, want one that names the family", r)
				}
			}()
			// Its members still point to the real family, so a whole copy is refused too: only the
			// real one can be used for the entry that repeats a member.
			saved := plainFamily
			defer func() { plainFamily = saved }()
			spoil(&plainFamily)
			index([]*family{&plainFamily})
		})
	}
}

// FuzzRecognise: no types and shapes panic, and what is recognised has exactly that storage.
func FuzzRecognise(f *testing.F) {
	f.Add("U32", 8, 16, "BF16", 8, 2, "BF16", 8, 2, 8, 128)
	f.Add("F8_E4M3", 129, 257, "F8_E8M0", 2, 3, "", 0, 0, 129, 257)
	f.Add("BF16", 3, 5, "", 0, 0, "", 0, 0, 3, 5)
	f.Add("I8", 4, 32, "F8_E8M0", 4, 2, "", -1, math.MaxInt, 4, 64)
	f.Fuzz(func(t *testing.T, wd string, wr, wc int, sd string, sr, sc int, bd string, br, bc int, rows, cols int) {
		plane := func(d string, r, c int) *Stored {
			if d == "" {
				return nil
			}
			return &Stored{DType(d), r, c}
		}
		s := Storage{plane(wd, wr, wc), plane(sd, sr, sc), plane(bd, br, bc)}
		e, err := Recognise(s, rows, cols)
		if err != nil {
			return
		}
		ps, err := e.Planes(rows, cols)
		if err != nil || !hasShapes(ps, s) || !e.form().hasTypes(s) {
			t.Fatalf("%s recognised for %d x %d: %v", s, rows, cols, err)
		}
	})
}
