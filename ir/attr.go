package ir

import (
	"fmt"
	"reflect"
)

// An attribute is a small struct with exported fields of these kinds: int,
// float64, bool, string, Expr and []Expr (a shape). Package attr writes them as text.

var (
	exprType  = reflect.TypeFor[Expr]()
	shapeType = reflect.TypeFor[[]Expr]()
)

func checkAttr(op *Op) error {
	if op.Attr == nil {
		return nil
	}
	t := reflect.TypeOf(op.Attr)
	if t.Kind() != reflect.Struct || t.NumField() == 0 {
		return fmt.Errorf("ir: operation %q: attribute must be a struct with fields, is %s", op.Name, t)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case !f.IsExported():
			return fmt.Errorf("ir: operation %q: attribute field %s is not exported", op.Name, f.Name)
		case f.Type == exprType, f.Type == shapeType:
		case f.Type.Kind() == reflect.Int, f.Type.Kind() == reflect.Float64, f.Type.Kind() == reflect.Bool, f.Type.Kind() == reflect.String:
		default:
			return fmt.Errorf("ir: operation %q: attribute field %s has kind %s, which has no text form", op.Name, f.Name, f.Type)
		}
	}
	return nil
}
