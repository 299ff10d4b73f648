package devmem

import (
	"encoding/binary"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/encoding"
)

// TestColumns: what a parameter has of its rows begins Start bytes after they do,
// in one piece and in several.
func TestColumns(t *testing.T) {
	const base = 4096
	at := func(offset int64) storage.Piece {
		return storage.Piece{Rows: 1, Weight: storage.Extent{Offset: offset}}
	}
	m := Memory{Tables: &Tables{Base: 1 << 20}, Weight: func(_ int, offset, _ int64) (uint64, error) { return base + uint64(offset), nil }}
	e := encoding.Q80{}
	m.Params = storage.Parameters{
		"one":  {Name: "one", Rows: 1, Cols: 32, Lead: 1, Encoding: e, Columns: storage.Columns{First: 32, Stored: 96}, Pieces: []storage.Piece{at(6)}},
		"some": {Name: "some", Rows: 2, Cols: 32, Lead: 2, Encoding: e, Columns: storage.Columns{First: 32, Stored: 96}, Pieces: []storage.Piece{at(300), at(7)}},
	}
	for _, c := range []struct {
		w    program.WeightArg
		want uint64
	}{
		{program.WeightArg{Param: "one", Align: 2}, base + 6},
		{program.WeightArg{Param: "one", Align: 2, Start: 34, Stride: 102}, base + 40},
		{program.WeightArg{Param: "one", Align: 16, Start: 34, Stride: 102}, base + 32},
		{program.WeightArg{Param: "some", Align: 1, Start: 34, Stride: 102}, base + 41},
		{program.WeightArg{Param: "some", Align: 1, Start: 34, Stride: 102, Table: true}, 1 << 20},
	} {
		if got, err := m.weight(c.w); err != nil || got != c.want {
			t.Errorf("%+v: %d, %v; want %d", c.w, got, err, c.want)
		}
	}
	first, second := binary.LittleEndian.Uint64(m.Tables.Bytes()), binary.LittleEndian.Uint64(m.Tables.Bytes()[8:])
	if first != 293 || second != 0 {
		t.Errorf("pieces lie %d and %d bytes after the first, want 293 and 0", first, second)
	}
}
