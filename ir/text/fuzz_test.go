package text_test

import (
	"reflect"
	"testing"

	"smelt.example/smelt/internal/ir/attr"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// fields lists the attribute fields of an operation as the text spells them.
func fields(op *ir.Op) (names []string) {
	if op.Attr == nil {
		return nil
	}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(op.Attr)) {
		names = append(names, attr.FieldName(f.Name))
	}
	return names
}

// FuzzParse: no text panics, and one that parses prints to a text that parses
// to the same print.
func FuzzParse(f *testing.F) {
	canonical, others := cases(f)
	for _, src := range canonical {
		f.Add(src)
	}
	for _, src := range others {
		f.Add(src)
	}
	for _, bad := range badTexts {
		f.Add(bad.src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		m, err := text.Parse("fuzz", src)
		if err != nil {
			if _, ok := err.(*text.Error); !ok {
				t.Errorf("the error is no *text.Error: %v", err)
			}
			return
		}
		if err := ir.Verify(m); err != nil {
			t.Fatalf("parsed and not verified: %v", err)
		}
		printed := text.String(m)
		again, err := text.Parse("printed", printed)
		if err != nil {
			t.Fatalf("%v in\n%s", err, printed)
		}
		if twice := text.String(again); twice != printed {
			t.Fatalf("printed\n%s\nthen\n%s", printed, twice)
		}
	})
}
