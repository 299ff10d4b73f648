package ops

import (
	"fmt"
	"maps"
	"slices"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// operands requires operand i to be a tensor of the i-th element.
func operands(s *ir.Signature, elems ...ir.Elem) error {
	for i, elem := range elems {
		if err := operand(s, i, elem); err != nil {
			return err
		}
	}
	return nil
}

func operand(s *ir.Signature, i int, elem ir.Elem) error {
	if t := s.Args[i]; t.State || t.Elem != elem {
		return fmt.Errorf("operand %d must be a tensor of %s", i, elem)
	}
	return nil
}

// axis resolves an axis that may count from the end (-1 is the last).
func axis(a, rank int) (int, error) {
	if a < -rank || a >= rank {
		return 0, fmt.Errorf("axis %d is outside rank %d", a, rank)
	}
	if a < 0 {
		a += rank
	}
	return a, nil
}

func replaced(shape []ir.Expr, at int, with ...ir.Expr) []ir.Expr {
	out := append([]ir.Expr(nil), shape[:at]...)
	out = append(out, with...)
	return append(out, shape[at+1:]...)
}

// sameAsFirst types an operation that keeps its real operand's shape.
func sameAsFirst(s *ir.Signature) (ir.Type, error) { return s.Args[0], operand(s, 0, ir.F32) }

// split returns the sizes before, at and after an axis of a shape.
func split(shape []int, at int) (outer, n, inner int) {
	return tensor.Len(shape[:at]), shape[at], tensor.Len(shape[at+1:])
}

// newReal gives the call's result its array and returns it.
func newReal[F tensor.Float](c *ir.Call[F]) []F {
	c.Out = tensor.Value[F]{Shape: c.Shape, F: make([]F, tensor.Len(c.Shape))}
	return c.Out.F
}

func newInts[F tensor.Float](c *ir.Call[F]) []int32 {
	c.Out = tensor.Value[F]{Shape: c.Shape, I: make([]int32, tensor.Len(c.Shape))}
	return c.Out.I
}

// firstError collects an error from parallel ranges; the lowest index wins so
// that the report does not depend on timing.
type firstError struct {
	errs []error
}

func newFirstError(n int) *firstError      { return &firstError{errs: make([]error, n)} }
func (f *firstError) set(i int, err error) { f.errs[i] = err }
func (f *firstError) err() error {
	for _, e := range f.errs {
		if e != nil {
			return e
		}
	}
	return nil
}
