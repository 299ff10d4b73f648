package ir

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/ir/fault"
)

// Verify checks a module: names declared once and well formed, every operand
// defined before its use and of this module, every result type what the
// operation's rule says, symbols declared, states used as one line of versions
// (each version is appended to at most once and not used after that), and
// regions that are disjoint and yield all that is used outside; and that the text
// form carries all of it (see carried.go).
// An error is a *fault.Error, which says where.
func Verify(m *Module) error {
	v := verifier{m: m, params: map[string]*Param{}, states: map[string]*State{}, symbols: map[string]bool{},
		defined: map[*Value]bool{}, names: map[string]bool{}, appended: map[*Value]*Node{}, opened: map[string]bool{}}
	for _, step := range []func() error{v.symbolList, v.paramList, v.stateList, v.inputList, v.nodes, v.regions, v.results} {
		if err := step(); err != nil {
			return &fault.Error{Module: m.Name, Part: v.part, Index: v.index, Err: err}
		}
	}
	return nil
}

type verifier struct {
	m        *Module
	params   map[string]*Param
	states   map[string]*State
	symbols  map[string]bool
	defined  map[*Value]bool
	names    map[string]bool
	appended map[*Value]*Node // version -> the append that consumed it
	opened   map[string]bool  // states with an initial version
	lastID   int
	part     fault.Part // with index, where the walk is
	index    int
}

func (v *verifier) symbolList() error {
	if !validName(v.m.Name) {
		return fmt.Errorf("the module's name %q is not a name", v.m.Name)
	}
	for i, s := range v.m.Symbols {
		v.part, v.index = fault.Symbols, i
		if int(s.Def) >= len(symbolDefs) {
			return fmt.Errorf("symbol %s: definition %d is unknown", s.Name, s.Def)
		}
		if !validName(s.Name) || v.symbols[s.Name] {
			return fmt.Errorf("symbol %q: not a name, or declared twice", s.Name)
		}
		if (s.Def == Closing) != (s.Arg > 0) || s.Arg < 0 || s.Arg > math.MaxInt32 {
			return fmt.Errorf("symbol %s: closing takes a ratio above 0, the others none", s.Name)
		}
		v.symbols[s.Name] = true
	}
	return nil
}

func (v *verifier) paramList() error {
	for i, p := range v.m.Params {
		v.part, v.index = fault.Params, i
		if !validName(p.Name) || v.params[p.Name] != nil {
			return fmt.Errorf("parameter @%s: not a name, or declared twice", p.Name)
		}
		if err := v.constant(p.Type); err != nil {
			return fmt.Errorf("parameter @%s: %w", p.Name, err)
		}
		if p.Encoding != "" && !validName(p.Encoding) {
			return fmt.Errorf("parameter @%s: encoding %q is not a name", p.Name, p.Encoding)
		}
		v.params[p.Name] = p
	}
	return nil
}

func (v *verifier) stateList() error {
	for i, s := range v.m.States {
		v.part, v.index = fault.States, i
		if !validName(s.Name) || v.states[s.Name] != nil {
			return fmt.Errorf("state @%s: not a name, or declared twice", s.Name)
		}
		if err := v.constant(s.Row); err != nil {
			return fmt.Errorf("state @%s: %w", s.Name, err)
		}
		if err := v.known(s.Keep); err != nil {
			return fmt.Errorf("state @%s: keep: %w", s.Name, err)
		}
		if s.Stored != "" && !validName(s.Stored) {
			return fmt.Errorf("state @%s: stored %q is not a name", s.Name, s.Stored)
		}
		v.states[s.Name] = s
	}
	return nil
}

func (v *verifier) inputList() error {
	v.lastID = -1
	for i, in := range v.m.Inputs {
		v.part, v.index = fault.Inputs, i
		if in.Def != nil || in.Name == "" || in.Type.State {
			return fmt.Errorf("input %s: must be a named tensor no operation defines", in.Ref())
		}
		if err := v.define(in); err != nil {
			return err
		}
	}
	return nil
}

