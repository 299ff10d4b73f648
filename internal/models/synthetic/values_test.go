package synthetic

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
)

// TestValues: decoded matrices of every encoding have the mean and the deviation asked for, the
// latter within the powers of two that scales have, and nothing that is not a
// number.
func TestValues(t *testing.T) {
	const rows, cols, std = 256, 256, 1.0 / 16
	for _, e := range encoding.All() {
		var mean, square float64
		for _, v := range decoded(t, e, rows, cols, 0, std) {
			mean += v / (rows * cols)
			square += v * v / (rows * cols)
		}
		if got := math.Sqrt(square); !(got > std/1.5 && got < std*1.5) || math.Abs(mean) > std/50 {
			t.Errorf("%s: mean %g, size %g; expected 0 and %g", e.Name(), mean, got, std)
		}
	}
	for _, dtype := range []encoding.DType{encoding.BF16, encoding.F16, encoding.F32, encoding.F64} {
		low, high := math.Inf(1), math.Inf(-1)
		for _, v := range decoded(t, encoding.Plain{DType: dtype}, 1, 4096, 1, 0.1) {
			low, high = min(low, v), max(high, v)
		}
		if low < 0.8 || low > 0.97 || high < 1.03 || high > 1.2 {
			t.Errorf("%s around 1: from %g to %g", dtype, low, high)
		}
	}
}

// decoded makes the planes of one matrix, as Fill does, and decodes them.
func decoded(t *testing.T, e encoding.Encoding, rows, cols int, mean, std float64) []float64 {
	t.Helper()
	planes, err := e.Planes(rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	var stored encoding.Planes
	for i, g := range generators(e, mean, std) {
		data := make([]byte, planes[i].Bytes())
		key := uint64(planes[i].Role) + 1
		if planes[i].Role == encoding.Biases {
			key = uint64(encoding.Scales) + 1
		}
		g.fill(data, key, 0)
		switch planes[i].Role {
		case encoding.Weight:
			stored.Weight = data
		case encoding.Scales:
			stored.Scales = data
		case encoding.Biases:
			stored.Biases = data
		}
	}
	if err := encoding.Check(e, stored, rows, cols); err != nil {
		t.Fatal(err)
	}
	all := make([]float64, rows*cols)
	for r := range rows {
		encoding.Decode(e, all[r*cols:(r+1)*cols], stored, r)
	}
	return all
}

// TestCodes: FP8 codes are all but the two NaNs.
func TestCodes(t *testing.T) {
	data := make([]byte, 1<<16)
	generators(encoding.FP8Block{}, 0, 1)[0].fill(data, 5, 0)
	var counts [256]int
	for _, b := range data {
		counts[b]++
	}
	for code, n := range counts {
		if isNaN := code&0x7f == 0x7f; isNaN != (n == 0) {
			t.Errorf("code %#x occurs %d times", code, n)
		}
	}
}

// TestPieces: cut anywhere between units, a tensor has the same bytes as in
// one piece, and its last bytes need not fill a word.
func TestPieces(t *testing.T) {
	for name, g := range map[string]generator{
		"codes":  generators(encoding.FP8Block{}, 0, 1)[0],
		"scales": generators(encoding.FP8Block{}, 0, 1)[1],
		"biases": generators(mlx4, 0, 1)[2],
		"floats": generators(encoding.Plain{DType: encoding.F32}, 1, 2)[0],
		"ids":    idTable{experts: 7, chosen: 3},
		"blocks": words{encoding.Random{Keep: []uint64{0, 0xff, 1 << 40}, Add: []uint64{1, 2, 3}}},
	} {
		unit := g.unit()
		for _, size := range []int64{unit, 10 * unit, 10*unit + 4} {
			if _, table := g.(idTable); table && size%unit != 0 {
				continue // a table has whole rows
			}
			whole := make([]byte, size)
			g.fill(whole, 9, 0)
			for cut := unit; cut < size; cut += unit {
				pieces := make([]byte, size)
				g.fill(pieces[:cut], 9, 0)
				g.fill(pieces[cut:], 9, cut)
				if !bytes.Equal(pieces, whole) {
					t.Errorf("%s: %d bytes cut at %d differ", name, size, cut)
				}
			}
		}
	}
}

// TestTable: every row of a hash layer's table has different experts, and all
// experts occur.
func TestTable(t *testing.T) {
	const experts, chosen, rows = 16, 6, 1000
	data := make([]byte, 8*chosen*rows)
	idTable{experts, chosen}.fill(data, 11, 0)
	var counts [experts]int
	for r := range rows {
		var seen [experts]bool
		for i := range chosen {
			id := binary.LittleEndian.Uint64(data[8*(r*chosen+i):])
			if id >= experts || seen[id] {
				t.Fatalf("row %d has expert %d twice or beyond %d", r, id, experts)
			}
			seen[id] = true
			counts[id]++
		}
	}
	for id, n := range counts {
		if even := rows * chosen / experts; n < even/2 || n > even*2 {
			t.Errorf("expert %d occurs %d times, evenly it would be %d", id, n, even)
		}
	}
}

// BenchmarkFill fills the experts of one Flash layer again and again: memory
// that is already there.
func BenchmarkFill(b *testing.B) {
	data := make([]byte, 256<<20)
	for name, g := range map[string]generator{
		"any": generators(encoding.FP4{}, 0, 1)[0], "e4m3": generators(encoding.FP8Block{}, 0, 1)[0], "biases": generators(mlx4, 0, 1)[2],
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				g.fill(data, 1, 0)
			}
		})
	}
}
