package text

import (
	"github.com/alecthomas/participle/v2"
	"github.com/alecthomas/participle/v2/lexer"
)

// The grammar, from the top. A shape's last item is its element; the grammar
// reads it as an expression and the builder tells them apart.

type moduleAST struct {
	Pos     lexer.Position
	Name    globalAST    `parser:"'module' @Global"`
	Symbols []*symbolAST `parser:"@@*"`
	Inputs  []*inputAST  `parser:"@@*"`
	Params  []*paramAST  `parser:"@@*"`
	States  []*stateAST  `parser:"@@*"`
	Items   []*itemAST   `parser:"@@*"`
	Results []*refAST    `parser:"'return' @@ (',' @@)*"`
}

// nodes lists the operations, those in regions too.
func (m *moduleAST) nodes() (out []*nodeAST) {
	for _, item := range m.Items {
		if item.Region != nil {
			out = append(out, item.Region.Nodes...)
		} else {
			out = append(out, item.Node)
		}
	}
	return out
}

func (m *moduleAST) regions() (out []*regionAST) {
	for _, item := range m.Items {
		if item.Region != nil {
			out = append(out, item.Region)
		}
	}
	return out
}

type globalAST string

type symbolAST struct {
	Pos  lexer.Position
	Name string `parser:"'symbol' @Ident '='"`
	Def  string `parser:"@Ident"`
	Arg  string `parser:"('(' @Int ')')?"`
}

type inputAST struct {
	Pos  lexer.Position
	Name string   `parser:"'input' @Value ':'"`
	Type *typeAST `parser:"@@"`
}

type paramAST struct {
	Pos    lexer.Position
	Name   globalAST `parser:"'param' @Global ':'"`
	Type   *typeAST  `parser:"@@"`
	Stored string    `parser:"('stored' @Ident)?"`
}

type stateAST struct {
	Pos    lexer.Position
	Name   globalAST `parser:"'state' @Global ':'"`
	Row    *typeAST  `parser:"@@"`
	Keep   *exprAST  `parser:"'keep' @@"`
	Stored string    `parser:"('stored' @Ident)?"`
}

// itemAST is an operation or a region of them.
type itemAST struct {
	Node   *nodeAST   `parser:"  @@"`
	Region *regionAST `parser:"| @@"`
}

type regionAST struct {
	Pos    lexer.Position
	Kind   string     `parser:"'region' @Ident"`
	Name   globalAST  `parser:"@Global '{'"`
	Nodes  []*nodeAST `parser:"@@* '}'"`
	Yields []*refAST  `parser:"('yields' @@ (',' @@)*)?"`
}

type nodeAST struct {
	Pos    lexer.Position
	Result string      `parser:"@Value '='"`
	Op     string      `parser:"@Ident"`
	Symbol globalAST   `parser:"@Global?"`
	Args   []*refAST   `parser:"('(' @@ (',' @@)* ')')?"`
	Attr   []*fieldAST `parser:"('{' @@ (',' @@)* '}')?"`
	Type   *typeAST    `parser:"':' @@"`
}

type refAST struct {
	Pos  lexer.Position
	Name string `parser:"@Value"`
}

type fieldAST struct {
	Pos   lexer.Position
	Name  string    `parser:"@Ident '='"`
	Value *valueAST `parser:"@@"`
}

type valueAST struct {
	Text  *string   `parser:"  @String"`
	Shape *shapeAST `parser:"| @@"`
	Float *string   `parser:"| @Float"`
	Expr  *exprAST  `parser:"| @@"`
}

type shapeAST struct {
	Dims []*exprAST `parser:"'[' (@@ (',' @@)*)? ']'"`
}

type typeAST struct {
	Pos  lexer.Position
	Kind string     `parser:"@('tensor' | 'state')"`
	Body []*exprAST `parser:"'<' @@ ('x' @@)* '>'"`
}

type exprAST struct {
	Pos   lexer.Position
	Minus bool       `parser:"@'-'?"`
	First *termAST   `parser:"@@"`
	Rest  []*moreAST `parser:"@@*"`
}

type moreAST struct {
	Sign string   `parser:"@('+' | '-')"`
	Term *termAST `parser:"@@"`
}

type termAST struct {
	Factors []*factorAST `parser:"@@ ('*' @@)*"`
}

type factorAST struct {
	Pos    lexer.Position
	Int    string    `parser:"  @Int"`
	Floor  *floorAST `parser:"| @@"`
	Min    *minAST   `parser:"| @@"`
	Symbol string    `parser:"| @Ident"`
	Group  *exprAST  `parser:"| '(' @@ ')'"`
}

type floorAST struct {
	Num *exprAST `parser:"'floor' '(' @@"`
	Div string   `parser:"'/' @Int ')'"`
}

type minAST struct {
	A *exprAST `parser:"'min' '(' @@"`
	B *exprAST `parser:"',' @@ ')'"`
}

// newParser builds the parser; it costs about a millisecond, so each Parse
// makes its own and the package keeps no state.
func newParser() (*participle.Parser[moduleAST], error) {
	// The lexer tries the rules in order, so frequent tokens come first; Float
	// stands before Int and before Punct's minus.
	rules, err := lexer.NewSimple([]lexer.SimpleRule{
		{Name: "space", Pattern: `[ \t\r\n]+`},
		{Name: "Ident", Pattern: `[A-Za-z][A-Za-z0-9_.]*`},
		{Name: "Value", Pattern: `%[A-Za-z0-9_.]+`},
		{Name: "Float", Pattern: `-?[0-9]+(\.[0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)`},
		{Name: "Int", Pattern: `[0-9]+`},
		{Name: "Punct", Pattern: `[-+*/(){}<>\[\],:=]`},
		{Name: "Global", Pattern: `@[A-Za-z][A-Za-z0-9_.]*`},
		{Name: "String", Pattern: `"(\\.|[^"\\\n])*"`},
		{Name: "comment", Pattern: `#[^\n]*`},
	})
	if err != nil {
		return nil, err
	}
	return participle.Build[moduleAST](participle.Lexer(rules), participle.UseLookahead(1))
}
