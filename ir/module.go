// Package ir is smelt's tensor IR: what a model computes in one step, as a
// list of operations on typed values, with the caches it keeps as typed
// states. It knows no particular operation (package ops holds the table), no
// model, no file format and no device.
//
// A step takes T rows. Each row has a token, a position and a slot (the
// sequence it belongs to); prefill is many rows of one slot, decode one row of
// each. README.md in this folder teaches the IR by printed examples.
package ir

import (
	"fmt"

	"smelt.example/smelt/internal/ir/tensor"
)

// Module is one step of a model.
type Module struct {
	Name    string
	Symbols []Symbol
	Inputs  []*Value // in the order of the rows' fields; see Builder.Input
	Params  []*Param
	States  []*State
	Nodes   []*Node // every operand is defined before its use
	Regions []*Region
	Results []*Value
}

// Row is one row of a step: the token a sequence gets at a position. Slot
// numbers the sequence.
type Row struct {
	Token    int32
	Position int32
	Slot     int32
}

// Symbol is a size that only a step knows, with its definition.
type Symbol struct {
	Name string
	Def  SymbolDef
	Arg  int64 // the ratio of Closing, else 0
}

// SymbolDef says how a step computes a symbol.
type SymbolDef uint8

const (
	// Rows is the number of rows of the step.
	Rows SymbolDef = iota
	// Wanted is the number of rows whose result the caller wants.
	Wanted
	// Reach is one more than the largest position of the step's rows.
	Reach
	// Closing is the number of rows with (position+1) mod Arg = 0.
	Closing
)

var symbolDefs = [...]string{Rows: "rows", Wanted: "wanted", Reach: "reach", Closing: "closing"}

func (d SymbolDef) String() string { return symbolDefs[d] }

// UnmarshalText is the inverse of String.
func (d *SymbolDef) UnmarshalText(name []byte) error {
	for known, s := range symbolDefs {
		if s == string(name) {
			*d = SymbolDef(known)
			return nil
		}
	}
	return fmt.Errorf("%q is not rows, wanted, reach or closing(n)", name)
}

// Param is a weight. Its values come from the checkpoint; Encoding names the
// stored format once the parameter is bound (empty before; "mixed" when its
// pieces are stored in several).
type Param struct {
	Name     string
	Type     Type
	Encoding string
}

// State is memory a sequence keeps between steps: per slot a log of rows that
// only grows, addressed by row index. A reader at the newest row looks back
// at most Keep rows, so a device may keep it as a ring of that many. Stored
// names the format that rows are kept in (encoding.ParseRow lists them; empty:
// as computed). The graph's values are unaffected: a pass that sets Stored puts
// the rounding into the graph, before the append.
type State struct {
	Name   string
	Row    Type // the type of one row (not a State type)
	Keep   Expr
	Stored string
}

// Value is a result of a node, or an input (Def == nil).
type Value struct {
	ID   int    // unique and ascending in a module
	Name string // optional; letters, digits, '_' and '.'; not starting with a digit
	Type Type
	Def  *Node
}

// Ref prints the value as the text form refers to it.
func (v *Value) Ref() string {
	if v == nil {
		return "%<nil>"
	}
	if v.Name != "" {
		return "%" + v.Name
	}
	return fmt.Sprintf("%%%d", v.ID)
}

// Node applies an operation.
type Node struct {
	Op     *Op
	Attr   any    // the struct type of Op.Attr; nil if that is nil
	Symbol string // the parameter or state the operation names; see Op.Refers
	Args   []*Value
	Result *Value
}

// Referent says which kind of module symbol an operation names.
type Referent uint8

const (
	// RefersToNothing is for all operations on values alone.
	RefersToNothing Referent = iota
	// RefersToParam is for operations that read a parameter.
	RefersToParam
	// RefersToState is for the operation that opens a state.
	RefersToState
)

// Effect says what an operation touches besides its operands.
type Effect uint8

