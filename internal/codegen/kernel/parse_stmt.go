package kernel

import "slices"

// stmt reads one statement by its first word.
func (p *parser) stmt() (Stmt, error) {
	word := p.tok
	read := statements[word]
	if read == nil {
		return nil, p.errorf("expected a statement, found %s", show(word))
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return read(p)
}

// statements reads what follows a statement's first word. It is filled in by
// init, since blocks hold statements.
var statements map[string]func(*parser) (Stmt, error)

func init() {
	statements = map[string]func(*parser) (Stmt, error){
		"comment": func(p *parser) (Stmt, error) { s, err := p.quoted(); return &Comment{s}, err },
		"let": func(p *parser) (Stmt, error) {
			name, v, err := p.assignment()
			if err != nil {
				return nil, err
			}
			p.locals[name] = v.Type
			l := &Let{Name: name, Value: v}
			if about, err := p.accept("about"); err != nil || !about {
				return l, err
			}
			l.About, err = p.expr()
			return l, err
		},
		"var": func(p *parser) (Stmt, error) {
			name, v, err := p.assignment()
			if err != nil {
				return nil, err
			}
			p.locals[name] = v.Type
			return &Var{name, v}, nil
		},
		"set":      (*parser).set,
		"locals":   (*parser).variables,
		"store":    (*parser).store,
		"prefetch": (*parser).prefetch,
		"for":      (*parser).loop,
		"if":       (*parser).branch,
		"barrier":  func(p *parser) (Stmt, error) { d, err := p.accept("device"); return &Barrier{d}, err },
		"fragment": (*parser).fragment,
		"load":     (*parser).fragmentLoad,
		"put":      (*parser).fragmentStore,
		"multiply": (*parser).fragmentMultiply,
	}
}

func (p *parser) assignment() (name string, v *Expr, err error) {
	if name, err = p.name(); err != nil {
		return
	}
	if err = p.expect("="); err != nil {
		return
	}
	v, err = p.expr()
	return
}

func (p *parser) set() (Stmt, error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	var index *Expr
	if p.tok == "[" {
		if index, err = p.element(); err != nil {
			return nil, err
		}
	}
	if err := p.expect("="); err != nil {
		return nil, err
	}
	v, err := p.expr()
	if index != nil {
		return &SetElement{name, index, v}, err
	}
	return &Set{name, v}, err
}

// element reads an index in brackets.
func (p *parser) element() (index *Expr, err error) {
	if err = p.expect("["); err != nil {
		return nil, err
	}
	if index, err = p.expr(); err != nil {
		return nil, err
	}
	return index, p.expect("]")
}

func (p *parser) variables() (Stmt, error) {
	s := &Locals{}
	var err error
	if s.Name, err = p.name(); err != nil {
		return nil, err
	}
	if s.Elem, err = p.typ(); err != nil {
		return nil, err
	}
	p.locals[s.Name] = s.Elem
	s.Len, err = p.number()
	return s, err
}

// place reads "device x" or "threadgroup x" and the index in brackets.
func (p *parser) place() (space Space, name string, index *Expr, err error) {
	i := slices.Index(spaces[:], p.tok)
	if i < 0 {
		return space, "", nil, p.errorf("expected device, threadgroup or step, found %s", show(p.tok))
	}
	space = Space(i)
	if err = p.advance(); err != nil {
		return
	}
	if name, err = p.name(); err != nil {
		return
	}
	index, err = p.element()
	return space, name, index, err
}

func (p *parser) store() (Stmt, error) {
	space, name, index, err := p.place()
	if err != nil {
		return nil, err
	}
	if err := p.expect("="); err != nil {
		return nil, err
	}
	v, err := p.expr()
	return &Store{space, name, index, v}, err
}

func (p *parser) prefetch() (Stmt, error) {
	space, name, index, err := p.place()
	if err == nil && space != Device {
		err = p.errorf("only device memory can be prefetched")
	}
	return &Prefetch{name, index}, err
}

func (p *parser) loop() (Stmt, error) {
	s := &For{}
	var err error
	if s.Name, s.Lo, err = p.assignment(); err != nil {
		return nil, err
	}
	p.locals[s.Name] = Of(I32)
	if err := p.expect("to"); err != nil {
		return nil, err
	}
	if s.Hi, err = p.expr(); err != nil {
		return nil, err
	}
	if err := p.expect("by"); err != nil {
		return nil, err
	}
	if s.Step, err = p.expr(); err != nil {
		return nil, err
	}
	if s.Unrolled, err = p.accept("unrolled"); err != nil {
		return nil, err
	}
	s.Body, err = p.block()
	return s, err
}

func (p *parser) branch() (Stmt, error) {
	s := &If{}
	var err error
	if s.Cond, err = p.expr(); err != nil {
		return nil, err
	}
	if s.Then, err = p.block(); err != nil {
		return nil, err
	}
	if otherwise, err := p.accept("else"); err != nil || !otherwise {
		return s, err
	}
	s.Else, err = p.block()
	return s, err
}

func (p *parser) fragment() (Stmt, error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	t, err := p.typ()
	if err == nil && t.Lanes != 1 {
		err = p.errorf("%s: elements of %s are not scalars", name, t)
	}
	s := &Fragment{name, t.Scalar, fragmentSide, fragmentSide}
	if err != nil || p.tok == "\n" {
		return s, err
	}
	if s.Rows, err = p.number(); err == nil {
		s.Columns, err = p.number()
	}
	return s, err
}

func (p *parser) fragmentLoad() (Stmt, error) {
	s := &FragmentLoad{}
	var err error
	if s.Name, err = p.name(); err != nil {
		return nil, err
	}
	if err = p.expect("="); err != nil {
		return nil, err
	}
	if s.Space, s.Place, s.Index, err = p.place(); err != nil {
		return nil, err
	}
	if err = p.expect("stride"); err != nil {
		return nil, err
	}
	if s.Stride, err = p.expr(); err != nil {
		return nil, err
	}
	s.Transpose, err = p.accept("transposed")
	return s, err
}

func (p *parser) fragmentStore() (Stmt, error) {
	s := &FragmentStore{}
	var err error
	if s.Space, s.Place, s.Index, err = p.place(); err != nil {
		return nil, err
	}
	if err = p.expect("stride"); err != nil {
		return nil, err
	}
	if s.Stride, err = p.expr(); err != nil {
		return nil, err
	}
	if err = p.expect("="); err != nil {
		return nil, err
	}
	s.Name, err = p.name()
	return s, err
}

func (p *parser) fragmentMultiply() (Stmt, error) {
	s := &FragmentMultiply{}
	var err error
	for _, part := range []struct {
		before string
		name   *string
	}{{"", &s.D}, {"+=", &s.A}, {"*", &s.B}} {
		if part.before != "" {
			if err = p.expect(part.before); err != nil {
				return nil, err
			}
		}
		if *part.name, err = p.name(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// infix finds the operation of an infix operator, functions that of a call.
var infix, functions = byText()

func byText() (infix, functions map[string]Op) {
	infix, functions = map[string]Op{}, map[string]Op{}
	for op, row := range ops {
		switch {
		case row.infix:
			infix[row.name] = Op(op)
		case row.args != 0 && !slices.Contains([]string{"load", "element", "convert", "bitcast", "lane", "shuffle_xor"}, row.name):
			functions[row.name] = Op(op)
		}
	}
	return infix, functions
}
