package kernel

// Exprs calls visit with every expression of a body: those that statements hold,
// and their operands before them.
func Exprs(body []Stmt, visit func(*Expr)) {
	for _, s := range body {
		for _, e := range operands(s) {
			visitExpr(e, visit)
		}
		switch s := s.(type) {
		case *For:
			Exprs(s.Body, visit)
		case *If:
			Exprs(s.Then, visit)
			Exprs(s.Else, visit)
		}
	}
}

func visitExpr(e *Expr, visit func(*Expr)) {
	for _, a := range e.Args {
		visitExpr(a, visit)
	}
	visit(e)
}

// Declared calls visit with every name that a body declares: of values, counters
// and fragments.
func Declared(body []Stmt, visit func(name string)) {
	for _, s := range body {
		switch s := s.(type) {
		case *Let:
			visit(s.Name)
		case *Var:
			visit(s.Name)
		case *Locals:
			visit(s.Name)
		case *Fragment:
			visit(s.Name)
		case *For:
			visit(s.Name)
			Declared(s.Body, visit)
		case *If:
			Declared(s.Then, visit)
			Declared(s.Else, visit)
		}
	}
}

// operands are the expressions that a statement holds itself.
func operands(s Stmt) []*Expr {
	switch s := s.(type) {
	case *Let:
		return []*Expr{s.Value}
	case *Var:
		return []*Expr{s.Init}
	case *Set:
		return []*Expr{s.Value}
	case *SetElement:
		return []*Expr{s.Index, s.Value}
	case *Store:
		return []*Expr{s.Index, s.Value}
	case *Prefetch:
		return []*Expr{s.Index}
	case *For:
		return []*Expr{s.Lo, s.Hi, s.Step}
	case *If:
		return []*Expr{s.Cond}
	case *FragmentLoad:
		return []*Expr{s.Index, s.Stride}
	case *FragmentStore:
		return []*Expr{s.Index, s.Stride}
	}
	return nil
}
