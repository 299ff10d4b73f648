package text

import (
	"fmt"

	"github.com/alecthomas/participle/v2"

	"smelt.example/smelt/ir"
)

// Formulas parses size expressions such as floor((T+3)/4)*64, which is how
// ir.Expr prints. A formula is parsed once. Not safe for concurrent use.
type Formulas struct {
	parser *participle.Parser[exprAST]
	known  map[string]ir.Expr
}

// maxFormula bounds a formula's text in bytes.
const maxFormula = 1 << 12

// NewFormulas prepares a parser.
func NewFormulas() (*Formulas, error) {
	parser, err := parserOf[exprAST]()
	if err != nil {
		return nil, err
	}
	return &Formulas{parser, map[string]ir.Expr{}}, nil
}

// Parse reads one formula.
func (f *Formulas) Parse(src string) (ir.Expr, error) {
	if e, ok := f.known[src]; ok {
		return e, nil
	}
	if len(src) > maxFormula {
		return ir.Expr{}, fmt.Errorf("a formula of %d bytes; the limit is %d", len(src), maxFormula)
	}
	if err := checkDepth("formula", src); err != nil {
		return ir.Expr{}, err
	}
	ast, err := f.parser.ParseString("formula", src)
	if err != nil {
		return ir.Expr{}, syntaxError("formula", src, true, err)
	}
	e, err := (&reader{file: "formula"}).expr(ast)
	if err == nil {
		f.known[src] = e
	}
	return e, err
}

// Node prints one operation, without what it is defined as elsewhere: operands
// that have no name are printed by their IDs.
func Node(n *ir.Node) string {
	args := ""
	for i, a := range n.Args {
		if i > 0 {
			args += ", "
		}
		args += a.Ref()
	}
	s := n.Result.Ref() + " = " + n.Op.Name
	if n.Symbol != "" {
		s += " @" + n.Symbol
	}
	if len(n.Args) > 0 {
		s += "(" + args + ")"
	}
	return s + attrText(n.Attr) + " : " + n.Result.Type.String()
}
