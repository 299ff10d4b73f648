package text

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/alecthomas/participle/v2/lexer"

	"smelt.example/smelt/internal/ir/attr"
	"smelt.example/smelt/internal/ir/fault"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

const (
	maxBytes = 64 << 20 // V4-Pro's module is below 1 MB
	maxDepth = 64       // open brackets

	maxMessage = 2000 // bytes of an error, which may list all operations; a word of the text may have millions
)

// Error says what is wrong with a text, and where.
type Error struct {
	File         string
	Line, Column int
	Message      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, message.Line(e.Message, maxMessage))
}

// Parse reads a module. file is named in errors, which are of type *Error and
// say the line, the column and what was expected. The module is verified.
func Parse(file, src string) (*ir.Module, error) {
	if len(src) > maxBytes {
		return nil, &Error{file, 1, 1, fmt.Sprintf("text has %d bytes; the limit is %d", len(src), maxBytes)}
	}
	if err := checkDepth(file, src); err != nil {
		return nil, err
	}
	parser, err := newParser()
	if err != nil {
		return nil, err
	}
	ast, err := parser.ParseString(file, src)
	if err != nil {
		return nil, syntaxError(file, src, ast != nil && ast.Name != "", err)
	}
	return (&reader{file: file, values: map[string]*ir.Value{}}).module(ast)
}

type reader struct {
	file   string
	b      *ir.Builder
	values map[string]*ir.Value
}

func (r *reader) failf(at lexer.Position, format string, args ...any) error {
	return &Error{r.file, at.Line, at.Column, fmt.Sprintf(format, args...)}
}

// fromBuilder places the builder's first error, if any.
func (r *reader) fromBuilder(at lexer.Position) error {
	if err := r.b.Err(); err != nil {
		return r.failf(at, "%v", err)
	}
	return nil
}

func (g globalAST) name() string { return strings.TrimPrefix(string(g), "@") }

func (r *reader) module(ast *moduleAST) (*ir.Module, error) {
	symbols, err := r.symbols(ast.Symbols)
	if err != nil {
		return nil, err
	}
	r.b = ir.NewBuilder(ast.Name.name(), symbols...)
	if err := r.declarations(ast); err != nil {
		return nil, err
	}
	for _, item := range ast.Items {
		if item.Region != nil {
			err = r.region(item.Region)
		} else {
			err = r.node(item.Node)
		}
		if err != nil {
			return nil, err
		}
	}
	results, err := r.refs(ast.Results)
	if err != nil {
		return nil, err
	}
	r.b.Return(results...)
	m, err := r.b.Module()
	if err != nil {
		return nil, r.fault(ast, err)
	}
	return m, nil
}

// fault places what the verifier found.
func (r *reader) fault(ast *moduleAST, err error) error {
	at := ast.Pos
	var f *fault.Error
	if errors.As(err, &f) {
		err = f.Err
		switch f.Part {
		case fault.Symbols:
			at = ast.Symbols[f.Index].Pos
		case fault.Inputs:
			at = ast.Inputs[f.Index].Pos
		case fault.Params:
			at = ast.Params[f.Index].Pos
		case fault.States:
			at = ast.States[f.Index].Pos
		case fault.Nodes:
			at = ast.nodes()[f.Index].Pos
		case fault.Regions:
			at = ast.regions()[f.Index].Pos
		case fault.Results:
			at = ast.Results[f.Index].Pos
		}
	}
	return r.failf(at, "%v", err)
}

func (r *reader) symbols(asts []*symbolAST) ([]ir.Symbol, error) {
	var out []ir.Symbol
	for _, s := range asts {
		sym := ir.Symbol{Name: s.Name}
		if err := sym.Def.UnmarshalText([]byte(s.Def)); err != nil {
			return nil, r.failf(s.Pos, "symbol %s: %v", s.Name, err)
		}
		if s.Arg != "" {
			n, err := strconv.ParseInt(s.Arg, 10, 32)
			if err != nil {
				return nil, r.failf(s.Pos, "symbol %s: %s is not a 32-bit number", s.Name, s.Arg)
			}
			sym.Arg = n
		}
		out = append(out, sym)
	}
	return out, nil
}

