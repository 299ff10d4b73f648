package kernel

// Rewritten is a copy of a body with other names, as in Renamed, and other expressions:
// with, unless nil, is given each expression and its copy, whose operands are rewritten
// already, and says what stands for it; the copy is the expression itself where nothing
// below it changed. Remarks stay.
func Rewritten(body []Stmt, to func(NameKind, string) string, with func(old, copied *Expr) *Expr) []Stmt {
	r := &renamer{to: to, with: with, remarks: true, done: map[*Expr]*Expr{}}
	return r.block(body)
}

// Operands are the expressions that a statement holds itself, in an order of its kind.
func Operands(s Stmt) []*Expr { return operands(s) }

// Blocks are the blocks that a statement holds itself.
func Blocks(s Stmt) [][]Stmt {
	switch s := s.(type) {
	case *For:
		return [][]Stmt{s.Body}
	case *If:
		return [][]Stmt{s.Then, s.Else}
	}
	return nil
}
