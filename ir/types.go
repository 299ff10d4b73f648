package ir

import (
	"fmt"
	"slices"
	"strings"
)

// Elem is the element of a tensor as the graph computes with it. How a
// parameter is stored is its encoding's matter (package encoding).
type Elem uint8

const (
	// F32 is a real number; the evaluator computes it in float32, or in float64 for tests.
	F32 Elem = iota
	// I32 is an integer: a token, a position, a slot, an index; -1 stands for "none" in index lists.
	I32
)

// UnmarshalText is the inverse of String.
func (e *Elem) UnmarshalText(name []byte) error {
	for _, known := range []Elem{F32, I32} {
		if known.String() == string(name) {
			*e = known
			return nil
		}
	}
	return fmt.Errorf("%s is not an element; expected f32 or i32", name)
}

func (e Elem) String() string {
	switch e {
	case F32:
		return "f32"
	case I32:
		return "i32"
	}
	return fmt.Sprintf("element(%d)", uint8(e))
}

// Type is the type of a value: a tensor, or one version of a state, in which
// case Shape is the shape of one of its rows.
type Type struct {
	State bool
	Shape []Expr
	Elem  Elem
}

// Tensor returns tensor<shape x elem>.
func Tensor(elem Elem, shape ...Expr) Type { return Type{Shape: shape, Elem: elem} }

// Rank is the number of dimensions.
func (t Type) Rank() int { return len(t.Shape) }

// Equal reports whether t and u are the same type.
func (t Type) Equal(u Type) bool {
	return t.State == u.State && t.Elem == u.Elem && slices.EqualFunc(t.Shape, u.Shape, Expr.Equal)
}

// String prints tensor<T x 128 x f32> or state<128 x f32>.
func (t Type) String() string {
	if t.State {
		return "state<" + t.body() + ">"
	}
	return "tensor<" + t.body() + ">"
}

func (t Type) body() string {
	var b strings.Builder
	for _, d := range t.Shape {
		b.WriteString(d.String())
		b.WriteString(" x ")
	}
	b.WriteString(t.Elem.String())
	return b.String()
}
