package kernel

import "slices"

// NameKind says what a name in a body stands for.
type NameKind uint8

// The kinds: of names that a body may declare, and of those that its kernel does.
const (
	LocalName    NameKind = iota // of a Let, Var, Locals or For
	FragmentName                 // of a Fragment
	ScalarName                   // of a scalar Param
	PointerName                  // of a pointer Param
	SharedName                   // of a Shared
	FieldName                    // of a StepField
)

// kindOf says what a place's name stands for.
func kindOf(s Space) NameKind {
	return [...]NameKind{Device: PointerName, Threadgroup: SharedName, StepBlock: FieldName}[s]
}

// Renamed is a copy of a body with other names, without comments and what Lets are
// about. to is asked for every name wherever it stands, in an order that depends on
// the body alone.
func Renamed(body []Stmt, to func(NameKind, string) string) []Stmt {
	r := &renamer{to: to, done: map[*Expr]*Expr{}}
	return r.block(body)
}

type renamer struct {
	to      func(NameKind, string) string
	with    func(old, copied *Expr) *Expr // nil: the copy
	remarks bool                          // stay, comments and what Lets are about
	done    map[*Expr]*Expr               // expressions may share operands
}

func (r *renamer) block(body []Stmt) []Stmt {
	var out []Stmt
	for _, s := range body {
		if _, remark := s.(*Comment); !remark || r.remarks {
			out = append(out, r.stmt(s))
		}
	}
	return out
}

func (r *renamer) stmt(s Stmt) Stmt {
	switch s := s.(type) {
	case *Let:
		l := &Let{Value: r.expr(s.Value), Name: r.to(LocalName, s.Name)}
		if r.remarks && s.About != nil {
			l.About = r.expr(s.About)
		}
		return l
	case *Var:
		return &Var{Init: r.expr(s.Init), Name: r.to(LocalName, s.Name)}
	case *Set:
		return &Set{Value: r.expr(s.Value), Name: r.to(LocalName, s.Name)}
	case *Locals:
		return &Locals{r.to(LocalName, s.Name), s.Elem, s.Len}
	case *SetElement:
		return &SetElement{Index: r.expr(s.Index), Value: r.expr(s.Value), Name: r.to(LocalName, s.Name)}
	case *Store:
		return &Store{Space: s.Space, Name: r.to(kindOf(s.Space), s.Name), Index: r.expr(s.Index), Value: r.expr(s.Value)}
	case *Prefetch:
		return &Prefetch{Name: r.to(PointerName, s.Name), Index: r.expr(s.Index)}
	case *For:
		return &For{Lo: r.expr(s.Lo), Hi: r.expr(s.Hi), Step: r.expr(s.Step), Name: r.to(LocalName, s.Name), Unrolled: s.Unrolled, Body: r.block(s.Body)}
	case *If:
		return &If{Cond: r.expr(s.Cond), Then: r.block(s.Then), Else: r.block(s.Else)}
	case *Fragment:
		c := *s
		c.Name = r.to(FragmentName, s.Name)
		return &c
	case *FragmentLoad:
		c := *s
		c.Name, c.Place = r.to(FragmentName, s.Name), r.to(kindOf(s.Space), s.Place)
		c.Index, c.Stride = r.expr(s.Index), r.expr(s.Stride)
		return &c
	case *FragmentStore:
		c := *s
		c.Name, c.Place = r.to(FragmentName, s.Name), r.to(kindOf(s.Space), s.Place)
		c.Index, c.Stride = r.expr(s.Index), r.expr(s.Stride)
		return &c
	case *FragmentMultiply:
		return &FragmentMultiply{D: r.to(FragmentName, s.D), A: r.to(FragmentName, s.A), B: r.to(FragmentName, s.B)}
	}
	return s // a barrier or a comment
}

func (r *renamer) expr(e *Expr) *Expr {
	if c := r.done[e]; c != nil {
		return c
	}
	args, changed := e.Args, false
	for i, a := range e.Args {
		c := r.expr(a)
		if c != a && !changed {
			args, changed = slices.Clone(e.Args), true
		}
		if changed {
			args[i] = c
		}
	}
	out, name := e, r.nameOf(e)
	if changed || name != e.Name {
		c := *e
		c.Name, c.Args = name, args
		out = &c
	}
	if r.with != nil {
		out = r.with(e, out)
	}
	r.done[e] = out
	return out
}

// nameOf is an expression's other name.
func (r *renamer) nameOf(e *Expr) string {
	switch e.Op {
	case OpLocal, OpElement:
		return r.to(LocalName, e.Name)
	case OpScalar:
		return r.to(ScalarName, e.Name)
	case OpStep:
		return r.to(FieldName, e.Name)
	case OpLoad:
		return r.to(kindOf(e.Space), e.Name)
	}
	return e.Name
}
