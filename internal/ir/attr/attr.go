// Package attr writes the attributes of operations as text. An attribute is a small
// struct with exported fields of the kinds that package ir allows: int, float64, bool,
// string, ir.Expr and []ir.Expr. The text form writes a field under its name with a
// small first letter and leaves out zero values.
package attr

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Field is one field of an attribute as text.
type Field struct{ Name, Text string }

// Fields lists the fields of an attribute that differ from zero, in order.
func Fields(attr any) []Field {
	if attr == nil {
		return nil
	}
	v := reflect.ValueOf(attr)
	var out []Field
	for i := range v.NumField() {
		if text, zero := format(v.Field(i)); !zero {
			out = append(out, Field{FieldName(v.Type().Field(i).Name), text})
		}
	}
	return out
}

// FieldName is a Go field's name in the text form.
func FieldName(goName string) string {
	return strings.ToLower(goName[:1]) + goName[1:]
}

// Equal reports whether two attributes say the same.
func Equal(a, b any) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && slices.Equal(Fields(a), Fields(b))
}

func format(v reflect.Value) (text string, zero bool) {
	switch x := v.Interface().(type) {
	case fmt.Stringer: // an ir.Expr
		return x.String(), x.String() == "0"
	case int:
		return strconv.Itoa(x), x == 0
	case bool:
		return strconv.FormatBool(x), !x
	case string:
		return strconv.Quote(x), x == ""
	case float64:
		return formatFloat(x), x == 0 && !math.Signbit(x)
	}
	if v.Kind() != reflect.Slice {
		panic("ir: attribute kind was not checked: " + v.Type().String())
	}
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i], _ = format(v.Index(i))
	}
	return "[" + strings.Join(parts, ", ") + "]", len(parts) == 0
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
