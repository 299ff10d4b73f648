package kernel

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// expr reads an expression and works out its type.
func (p *parser) expr() (*Expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("blocks and expressions are nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	switch tok := p.tok; {
	case tok == "(":
		return p.binary()
	case slices.Contains(spaces[:], tok):
		return p.load()
	case strings.HasPrefix(tok, "%"):
		return p.special()
	case tok != "" && (tok[0] >= '0' && tok[0] <= '9' || tok[0] == '-' && len(tok) > 1):
		return p.literal()
	}
	if number, ok := numberWords[p.tok]; ok {
		return &number, p.advance()
	}
	at := p.lexer
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	if p.tok == "(" {
		return p.call(at, name)
	}
	if t, ok := p.locals[name]; ok {
		if p.tok == "[" {
			index, err := p.element()
			return &Expr{Op: OpElement, Type: t, Args: []*Expr{index}, Name: name}, err
		}
		return &Expr{Op: OpLocal, Type: t, Name: name}, nil
	}
	if q := p.k.Param(name); q != nil && !q.Pointer {
		return &Expr{Op: OpScalar, Type: q.Elem, Name: name}, nil
	}
	return nil, at.errorf("%s is no variable and no scalar parameter", name)
}

func (p *parser) binary() (*Expr, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	a, err := p.expr()
	if err != nil {
		return nil, err
	}
	at := p.lexer
	op, ok := infix[p.tok]
	if !ok {
		return nil, p.errorf("expected an operator, found %s", show(p.tok))
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	b, err := p.expr()
	if err != nil {
		return nil, err
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	return typed(at, &Expr{Op: op, Args: []*Expr{a, b}})
}

// typed works out an expression's type from its operation's rule.
func typed(at lexer, e *Expr) (*Expr, error) {
	t, err := ops[e.Op].types(e)
	if err != nil {
		return nil, at.errorf("%v", err)
	}
	e.Type = t
	return e, nil
}

func (p *parser) load() (*Expr, error) {
	at := p.lexer
	space, name, index, err := p.place()
	if err != nil {
		return nil, err
	}
	e := &Expr{Op: OpLoad, Args: []*Expr{index}, Name: name, Space: space}
	t, ok := p.k.element(space, name)
	if !ok {
		return nil, at.errorf("there is no %s", place(space, name))
	}
	e.Type = t
	return e, nil
}

// element is the type of a place's elements.
func (k *Kernel) element(space Space, name string) (Type, bool) {
	switch space {
	case Device:
		if q := k.Param(name); q != nil && q.Pointer {
			return q.Elem, true
		}
	case Threadgroup:
		for _, s := range k.Shared {
			if s.Name == name {
				return Of(s.Elem), true
			}
		}
	case StepBlock:
		if k.Step == nil {
			return Type{}, false
		}
		if f := k.Step.Field(name); f != nil && f.Len > 0 {
			return Of(f.Elem), true
		}
	}
	return Type{}, false
}

func (p *parser) special() (*Expr, error) {
	at := p.lexer
	word := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	switch word {
	case "%thread":
		return Thread(), nil
	case "%lane":
		return Lane(), nil
	case "%simd":
		return Simd(), nil
	case "%group.x", "%group.y", "%group.z":
		return Group(int(word[7] - 'x')), nil
	}
	if name, ok := strings.CutPrefix(word, "%step."); ok {
		if f := p.k.Step.Field(name); f != nil && f.Len == 0 {
			return &Expr{Op: OpStep, Type: Of(f.Elem), Name: name}, nil
		}
	}
	return nil, at.errorf("%s is unknown", word)
}

func (p *parser) literal() (*Expr, error) {
	tok := p.tok
	at := p.lexer
	if err := p.advance(); err != nil {
		return nil, err
	}
	whole := func(text string, s Scalar, lo, hi int64) (*Expr, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < lo || n > hi {
			return nil, at.errorf("%s is not a number", show(at.tok))
		}
		return &Expr{Op: OpConst, Type: Of(s), Int: n}, nil
	}
	switch {
	case strings.HasSuffix(tok, "u"):
		return whole(tok[:len(tok)-1], U32, 0, math.MaxUint32)
	case strings.HasSuffix(tok, "l"):
		return whole(tok[:len(tok)-1], I64, math.MinInt64, math.MaxInt64)
	}
	s := F32
	if half, ok := strings.CutSuffix(tok, "h"); ok {
		s, tok = F16, half
	}
	if s == F32 && !strings.ContainsAny(tok, ".en") {
		return whole(tok, I32, math.MinInt32, math.MaxInt32)
	}
	v, err := strconv.ParseFloat(tok, 32)
	if err != nil {
		return nil, at.errorf("%s is not a number", show(at.tok))
	}
	return C(s, v), nil
}

// call reads a function's operands; conversions, casts and lanes carry a type
// or a number in the name.
func (p *parser) call(at lexer, name string) (*Expr, error) {
	var args []*Expr
	for p.tok == "(" || p.tok == "," {
		if err := p.advance(); err != nil {
			return nil, err
		}
		a, err := p.expr()
		if err != nil {
			return nil, err
		}
		if args = append(args, a); len(args) > 4 {
			return nil, at.errorf("%s has more than 4 operands", name)
		}
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	e := &Expr{Args: args}
	if t, ok := typeNamed(name); ok {
		e.Op, e.Type = OpConvert, t
	} else if t, ok := typeNamed(strings.TrimPrefix(name, "as_")); ok {
		e.Op, e.Type = OpBitcast, t
	} else if n, ok := numbered(name, "lane"); ok {
		e.Op, e.Int = OpExtract, n
	} else if n, ok := numbered(name, "shuffle_xor"); ok {
		e.Op, e.Int = OpSimdShuffleXor, n
	} else if op, ok := functions[name]; ok {
		e.Op = op
	} else {
		return nil, at.errorf("%s is no function", name)
	}
	if want := ops[e.Op].args; len(args) != want && want >= 0 {
		return nil, at.errorf("%s takes %d operands, has %d", name, want, len(args))
	}
	return typed(at, e)
}

func numbered(name, prefix string) (int64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.ParseUint(digits, 10, 31)
	return int64(n), ok && err == nil
}
