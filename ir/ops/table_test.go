package ops_test

import (
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/fmacheck"
	"smelt.example/smelt/ir/ops"
)

// TestNothingFused: the reference gives the same bits on every machine. Generic
// functions are compiled where they are instantiated, which is here.
func TestNothingFused(t *testing.T) { fmacheck.Check(t, "smelt.example/smelt/ir/ops") }

func TestTable(t *testing.T) {
	names := ops.Names()
	if !slices.IsSorted(names) || len(names) == 0 {
		t.Errorf("names: %v", names)
	}
	for _, name := range names {
		op := ops.Named(name)
		if op.Name != name || op.Check() != nil {
			t.Errorf("%s finds %s (%v)", name, op.Name, op.Check())
		}
		if strings.Contains(op.Doc, "\n") || strings.HasSuffix(op.Doc, ".") {
			t.Errorf("%s: the doc line is one phrase: %q", name, op.Doc)
		}
	}
	if ops.Named("Matmul") != nil || ops.Named("") != nil {
		t.Error("unknown names are found")
	}
}
