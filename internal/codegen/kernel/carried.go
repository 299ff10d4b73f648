package kernel

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Verify refuses what the text form cannot carry, with the functions of this file: the
// text would parse to another kernel, or to none.

// texts checks the remarks of a kernel's head. Printers put them behind a mark that
// ends with the line.
func (v *verifier) texts() error {
	for _, d := range v.k.Doc {
		if err := v.oneLine("the description", d); err != nil {
			return err
		}
	}
	for _, s := range v.k.Schedule.Settings {
		for _, text := range []string{s.Name, s.Value, s.Why} {
			if err := v.oneLine("setting "+strconv.Quote(s.Name), text); err != nil {
				return err
			}
		}
	}
	return nil
}

// oneLine refuses a text that is not one line in every target's comments.
func (v *verifier) oneLine(what, s string) error {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }) {
		return fmt.Errorf("%s is not one line of UTF-8: %.60q", what, s)
	}
	if strings.HasSuffix(strings.TrimRight(s, " "), `\`) {
		return fmt.Errorf("%s ends in a backslash, which would take in the next line: %.60q", what, s)
	}
	return v.grow(len(strconv.Quote(s)))
}

// grow counts bytes of text, never fewer than the printer writes.
func (v *verifier) grow(bytes int) error {
	if v.size += bytes; v.size > maxText {
		return fmt.Errorf("its text has more than %d bytes", maxText)
	}
	return nil
}

// deeper enters a block or an operand; v.depth goes down where it ends.
func (v *verifier) deeper() error {
	if v.depth++; v.depth > maxDepth {
		return fmt.Errorf("blocks and expressions are nested more than %d deep", maxDepth)
	}
	return nil
}

// Bytes that the text of a statement and of an expression has beside names, blocks,
// operands and indentation, at most.
const (
	stmtBytes = 64
	exprBytes = 40
)

// carried checks an expression's own fields.
func (v *verifier) carried(e *Expr) error {
	if !e.Type.valid() {
		return fmt.Errorf("%s of type %s: there is no such type", e.Op, e.Type)
	}
	var used struct{ whole, float, name, space bool }
	switch e.Op {
	case OpConst:
		used.float = e.Type.Scalar == F32 || e.Type.Scalar == F16
		used.whole = !used.float
	case OpGroup, OpExtract, OpSimdShuffleXor:
		used.whole = true
	case OpLocal, OpElement, OpScalar, OpStep:
		used.name = true
	case OpLoad:
		used.name, used.space = true, true
	}
	if !used.whole && e.Int != 0 || !used.float && math.Float64bits(e.Float) != 0 || !used.name && e.Name != "" || !used.space && e.Space != Device {
		return fmt.Errorf("%s has fields that it does not use: %d, %v, %q, %s", e.Op, e.Int, e.Float, e.Name, e.Space)
	}
	return v.grow(len(e.Name) + exprBytes)
}

// constantFits refuses constants that have no text of their type.
func constantFits(e *Expr) error {
	lo, hi := int64(math.MinInt32), int64(math.MaxInt32)
	switch {
	case e.Type.Lanes != 1:
		return fmt.Errorf("a constant of %s; make a vector of constants", e.Type)
	case e.Type.Scalar == F32, e.Type.Scalar == F16:
		if math.Float64bits(e.Float) != math.Float64bits(rounded(e.Float)) {
			return fmt.Errorf("%v is not exact in f32; round it first", e.Float)
		}
		return nil
	case e.Type.Scalar == Bool:
		lo, hi = 0, 1
	case e.Type.Scalar == U32:
		lo, hi = 0, math.MaxUint32
	case e.Type.Scalar == I64:
		return nil
	case e.Type.Scalar != I32:
		return fmt.Errorf("a constant of %s, which is for memory alone; convert one", e.Type)
	}
	if e.Int < lo || e.Int > hi {
		return fmt.Errorf("%d does not fit %s", e.Int, e.Type)
	}
	return nil
}

// rounded is the f32 next to v, with the one NaN that constants are.
func rounded(v float64) float64 {
	if math.IsNaN(v) {
		return nan
	}
	return float64(float32(v))
}

// valid reports whether the text form has a word for the type.
func (t Type) valid() bool {
	return int(t.Scalar) < len(scalars) && (t.Lanes == 1 || t.Lanes == 2 || t.Lanes == 4)
}

// wordOf finds a word in a table. Outside the table it gives the number: errors of
// Verify print what it refuses.
func wordOf(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return fmt.Sprintf("(%d)", i)
}

// namesOf counts the bytes of the names that a statement holds itself.
func namesOf(s Stmt) int {
	switch s := s.(type) {
	case *Let:
		return len(s.Name)
	case *Var:
		return len(s.Name)
	case *Set:
		return len(s.Name)
	case *Locals:
		return len(s.Name)
	case *SetElement:
		return len(s.Name)
	case *Store:
		return len(s.Name)
	case *Prefetch:
		return len(s.Name)
	case *For:
		return len(s.Name)
	case *Fragment:
		return len(s.Name)
	case *FragmentLoad:
		return len(s.Name) + len(s.Place)
	case *FragmentStore:
		return len(s.Name) + len(s.Place)
	case *FragmentMultiply:
		return len(s.D) + len(s.A) + len(s.B)
	}
	return 0
}
