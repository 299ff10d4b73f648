package kernel

import (
	"math"
	"slices"
)

// Equal reports whether two kernels are the same in all that the text form has:
// names, remarks and schedule too. Numbers are compared by their bits.
func Equal(a, b *Kernel) bool {
	return a.Name == b.Name && slices.Equal(a.Doc, b.Doc) &&
		a.Schedule.Threads == b.Schedule.Threads && a.Schedule.SimdWidth == b.Schedule.SimdWidth && slices.Equal(a.Schedule.Settings, b.Schedule.Settings) &&
		slices.Equal(a.Step.Fields, b.Step.Fields) &&
		slices.EqualFunc(a.Params, b.Params, func(x, y *Param) bool { return *x == *y }) &&
		slices.EqualFunc(a.Shared, b.Shared, func(x, y *Shared) bool { return *x == *y }) &&
		equalBlocks(a.Body, b.Body)
}

// Likeness says what counts as equal when bodies are compared. A nil part is strict.
type Likeness struct {
	// Names compares two names in the same place, which stand for the same kind of thing.
	Names func(kind NameKind, a, b string) bool
	// Exprs compares two expressions, where it knows how: else the comparison goes on with
	// their parts.
	Exprs func(a, b *Expr) (equal, known bool)
}

// EqualBlocks reports whether two bodies are the same in all that the text form has.
func (l *Likeness) EqualBlocks(a, b []Stmt) bool { return slices.EqualFunc(a, b, l.stmts) }

func equalBlocks(a, b []Stmt) bool { return (&Likeness{}).EqualBlocks(a, b) }

func (l *Likeness) names(kind NameKind, a, b string) bool {
	if l.Names == nil {
		return a == b
	}
	return l.Names(kind, a, b)
}

// places compares the names of arrays in two spaces.
func (l *Likeness) places(s Space, a string, t Space, b string) bool {
	return s == t && l.names(kindOf(s), a, b)
}

func (l *Likeness) stmts(a, b Stmt) bool {
	if !slices.EqualFunc(operands(a), operands(b), l.Equal) {
		return false
	}
	switch a := a.(type) {
	case *Comment:
		b, ok := b.(*Comment)
		return ok && *a == *b
	case *Let:
		b, ok := b.(*Let)
		return ok && l.names(LocalName, a.Name, b.Name) && (a.About == nil) == (b.About == nil) && (a.About == nil || l.Equal(a.About, b.About))
	case *Var:
		b, ok := b.(*Var)
		return ok && l.names(LocalName, a.Name, b.Name)
	case *Set:
		b, ok := b.(*Set)
		return ok && l.names(LocalName, a.Name, b.Name)
	case *Locals:
		b, ok := b.(*Locals)
		return ok && l.names(LocalName, a.Name, b.Name) && a.Elem == b.Elem && a.Len == b.Len
	case *SetElement:
		b, ok := b.(*SetElement)
		return ok && l.names(LocalName, a.Name, b.Name)
	case *Store:
		b, ok := b.(*Store)
		return ok && l.places(a.Space, a.Name, b.Space, b.Name)
	case *Prefetch:
		b, ok := b.(*Prefetch)
		return ok && l.names(PointerName, a.Name, b.Name)
	case *For:
		b, ok := b.(*For)
		return ok && l.names(LocalName, a.Name, b.Name) && a.Unrolled == b.Unrolled && l.EqualBlocks(a.Body, b.Body)
	case *If:
		b, ok := b.(*If)
		return ok && l.EqualBlocks(a.Then, b.Then) && l.EqualBlocks(a.Else, b.Else)
	case *Barrier:
		b, ok := b.(*Barrier)
		return ok && *a == *b
	}
	return l.fragments(a, b)
}

func (l *Likeness) fragments(a, b Stmt) bool {
	switch a := a.(type) {
	case *Fragment:
		b, ok := b.(*Fragment)
		return ok && l.names(FragmentName, a.Name, b.Name) && a.Elem == b.Elem && a.Rows == b.Rows && a.Columns == b.Columns
	case *FragmentLoad:
		b, ok := b.(*FragmentLoad)
		return ok && l.names(FragmentName, a.Name, b.Name) && l.places(a.Space, a.Place, b.Space, b.Place) && a.Transpose == b.Transpose
	case *FragmentStore:
		b, ok := b.(*FragmentStore)
		return ok && l.names(FragmentName, a.Name, b.Name) && l.places(a.Space, a.Place, b.Space, b.Place)
	case *FragmentMultiply:
		b, ok := b.(*FragmentMultiply)
		return ok && l.names(FragmentName, a.D, b.D) && l.names(FragmentName, a.A, b.A) && l.names(FragmentName, a.B, b.B)
	}
	return false
}

// Equal reports whether two expressions are the same.
func (l *Likeness) Equal(a, b *Expr) bool {
	if l.Exprs != nil {
		if equal, known := l.Exprs(a, b); known {
			return equal
		}
	} else if a == b && l.Names == nil {
		return true
	}
	return a.Op == b.Op && a.Type == b.Type && a.Int == b.Int && math.Float64bits(a.Float) == math.Float64bits(b.Float) &&
		a.Space == b.Space && l.named(a, b) && slices.EqualFunc(a.Args, b.Args, l.Equal)
}

// named compares the names of expressions of one operation.
func (l *Likeness) named(a, b *Expr) bool {
	switch a.Op {
	case OpLocal, OpElement:
		return l.names(LocalName, a.Name, b.Name)
	case OpScalar:
		return l.names(ScalarName, a.Name, b.Name)
	case OpStep:
		return l.names(FieldName, a.Name, b.Name)
	case OpLoad:
		return l.names(kindOf(a.Space), a.Name, b.Name)
	}
	return a.Name == b.Name
}
