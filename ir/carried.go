package ir

import (
	"fmt"
	"math"
	"reflect"

	"smelt.example/smelt/internal/ir/attr"
)

// Verify refuses what the text form cannot carry, with the functions of this file: the
// text would parse to another module, or to none.

// maxBrackets bounds the depth of a formula's brackets. The parser accepts a few more,
// which stand around formulas.
const maxBrackets = 60

// carriedExpr refuses formulas that have no text.
func carriedExpr(e Expr) error {
	if e.Overflow() {
		return fmt.Errorf("expression leaves the 64-bit range")
	}
	if e.brackets() > maxBrackets {
		return fmt.Errorf("expression has more than %d brackets in each other", maxBrackets)
	}
	var err error
	e.Walk(func(s string) {
		if !validName(s) && err == nil {
			err = fmt.Errorf("symbol %q is not a name", s)
		}
	})
	return err
}

// brackets counts the brackets that are open at once in the text of e, at most.
func (e Expr) brackets() int {
	most := 0
	for _, t := range e.terms {
		for _, a := range t.atoms {
			if a.num != nil {
				most = max(most, 2+a.num.brackets())
			}
			if a.other != nil {
				most = max(most, 1+a.other.brackets())
			}
		}
	}
	return most
}

// carriedAttr refuses attributes with a field that has no text.
func carriedAttr(a any) error {
	if a == nil {
		return nil
	}
	v := reflect.ValueOf(a)
	for i := range v.NumField() {
		if err := carriedField(v.Field(i)); err != nil {
			return fmt.Errorf("attribute %s: %w", attr.FieldName(v.Type().Field(i).Name), err)
		}
	}
	return nil
}

func carriedField(v reflect.Value) error {
	switch x := v.Interface().(type) {
	case Expr:
		return carriedExpr(x)
	case []Expr:
		for _, e := range x {
			if err := carriedExpr(e); err != nil {
				return err
			}
		}
	case int:
		if int64(x) == math.MinInt64 {
			return fmt.Errorf("%d leaves the range of numbers with a sign", x)
		}
	}
	return nil
}
