package kernel

import "fmt"

// Uniformity says who agrees on a value, or on getting to a statement.
//
// Threadgroups and SIMD groups act together at some places; those who do not
// get there keep the others waiting for ever, or leave results undefined (Metal
// Shading Language Specification, "Synchronization Functions" and "SIMD-group
// Functions"). So a barrier must stand in control flow that all threads of the
// threadgroup share, and an operation over a SIMD group in one that its lanes do.
type uniformness uint8

const (
	wholeGroup uniformness = iota // all threads of the threadgroup
	wholeSimd                     // all lanes of the SIMD group
	single                        // each thread for itself
)

// DivergenceError says that something stands where those do not come along together that
// must.
type DivergenceError struct {
	Stmt string // the statement's text, clipped
	What string // "a barrier", or an operation
	Who  string // who parts ways
}

func (e *DivergenceError) Error() string {
	return fmt.Sprintf("%s: %s stands where the %s part ways; move it out of the condition or loop", e.Stmt, e.What, e.Who)
}

// uniformity checks every barrier and SIMD operation. Variables take on the
// least uniform of what is assigned to them, and of the control flow in which
// that happens; loops are walked until nothing changes.
func uniformity(k *Kernel) error {
	u := &uniform{k: k, locals: map[string]uniformness{}}
	for u.changed = true; u.changed; {
		u.changed = false
		u.block(k.Body, wholeGroup)
	}
	u.check = true
	u.block(k.Body, wholeGroup)
	return u.err
}

type uniform struct {
	k       *Kernel
	locals  map[string]uniformness
	changed bool
	check   bool
	err     error
}

func (u *uniform) fail(s Stmt, what string, control uniformness) {
	if u.err == nil && u.check {
		who := "lanes of a SIMD group"
		if control == wholeSimd {
			who = "SIMD groups of a threadgroup"
		}
		u.err = &DivergenceError{clip(s), what, who}
	}
}

// note records how uniform a local is; it only gets worse.
func (u *uniform) note(name string, level uniformness) {
	if level > u.locals[name] {
		u.locals[name] = level
		u.changed = true
	}
}

func (u *uniform) block(body []Stmt, control uniformness) {
	for _, s := range body {
		u.stmt(s, control)
	}
}

func (u *uniform) stmt(s Stmt, control uniformness) {
	value := func(e *Expr) uniformness { return u.expr(s, e, control) }
	switch s := s.(type) {
	case *Let:
		u.note(s.Name, value(s.Value))
	case *Var:
		u.note(s.Name, value(s.Init))
	case *Set:
		u.note(s.Name, max(value(s.Value), control))
	case *SetElement:
		u.note(s.Name, max(value(s.Value), control))
	case *Store:
		value(s.Index)
		value(s.Value)
	case *Prefetch:
		value(s.Index)
	case *For:
		inside := max(control, value(s.Lo), value(s.Hi), value(s.Step))
		u.note(s.Name, max(value(s.Lo), value(s.Step)))
		u.block(s.Body, inside)
	case *If:
		inside := max(control, value(s.Cond))
		u.block(s.Then, inside)
		u.block(s.Else, inside)
	case *Barrier:
		if control > wholeGroup && !(control == wholeSimd && u.k.Schedule.Threads == u.k.Schedule.SimdWidth) {
			u.fail(s, "a barrier", control)
		}
	case *FragmentLoad:
		u.together(s, max(control, value(s.Index), value(s.Stride)))
	case *FragmentStore:
		u.together(s, max(control, value(s.Index), value(s.Stride)))
	case *Fragment, *FragmentMultiply:
		u.together(s, control)
	}
}

// together checks a statement that a SIMD group runs as one.
func (u *uniform) together(s Stmt, level uniformness) {
	if level > wholeSimd {
		u.fail(s, "a statement on fragments", level)
	}
}

// expr says how uniform a value is in the given control flow.
func (u *uniform) expr(s Stmt, e *Expr, control uniformness) uniformness {
	level := wholeGroup
	for _, a := range e.Args {
		level = max(level, u.expr(s, a, control))
	}
	if ops[e.Op].simd && control > wholeSimd {
		u.fail(s, e.Op.String(), control)
	}
	switch e.Op {
	case OpLocal:
		return u.locals[e.Name]
	case OpElement:
		return max(level, u.locals[e.Name])
	case OpSimd:
		return wholeSimd
	case OpThread, OpLane, OpSimdPrefix, OpSimdShuffleXor:
		return single
	case OpSimdSum, OpSimdMax, OpSimdMin:
		return wholeSimd
	case OpSimdShuffle:
		return max(wholeSimd, u.expr(s, e.Args[1], control))
	case OpLoad:
		if e.Space == Device && u.k.Param(e.Name).Access == ReadWrite {
			return single // another thread may write between two threads' loads
		}
	}
	return level
}

// Uniform finds the locals of a kernel on which all lanes at work of a SIMD group agree.
func Uniform(k *Kernel) map[string]bool {
	u := &uniform{k: k, locals: map[string]uniformness{}}
	for u.changed = true; u.changed; {
		u.changed = false
		u.block(k.Body, wholeGroup)
	}
	agreed := map[string]bool{}
	Declared(k.Body, func(name string) { agreed[name] = u.locals[name] <= wholeSimd })
	return agreed
}