const (
	// effectUnset is the zero value, so that a row without an effect fails the table's check.
	effectUnset Effect = iota
	// Pure operations may be removed, repeated and moved.
	Pure
	// ReadsWeights operations read the checkpoint and are otherwise pure.
	ReadsWeights
	// ReadsState operations must stay before the next append to their state.
	ReadsState
	// AppendsState operations must run once, in order.
	AppendsState
)

// Class is an operation's contract about numbers.
type Class struct {
	Kind ClassKind
	// ULP bounds an Elementwise result's error, in units in the last place of float32.
	ULP int
}

// ClassKind orders contracts from strict to loose.
type ClassKind uint8

const (
	classUnset ClassKind = iota
	// Exact: given equal inputs, equal bits. Ids, indices, selections, moved data.
	Exact
	// Elementwise: each result depends on a fixed few inputs and is within ULP of the exact value.
	Elementwise
	// Reduction: a sum; its order is documented by the reference, another order is
	// within n*2^-24 of the sum of absolute values.
	Reduction
)

// Op is one row of the operation table.
type Op struct {
	Name    string
	Doc     string // one line
	Arity   Arity
	Attr    any // zero value of the attribute struct, nil for none
	Refers  Referent
	Effect  Effect
	Class   Class
	Types   func(*Signature) (Type, error)
	Execute Reference
	// Indexes lists the operands whose integers are positions in another operand.
	Indexes []Index
	// Computes is set where the integers of the result are worked out from those of
	// the operands, and not taken from them.
	Computes bool
}

// Index says that the integers of an operand are positions along an axis of
// another operand, where 0 is the first. Axis counts from the end if negative.
type Index struct{ Operand, Into, Axis int }

// Arity bounds the number of operands.
type Arity struct{ Min, Max int }

// Signature holds what a type rule may look at.
type Signature struct {
	Attr any
	Args []Type
	// Referent is the type of the parameter, or of the state as a value.
	Referent Type
	// Symbols holds the module's symbols.
	Symbols []Symbol
}

// Reference holds an operation's meaning, executable in both precisions.
type Reference struct {
	F32 func(*Call[float32]) error
	F64 func(*Call[float64]) error
}

// Both builds a Reference.
func Both(f32 func(*Call[float32]) error, f64 func(*Call[float64]) error) Reference {
	return Reference{F32: f32, F64: f64}
}

// Call is one execution of a node.
type Call[F tensor.Float] struct {
	Node *Node
	Args []tensor.Value[F]
	// Param is the weight a RefersToParam operation names.
	Param tensor.Source
	// State is the log a RefersToState operation names.
	State *tensor.Log[F]
	// Shape is the result's shape, evaluated; Out must be filled by the reference.
	Shape []int
	Out   tensor.Value[F]
	// Env gives the step's symbols.
	Env Env
	// Parallel runs body over [0,n) in ranges; every index exactly once, in any order.
	Parallel func(n int, body func(lo, hi int))
}

// Check reports the first column the row lacks.
func (op *Op) Check() error {
	lacks := func(column string) error {
		return fmt.Errorf("ir: operation %q lacks its %s", op.Name, column)
	}
	switch {
	case op.Name == "":
		return fmt.Errorf("ir: an operation lacks its name")
	case op.Doc == "":
		return lacks("doc line")
	case op.Arity.Max < op.Arity.Min || op.Arity.Min < 0:
		return lacks("arity")
	case op.Effect == effectUnset:
		return lacks("effect")
	case op.Class.Kind == classUnset, op.Class.Kind == Elementwise && op.Class.ULP <= 0:
		return lacks("numeric class")
	case op.Types == nil:
		return lacks("type rule")
	case op.Execute.F32 == nil || op.Execute.F64 == nil:
		return lacks("reference function")
	}
	return checkAttr(op)
}

// Param returns the parameter of that name, or nil.
func (m *Module) Param(name string) *Param {
	for _, p := range m.Params {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// State returns the state of that name, or nil.
func (m *Module) State(name string) *State {
	for _, s := range m.States {
		if s.Name == name {
			return s
		}
	}
	return nil
}
