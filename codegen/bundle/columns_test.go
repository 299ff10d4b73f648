package bundle

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir"
)

// TestColumns: which columns of stored rows a parameter has survives the bundle's document.
func TestColumns(t *testing.T) {
	declared := &ir.Param{Name: "p", Type: ir.Tensor(ir.F32, ir.Dims(3, 64)...)}
	p := &storage.Parameter{Name: "p", Rows: 3, Cols: 64, Lead: 1, Encoding: encoding.Q80{}, Columns: storage.Columns{First: 32, Stored: 160},
		Pieces: []storage.Piece{{Rows: 3, Weight: storage.Extent{Offset: 2, Bytes: 510}}}}
	for _, want := range []*storage.Parameter{p, {Name: "p", Rows: 3, Cols: 64, Lead: 1, Integer: encoding.I32, Pieces: []storage.Piece{{Rows: 3}}}} {
		doc := encodeParams([]*ir.Param{declared}, storage.Parameters{"p": want})
		got, err := doc[0].parameter(declared)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
}
