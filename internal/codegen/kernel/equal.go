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

func equalBlocks(a, b []Stmt) bool { return slices.EqualFunc(a, b, equalStmts) }

func equalStmts(a, b Stmt) bool {
	if !slices.EqualFunc(operands(a), operands(b), equalExprs) {
		return false
	}
	switch a := a.(type) {
	case *Comment:
		b, ok := b.(*Comment)
		return ok && *a == *b
	case *Let:
		b, ok := b.(*Let)
		return ok && a.Name == b.Name && (a.About == nil) == (b.About == nil) && (a.About == nil || equalExprs(a.About, b.About))
	case *Var:
		b, ok := b.(*Var)
		return ok && a.Name == b.Name
	case *Set:
		b, ok := b.(*Set)
		return ok && a.Name == b.Name
	case *Locals:
		b, ok := b.(*Locals)
		return ok && *a == *b
	case *SetElement:
		b, ok := b.(*SetElement)
		return ok && a.Name == b.Name
	case *Store:
		b, ok := b.(*Store)
		return ok && a.Name == b.Name && a.Space == b.Space
	case *Prefetch:
		b, ok := b.(*Prefetch)
		return ok && a.Name == b.Name
	case *For:
		b, ok := b.(*For)
		return ok && a.Name == b.Name && a.Unrolled == b.Unrolled && equalBlocks(a.Body, b.Body)
	case *If:
		b, ok := b.(*If)
		return ok && equalBlocks(a.Then, b.Then) && equalBlocks(a.Else, b.Else)
	case *Barrier:
		b, ok := b.(*Barrier)
		return ok && *a == *b
	}
	return equalFragments(a, b)
}

func equalFragments(a, b Stmt) bool {
	switch a := a.(type) {
	case *Fragment:
		b, ok := b.(*Fragment)
		return ok && *a == *b
	case *FragmentLoad:
		b, ok := b.(*FragmentLoad)
		return ok && a.Name == b.Name && a.Space == b.Space && a.Place == b.Place && a.Transpose == b.Transpose
	case *FragmentStore:
		b, ok := b.(*FragmentStore)
		return ok && a.Name == b.Name && a.Space == b.Space && a.Place == b.Place
	case *FragmentMultiply:
		b, ok := b.(*FragmentMultiply)
		return ok && *a == *b
	}
	return false
}

func equalExprs(a, b *Expr) bool {
	return a == b || a.Op == b.Op && a.Type == b.Type && a.Int == b.Int && math.Float64bits(a.Float) == math.Float64bits(b.Float) &&
		a.Name == b.Name && a.Space == b.Space && slices.EqualFunc(a.Args, b.Args, equalExprs)
}
