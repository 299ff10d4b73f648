package storage

import (
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
)

// TestColumns: a parameter has columns of wider rows, from where something begins
// that is stored together.
func TestColumns(t *testing.T) {
	fp8, q8, bf16 := encoding.Encoding(encoding.FP8Block{}), encoding.Encoding(encoding.Q80{}), encoding.Encoding(encoding.Plain{DType: encoding.BF16})
	for _, c := range []struct {
		e            encoding.Encoding
		first, cols  int
		stored       int
		start, row   int // of the weight
		startS, rowS int // of the scales
		skew         int // of the weight, which begins at 2
		want         string
	}{
		{e: fp8, first: 128, cols: 200, stored: 400, start: 128, row: 400, startS: 1, rowS: 4, skew: 2},
		{e: q8, first: 32, cols: 64, stored: 96, start: 34, row: 102, skew: 4},
		{e: bf16, first: 3, cols: 5, stored: 8, start: 6, row: 16, skew: 8},
		{e: bf16, cols: 8, row: 16, skew: 2},
		{e: fp8, first: 64, cols: 200, stored: 400, want: "expected columns of fp8_e4m3_b128 to be taken from where an element of the scales begins, found column 64"},
		{e: q8, first: 16, cols: 64, stored: 96, want: "where an element of the weight begins, found column 16"},
		{e: q8, first: 32, cols: 48, stored: 96, want: "expected a multiple of 32 columns for q8_0, found 48"},
		{e: bf16, first: 4, cols: 5, stored: 8, want: "5 columns from column 4; expected some of the 8 that stored rows have"},
		{e: bf16, first: -1, cols: 5, stored: 8, want: "5 columns from column -1"},
	} {
		const rows = 3
		wide := max(c.stored, c.cols)
		planes, err := c.e.Planes(rows, wide)
		if err != nil {
			t.Fatal(err)
		}
		p := &Parameter{Name: "p", Rows: rows, Cols: c.cols, Lead: 1, Encoding: c.e, Columns: Columns{c.first, c.stored}, Pieces: []Piece{{Rows: rows}}}
		for _, pl := range planes {
			at := Extent{Offset: 2, Bytes: int64(pl.Bytes())}
			*map[encoding.Role]*Extent{encoding.Weight: &p.Pieces[0].Weight, encoding.Scales: &p.Pieces[0].Scales}[pl.Role] = at
		}
		err = p.Check([]int64{1 << 20})
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want %s", c.e.Name(), err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.e.Name(), err)
			continue
		}
		for role, want := range map[encoding.Role][2]int{encoding.Weight: {c.start, c.row}, encoding.Scales: {c.startS, c.rowS}} {
			start, _ := p.RowStart(role)
			row, _ := p.RowBytes(role)
			if start != want[0] || row != want[1] {
				t.Errorf("%s, %s: rows of %d bytes, from byte %d on; want %v", c.e.Name(), role, row, start, want)
			}
		}
		if got := p.Skew(0, encoding.Weight); got != c.skew {
			t.Errorf("%s: begins at %d, want %d", c.e.Name(), got, c.skew)
		}
	}
}

// TestBytes: views of the same bytes count once, other columns and other rows of a stored
// matrix by themselves.
func TestBytes(t *testing.T) {
	bf16 := encoding.Encoding(encoding.Plain{DType: encoding.BF16})
	of := func(offset int64, stored int, c Columns) *Parameter {
		return &Parameter{Rows: 3, Cols: 8, Lead: 1, Encoding: bf16, Columns: c, Pieces: []Piece{{Rows: 3, StoredFirst: stored, Weight: Extent{Offset: offset, Bytes: 96}}}}
	}
	ps := Parameters{"a": of(0, 0, Columns{0, 16}), "same": of(0, 0, Columns{0, 16}), "other columns": of(0, 0, Columns{8, 16}), "other rows": of(0, 3, Columns{0, 16}), "elsewhere": of(96, 0, Columns{})}
	if got := ps.Bytes(); got != 4*3*8*2 {
		t.Errorf("%d bytes, want four times %d", got, 3*8*2)
	}
}