// constant requires a tensor of positive, symbol-free sizes.
func (v *verifier) constant(t Type) error {
	if t.Elem > I32 {
		return fmt.Errorf("%s: its element is unknown", t)
	}
	if t.State || len(t.Shape) == 0 {
		return fmt.Errorf("%s: must be a tensor of at least one dimension", t)
	}
	elements := Const(1)
	for _, d := range t.Shape {
		if n, ok := d.Value(); !ok || n <= 0 {
			return fmt.Errorf("%s: size %s is not a positive number", t, d)
		}
		elements = elements.Mul(d)
	}
	if elements.Overflow() {
		return fmt.Errorf("%s: the number of elements leaves the 64-bit range", t)
	}
	return nil
}

func (v *verifier) known(e Expr) error {
	err := carriedExpr(e)
	e.Walk(func(s string) {
		if !v.symbols[s] && err == nil {
			err = fmt.Errorf("symbol %s is not declared", s)
		}
	})
	return err
}

func (v *verifier) define(x *Value) error {
	if x.Name != "" {
		if !validName(x.Name) || v.names[x.Name] {
			return fmt.Errorf("value %s: not a name, or used twice", x.Ref())
		}
		v.names[x.Name] = true
	}
	if x.ID != v.lastID+1 {
		return fmt.Errorf("value %s: number %d does not follow %d", x.Ref(), x.ID, v.lastID)
	}
	v.lastID = x.ID
	if x.Type.Elem > I32 {
		return fmt.Errorf("value %s: %s: its element is unknown", x.Ref(), x.Type)
	}
	if x.Type.Rank() == 0 {
		return fmt.Errorf("value %s: %s lacks a dimension", x.Ref(), x.Type)
	}
	for _, d := range x.Type.Shape {
		if err := v.known(d); err != nil {
			return fmt.Errorf("value %s: %s: %w", x.Ref(), x.Type, err)
		}
	}
	v.defined[x] = true
	return nil
}

func (v *verifier) nodes() error {
	for i, n := range v.m.Nodes {
		v.part, v.index = fault.Nodes, i
		if n.Result == nil || n.Result.Def != n {
			return fmt.Errorf("a node lacks its result")
		}
		for _, a := range n.Args {
			if !v.defined[a] {
				return fmt.Errorf("%s: operand %s is not defined before its use", n.Result.Ref(), a.Ref())
			}
		}
		t, err := n.typeOf(v.m.Symbols, v.params, v.states)
		if err != nil {
			return fmt.Errorf("%s: %w", n.Result.Ref(), err)
		}
		if !t.Equal(n.Result.Type) {
			return fmt.Errorf("%s: %s: has type %s, the operation gives %s", n.Result.Ref(), n.describe(), n.Result.Type, t)
		}
		if err := carriedAttr(n.Attr); err != nil {
			return fmt.Errorf("%s: %s: %w", n.Result.Ref(), n.describe(), err)
		}
		if err := v.stateUse(n); err != nil {
			return fmt.Errorf("%s: %s: %w", n.Result.Ref(), n.describe(), err)
		}
		if err := v.define(n.Result); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) stateUse(n *Node) error {
	if n.Op.Refers == RefersToState {
		if v.opened[n.Symbol] {
			return fmt.Errorf("state @%s is opened twice", n.Symbol)
		}
		v.opened[n.Symbol] = true
	}
	for _, a := range n.Args {
		if !a.Type.State {
			continue
		}
		if by := v.appended[a]; by != nil {
			return fmt.Errorf("version %s was appended to by %s and cannot be used again", a.Ref(), by.Result.Ref())
		}
		if n.Op.Effect == AppendsState {
			v.appended[a] = n
		}
	}
	return nil
}

func (v *verifier) results() error {
	v.part, v.index = fault.Results, 0
	if len(v.m.Results) == 0 {
		return fmt.Errorf("returns nothing")
	}
	for i, r := range v.m.Results {
		v.index = i
		if !v.defined[r] || r.Type.State {
			return fmt.Errorf("result %s is not a tensor of this module", r.Ref())
		}
	}
	return nil
}