func (r *reader) declarations(ast *moduleAST) error {
	for _, in := range ast.Inputs {
		t, err := r.typ(in.Type)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(in.Name, "%")
		r.values[in.Name] = r.b.Input(name, t)
		if err := r.fromBuilder(in.Pos); err != nil {
			return err
		}
	}
	for _, p := range ast.Params {
		t, err := r.typ(p.Type)
		if err != nil {
			return err
		}
		r.b.Param(ir.Param{Name: p.Name.name(), Type: t, Encoding: p.Stored})
		if err := r.fromBuilder(p.Pos); err != nil {
			return err
		}
	}
	for _, s := range ast.States {
		t, err := r.typ(s.Row)
		if err != nil {
			return err
		}
		keep, err := r.expr(s.Keep)
		if err != nil {
			return err
		}
		r.b.State(ir.State{Name: s.Name.name(), Row: t, Keep: keep, Stored: s.Stored})
		if err := r.fromBuilder(s.Pos); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) value(ref *refAST) (*ir.Value, error) {
	if v := r.values[ref.Name]; v != nil {
		return v, nil
	}
	return nil, r.failf(ref.Pos, "%s is not defined above", ref.Name)
}

func (r *reader) refs(asts []*refAST) ([]*ir.Value, error) {
	out := make([]*ir.Value, len(asts))
	for i, ref := range asts {
		v, err := r.value(ref)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (r *reader) region(ast *regionAST) (err error) {
	region := r.b.Region(ast.Kind, ast.Name.name(), func() {
		for _, n := range ast.Nodes {
			if err = r.node(n); err != nil {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	yields, err := r.refs(ast.Yields)
	r.b.Yield(region, yields...)
	return err
}

func (r *reader) node(n *nodeAST) error {
	op := ops.Named(n.Op)
	if op == nil {
		return r.failf(n.Pos, "unknown operation %q; known are %s", n.Op, strings.Join(ops.Names(), ", "))
	}
	if r.values[n.Result] != nil {
		return r.failf(n.Pos, "%s is defined twice", n.Result)
	}
	attr, err := r.attr(op, n)
	if err != nil {
		return err
	}
	args, err := r.refs(n.Args)
	if err != nil {
		return err
	}
	want, err := r.typ(n.Type)
	if err != nil {
		return err
	}
	v := r.b.AddNaming(op, attr, n.Symbol.name(), args...)
	if name := strings.TrimPrefix(n.Result, "%"); !isNumber(name) {
		r.b.Name(v, name)
	}
	if err := r.fromBuilder(n.Pos); err != nil {
		return err
	}
	if !v.Type.Equal(want) {
		return r.failf(n.Type.Pos, "%s gives %s, the text says %s", n.Op, v.Type, want)
	}
	r.values[n.Result] = v
	return nil
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

func (r *reader) typ(t *typeAST) (ir.Type, error) {
	last := t.Body[len(t.Body)-1]
	e, err := r.expr(last)
	if err != nil {
		return ir.Type{}, err
	}
	out := ir.Type{State: t.Kind == "state"}
	if err := out.Elem.UnmarshalText([]byte(e.String())); err != nil {
		return ir.Type{}, r.failf(last.Pos, "%v", err)
	}
	out.Shape, err = r.exprs(t.Body[:len(t.Body)-1])
	return out, err
}

func (r *reader) exprs(asts []*exprAST) (out []ir.Expr, err error) {
	for _, a := range asts {
		e, err := r.expr(a)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (r *reader) expr(a *exprAST) (ir.Expr, error) {
	sum, err := r.term(a.First)
	if err != nil {
		return sum, err
	}
	if a.Minus {
		sum = ir.Expr{}.Sub(sum)
	}
	for _, more := range a.Rest {
		t, err := r.term(more.Term)
		if err != nil {
			return sum, err
		}
		if more.Sign == "-" {
			t = ir.Expr{}.Sub(t)
		}
		sum = sum.Add(t)
	}
	if sum.Overflow() {
		return sum, r.failf(a.Pos, "expression is too large: a number leaves the 64-bit range or it has too many terms")
	}
	return sum, nil
}

func (r *reader) term(t *termAST) (ir.Expr, error) {
	p := ir.Const(1)
	for _, f := range t.Factors {
		e, err := r.factor(f)
		if err != nil {
			return p, err
		}
		p = p.Mul(e)
	}
	return p, nil
}

func (r *reader) factor(f *factorAST) (ir.Expr, error) {
	switch {
	case f.Floor != nil:
		num, err := r.expr(f.Floor.Num)
		if err != nil {
			return num, err
		}
		div, err := strconv.ParseInt(f.Floor.Div, 10, 64)
		if err != nil || div < 1 {
			return num, r.failf(f.Pos, "floor divides by %s; expected a number from 1 on", f.Floor.Div)
		}
		return num.FloorDiv(div), nil
	case f.Min != nil:
		a, err := r.expr(f.Min.A)
		if err != nil {
			return a, err
		}
		b, err := r.expr(f.Min.B)
		return a.Min(b), err
	case f.Symbol != "":
		return ir.Sym(f.Symbol), nil
	case f.Group != nil:
		return r.expr(f.Group)
	}
	n, err := strconv.ParseInt(f.Int, 10, 64)
	if err != nil {
		return ir.Expr{}, r.failf(f.Pos, "%s leaves the 64-bit range", f.Int)
	}
	return ir.Const(n), nil
}

// attr fills the operation's attribute struct from the fields of the text.
func (r *reader) attr(op *ir.Op, n *nodeAST) (any, error) {
	if op.Attr == nil {
		if len(n.Attr) > 0 {
			return nil, r.failf(n.Attr[0].Pos, "%s has no attributes", op.Name)
		}
		return nil, nil
	}
	v := reflect.New(reflect.TypeOf(op.Attr)).Elem()
	given := map[string]bool{}
	for _, f := range n.Attr {
		field, ok := fieldNamed(v, f.Name)
		if !ok || given[f.Name] {
			return nil, r.failf(f.Pos, "%s: attribute %q is given twice or unknown; expected %s", op.Name, f.Name, fieldNames(v.Type()))
		}
		given[f.Name] = true
		if err := r.setField(field, f); err != nil {
			return nil, err
		}
	}
	return v.Interface(), nil
}

func fieldNamed(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if attr.FieldName(v.Type().Field(i).Name) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func fieldNames(t reflect.Type) string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = attr.FieldName(t.Field(i).Name)
	}
	return strings.Join(names, ", ")
}

func (r *reader) setField(field reflect.Value, f *fieldAST) error {
	mismatch := func(want string) error {
		return r.failf(f.Pos, "attribute %s: expected %s", f.Name, want)
	}
	if _, ok := field.Interface().([]ir.Expr); ok {
		if f.Value.Shape == nil {
			return mismatch("a shape in brackets")
		}
		dims, err := r.exprs(f.Value.Shape.Dims)
		field.Set(reflect.ValueOf(dims))
		return err
	}
	if field.Kind() == reflect.String {
		if f.Value.Text == nil {
			return mismatch("a quoted string")
		}
		s, err := strconv.Unquote(*f.Value.Text)
		if err != nil {
			return mismatch("a quoted string with Go's escapes")
		}
		field.SetString(s)
		return nil
	}
	if field.Kind() == reflect.Float64 && f.Value.Float != nil {
		x, err := strconv.ParseFloat(*f.Value.Float, 64)
		if err != nil {
			return mismatch("a 64-bit floating-point number")
		}
		field.SetFloat(x)
		return nil
	}
	if f.Value.Expr == nil {
		return mismatch(kindName(field))
	}
	e, err := r.expr(f.Value.Expr)
	if err != nil {
		return err
	}
	if !setFromExpr(field, e) {
		return mismatch(kindName(field))
	}
	return nil
}

func kindName(field reflect.Value) string {
	switch field.Kind() {
	case reflect.Int:
		return "an integer"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number, inf, -inf or nan"
	}
	return "an integer expression"
}

// setFromExpr stores what the grammar read as an expression: an expression, a
// number, or one of the words true, false, inf, -inf and nan.
func setFromExpr(field reflect.Value, e ir.Expr) bool {
	n, isConst := e.Value()
	word := e.String()
	switch field.Kind() {
	case reflect.Int:
		field.SetInt(n)
		return isConst
	case reflect.Bool:
		field.SetBool(word == "true")
		return word == "true" || word == "false"
	case reflect.Float64:
		words := map[string]float64{"inf": math.Inf(1), "-inf": math.Inf(-1), "nan": math.NaN()}
		x, isWord := words[word]
		if isConst {
			x = float64(n)
		}
		field.SetFloat(x)
		return isConst || isWord
	}
	field.Set(reflect.ValueOf(e))
	return true
}
