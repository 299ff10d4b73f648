package ir

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// An attribute is a small struct with exported fields of these kinds: int,
// float64, bool, string, Expr and []Expr (a shape). The text form writes a
// field under its name with a small first letter and leaves out zero values.

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

// AttrField is one field of an attribute as text.
type AttrField struct{ Name, Text string }

// AttrFields lists the fields of an attribute that differ from zero, in order.
func AttrFields(attr any) []AttrField {
	if attr == nil {
		return nil
	}
	v := reflect.ValueOf(attr)
	var out []AttrField
	for i := range v.NumField() {
		if text, zero := formatAttrValue(v.Field(i)); !zero {
			out = append(out, AttrField{AttrFieldName(v.Type().Field(i).Name), text})
		}
	}
	return out
}

// AttrFieldName is a Go field's name in the text form.
func AttrFieldName(goName string) string {
	return strings.ToLower(goName[:1]) + goName[1:]
}

func formatAttrValue(v reflect.Value) (text string, zero bool) {
	switch x := v.Interface().(type) {
	case Expr:
		return x.String(), x.String() == "0"
	case []Expr:
		parts := make([]string, len(x))
		for i, e := range x {
			parts[i] = e.String()
		}
		return "[" + strings.Join(parts, ", ") + "]", len(x) == 0
	case int:
		return strconv.Itoa(x), x == 0
	case bool:
		return strconv.FormatBool(x), !x
	case string:
		return strconv.Quote(x), x == ""
	case float64:
		return formatFloat(x), x == 0 && !math.Signbit(x)
	}
	panic("ir: attribute kind was not checked: " + v.Type().String())
}

// formatFloat writes the shortest text that reads back as x and cannot be
// taken for an integer.
func formatFloat(x float64) string {
	s := strconv.FormatFloat(x, 'g', -1, 64)
	switch {
	case math.IsInf(x, 1):
		return "inf"
	case math.IsInf(x, -1):
		return "-inf"
	case math.IsNaN(x):
		return "nan"
	case !strings.ContainsAny(s, ".e"):
		return s + ".0"
	}
	return s
}

// AttrsEqual reports whether two attributes say the same.
func AttrsEqual(a, b any) bool {
	if reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	fa, fb := AttrFields(a), AttrFields(b)
	if len(fa) != len(fb) {
		return false
	}
	for i := range fa {
		if fa[i] != fb[i] {
			return false
		}
	}
	return true
}
