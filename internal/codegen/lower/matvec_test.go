package lower

import (
	"testing"

	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/encoding"
)

// TestSharesFactors: rows that a SIMD group works on at once have one scale only
// where all four are sure to lie in one block of stored rows.
func TestSharesFactors(t *testing.T) {
	block, row := &encoding.Factor{Group: 128, GroupRows: 128}, &encoding.Factor{Group: 32, GroupRows: 1}
	for _, c := range []struct {
		name                                 string
		scales, biases                       *encoding.Factor
		n, lead, pieces, firstRow            int
		rows                                 bool
		columns16, columns64, columns256, by bool // by: columns 48
	}{
		{"a matrix", block, nil, 70, 1, 1, 0, true, true, true, false, false},
		{"rows of a matrix", block, nil, 70, 1, 1, 8, true, true, true, false, false},
		{"rows from the middle of four", block, nil, 70, 1, 1, 126, false, true, true, false, false},
		{"matrices of whole fours", block, nil, 72, 4, 1, 4, true, true, true, false, false},
		{"matrices that begin within four", block, nil, 70, 4, 1, 0, false, true, true, false, false},
		{"a piece each", block, nil, 70, 4, 4, 0, true, true, true, false, false},
		{"a scale a row", row, nil, 64, 1, 1, 0, false, true, false, false, false},
		{"a bias a row", block, row, 64, 1, 1, 0, false, true, false, false, false},
		{"none", nil, nil, 64, 1, 1, 0, true, true, true, true, true},
	} {
		m := &matrix{n: c.n, pieces: c.pieces, scales: factorPlane{Factor: c.scales}, biases: factorPlane{Factor: c.biases},
			p: &storage.Parameter{Lead: c.lead, Pieces: make([]storage.Piece, c.pieces)}}
		m.p.Pieces[0].StoredFirst = c.firstRow
		if got := m.sharesFactors(); got != c.rows {
			t.Errorf("%s: rows share factors: %v", c.name, got)
		}
		for columns, want := range map[int]bool{16: c.columns16, 64: c.columns64, 256: c.columns256, 48: c.by} {
			if got := m.sameFactors(columns); got != want {
				t.Errorf("%s: %d columns have the same factors: %v", c.name, columns, got)
			}
		}
	}
}
