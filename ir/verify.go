package ir

import "fmt"

// Verify checks a module: names declared once and well formed, every operand
// defined before its use and of this module, every result type what the
// operation's rule says, symbols declared, and states used as one line of
// versions: each version is appended to at most once and not read after that.
func Verify(m *Module) error {
	v := verifier{m: m, params: map[string]*Param{}, states: map[string]*State{}, symbols: map[string]bool{},
		defined: map[*Value]bool{}, names: map[string]bool{}, appended: map[*Value]*Node{}, opened: map[string]bool{}}
	for _, step := range []func() error{v.declarations, v.nodes, v.results} {
		if err := step(); err != nil {
			return fmt.Errorf("module @%s: %w", m.Name, err)
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
}

func (v *verifier) declarations() error {
	if !ValidName(v.m.Name) {
		return fmt.Errorf("the module's name %q is not a name", v.m.Name)
	}
	for _, s := range v.m.Symbols {
		if !ValidName(s.Name) || v.symbols[s.Name] {
			return fmt.Errorf("symbol %q: not a name, or declared twice", s.Name)
		}
		if (s.Def == Closing) != (s.Arg > 0) {
			return fmt.Errorf("symbol %s: closing takes a ratio above 0, the others none", s.Name)
		}
		v.symbols[s.Name] = true
	}
	for _, p := range v.m.Params {
		if !ValidName(p.Name) || v.params[p.Name] != nil {
			return fmt.Errorf("parameter @%s: not a name, or declared twice", p.Name)
		}
		if err := v.constant(p.Type); err != nil {
			return fmt.Errorf("parameter @%s: %w", p.Name, err)
		}
		v.params[p.Name] = p
	}
	for _, s := range v.m.States {
		if !ValidName(s.Name) || v.states[s.Name] != nil {
			return fmt.Errorf("state @%s: not a name, or declared twice", s.Name)
		}
		if err := v.constant(s.Row); err != nil {
			return fmt.Errorf("state @%s: %w", s.Name, err)
		}
		if err := v.known(s.Keep); err != nil {
			return fmt.Errorf("state @%s: keep: %w", s.Name, err)
		}
		v.states[s.Name] = s
	}
	v.lastID = -1
	for _, in := range v.m.Inputs {
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
	if t.State || len(t.Shape) == 0 {
		return fmt.Errorf("%s: must be a tensor of at least one dimension", t)
	}
	for _, d := range t.Shape {
		if n, ok := d.Value(); !ok || n <= 0 {
			return fmt.Errorf("%s: size %s is not a positive number", t, d)
		}
	}
	return nil
}

func (v *verifier) known(e Expr) error {
	if e.Overflow() {
		return fmt.Errorf("expression leaves the 64-bit range")
	}
	var err error
	e.Walk(func(s string) {
		if !v.symbols[s] && err == nil {
			err = fmt.Errorf("symbol %s is not declared", s)
		}
	})
	return err
}

func (v *verifier) define(x *Value) error {
	if x.Name != "" {
		if !ValidName(x.Name) || v.names[x.Name] {
			return fmt.Errorf("value %s: not a name, or used twice", x.Ref())
		}
		v.names[x.Name] = true
	}
	if x.ID <= v.lastID {
		return fmt.Errorf("value %s: number %d does not follow %d", x.Ref(), x.ID, v.lastID)
	}
	v.lastID = x.ID
	for _, d := range x.Type.Shape {
		if err := v.known(d); err != nil {
			return fmt.Errorf("value %s: %s: %w", x.Ref(), x.Type, err)
		}
	}
	v.defined[x] = true
	return nil
}

func (v *verifier) nodes() error {
	for _, n := range v.m.Nodes {
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
	if len(v.m.Results) == 0 {
		return fmt.Errorf("returns nothing")
	}
	for _, r := range v.m.Results {
		if !v.defined[r] || r.Type.State {
			return fmt.Errorf("result %s is not a tensor of this module", r.Ref())
		}
	}
	return nil
}
