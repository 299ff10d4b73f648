package ir

import (
	"fmt"
	"reflect"
	"strings"
)

// Builder makes a module operation by operation. The first error sticks:
// later calls do nothing and Module reports it, so graph code needs no error
// handling of its own.
type Builder struct {
	m      *Module
	params map[string]*Param
	states map[string]*State
	names  map[string]bool
	nextID int
	fixed  map[*Region]bool // regions whose yields are given, not computed
	open   *Region
	err    error
}

// NewBuilder starts a module of that name with those symbols.
func NewBuilder(name string, symbols ...Symbol) *Builder {
	return &Builder{
		m:      &Module{Name: name, Symbols: symbols},
		params: map[string]*Param{},
		states: map[string]*State{},
		names:  map[string]bool{},
		fixed:  map[*Region]bool{},
	}
}

// Fail records an error found by graph code, unless one is recorded already.
func (b *Builder) Fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// Err returns the first error so far.
func (b *Builder) Err() error { return b.err }

// Input declares the module's next input.
func (b *Builder) Input(name string, t Type) *Value {
	v := b.value(t, nil)
	b.Name(v, name)
	b.m.Inputs = append(b.m.Inputs, v)
	return v
}

// Param declares a weight; its values are read by an operation that names it.
func (b *Builder) Param(p Param) {
	if b.params[p.Name] != nil {
		b.Fail("parameter @%s is declared twice", p.Name)
		return
	}
	b.params[p.Name] = &p
	b.m.Params = append(b.m.Params, &p)
}

// State declares per-sequence memory.
func (b *Builder) State(s State) {
	if b.states[s.Name] != nil {
		b.Fail("state @%s is declared twice", s.Name)
		return
	}
	b.states[s.Name] = &s
	b.m.States = append(b.m.States, &s)
}

// Name gives a value a name, for traces and for readers.
func (b *Builder) Name(v *Value, name string) {
	if b.err != nil {
		return
	}
	if !validName(name) || b.names[name] {
		b.Fail("%%%s: a value's name is made of letters, digits, '_' and '.', begins with a letter and is used once", name)
		return
	}
	b.names[name] = true
	v.Name = name
}

// validName reports whether a name can stand in the text form: letters,
// digits, '_' and '.', beginning with a letter, at most 256 bytes.
func validName(name string) bool {
	if name == "" || len(name) > 256 {
		return false
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '_' || r == '.')) {
			return false
		}
	}
	return true
}

func (b *Builder) value(t Type, def *Node) *Value {
	v := &Value{ID: b.nextID, Type: t, Def: def}
	b.nextID++
	return v
}

// Add applies op to args. attr is a value of the operation's attribute type
// (nil if it has none).
func (b *Builder) Add(op *Op, attr any, args ...*Value) *Value {
	return b.AddNaming(op, attr, "", args...)
}

// AddNaming is Add for an operation that names a parameter or a state.
func (b *Builder) AddNaming(op *Op, attr any, symbol string, args ...*Value) *Value {
	if b.err != nil {
		return &Value{}
	}
	n := &Node{Op: op, Attr: attr, Symbol: symbol, Args: args}
	t, err := n.typeOf(b.m.Symbols, b.params, b.states)
	if err != nil {
		b.err = err
		return &Value{}
	}
	n.Result = b.value(t, n)
	b.m.Nodes = append(b.m.Nodes, n)
	return n.Result
}

// Return ends the module with its results.
func (b *Builder) Return(results ...*Value) { b.m.Results = results }

// Region marks the operations that body adds as a region, which may not hold
// another. What it yields is computed when the module is finished: the values
// used outside, in the order of definition. Yield gives them instead.
func (b *Builder) Region(kind, name string, body func()) *Region {
	r := b.openRegion(kind, name)
	body()
	b.closeRegion()
	return r
}

// Yield fixes what a region yields, in place of what would be computed.
func (b *Builder) Yield(r *Region, values ...*Value) {
	r.Yields, b.fixed[r] = values, true
}

func (b *Builder) openRegion(kind, name string) *Region {
	r := &Region{Kind: kind, Name: name, From: len(b.m.Nodes)}
	if b.open != nil {
		b.Fail("region @%s is inside region @%s; regions do not nest", name, b.open.Name)
		return r
	}
	b.m.Regions = append(b.m.Regions, r)
	b.open = r
	return r
}

func (b *Builder) closeRegion() {
	if b.open != nil {
		b.open.To, b.open = len(b.m.Nodes), nil
	}
}

// Module returns the finished module, verified, or the first error.
func (b *Builder) Module() (*Module, error) {
	if b.err != nil {
		return nil, b.err
	}
	b.m.computeYields(b.fixed)
	if err := Verify(b.m); err != nil {
		return nil, err
	}
	return b.m, nil
}

// typeOf applies the operation's type rule; errors name the operation, its
// operands and their types.
func (n *Node) typeOf(symbols []Symbol, params map[string]*Param, states map[string]*State) (Type, error) {
	if n.Op == nil {
		return Type{}, fmt.Errorf("a node lacks its operation")
	}
	fail := func(format string, args ...any) (Type, error) {
		return Type{}, fmt.Errorf("%s: %s", n.describe(), fmt.Sprintf(format, args...))
	}
	sig := &Signature{Attr: n.Attr, Symbols: symbols}
	for i, a := range n.Args {
		if a == nil {
			return fail("operand %d is missing", i)
		}
		sig.Args = append(sig.Args, a.Type)
	}
	if c := len(n.Args); c < n.Op.Arity.Min || c > n.Op.Arity.Max {
		return fail("takes %s, got %d", n.Op.Arity, c)
	}
	if reflect.TypeOf(n.Op.Attr) != reflect.TypeOf(n.Attr) {
		return fail("attribute must be %T, is %T", n.Op.Attr, n.Attr)
	}
	switch n.Op.Refers {
	case RefersToNothing:
		if n.Symbol != "" {
			return fail("names @%s but refers to nothing", n.Symbol)
		}
	case RefersToParam:
		p := params[n.Symbol]
		if p == nil {
			return fail("no parameter @%s is declared", n.Symbol)
		}
		sig.Referent = p.Type
	case RefersToState:
		s := states[n.Symbol]
		if s == nil {
			return fail("no state @%s is declared", n.Symbol)
		}
		sig.Referent = Type{State: true, Shape: s.Row.Shape, Elem: s.Row.Elem}
	}
	t, err := n.Op.Types(sig)
	if err != nil {
		return fail("%v", err)
	}
	for _, d := range t.Shape {
		if d.Overflow() {
			return fail("a size of the result leaves the 64-bit range")
		}
	}
	return t, nil
}

func (a Arity) String() string {
	switch {
	case a.Min == a.Max && a.Min == 1:
		return "1 operand"
	case a.Min == a.Max:
		return fmt.Sprintf("%d operands", a.Min)
	}
	return fmt.Sprintf("%d to %d operands", a.Min, a.Max)
}

// describe prints the application with its operands' types, for errors.
func (n *Node) describe() string {
	var b strings.Builder
	b.WriteString(n.Op.Name)
	if n.Symbol != "" {
		b.WriteString(" @" + n.Symbol)
	}
	b.WriteByte('(')
	for i, a := range n.Args {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.Ref())
		if a != nil {
			b.WriteString(": " + a.Type.String())
		}
	}
	b.WriteByte(')')
	return b.String()
}
