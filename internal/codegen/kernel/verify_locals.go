package kernel

import "fmt"

// variables checks the declaration of several variables.
func (v *verifier) variables(s *Locals) error {
	if !s.Elem.valid() || s.Len < 1 || s.Len > maxLocals {
		return fmt.Errorf("%d variables of %s; expected 1 to %d of a type", s.Len, s.Elem, maxLocals)
	}
	return nil
}

// element checks which of several variables an index names. Registers have no addresses:
// it must be known once loops are unrolled.
func (v *verifier) element(name string, index *Expr) error {
	l, ok := v.scope[name]
	if !ok || l.several == nil {
		return fmt.Errorf("%s are no variables of this block", name)
	}
	if err := v.typed(index, Of(I32)); err != nil {
		return err
	}
	first, last, known := v.unrolledRange(index)
	if !known {
		return fmt.Errorf("which of %s is not known before running: an index is made of constants and counters of unrolled loops", name)
	}
	if first < 0 || last >= int64(l.several.Len) {
		return fmt.Errorf("elements %d to %d of %s, which has %d", first, last, name, l.several.Len)
	}
	return nil
}

// unrolledRange is the least and the largest value of an index made of constants and
// counters of unrolled loops.
func (v *verifier) unrolledRange(e *Expr) (first, last int64, known bool) {
	switch e.Op {
	case OpConst:
		return e.Int, e.Int, true
	case OpLocal:
		l := v.scope[e.Name]
		return l.first, l.last, l.unrolled && l.known
	case OpAdd, OpSub, OpMul:
		a0, a1, okA := v.unrolledRange(e.Args[0])
		b0, b1, okB := v.unrolledRange(e.Args[1])
		switch e.Op {
		case OpAdd:
			return a0 + b0, a1 + b1, okA && okB
		case OpSub:
			return a0 - b1, a1 - b0, okA && okB
		}
		return min(a0*b0, a0*b1, a1*b0, a1*b1), max(a0*b0, a0*b1, a1*b0, a1*b1), okA && okB
	}
	return 0, 0, false
}
