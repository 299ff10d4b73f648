package kernel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Parse reads a kernel's text, as Print writes it, and verifies the kernel.
// Errors about the text are *Error.
func Parse(src string) (*Kernel, error) {
	if len(src) > maxText {
		return nil, &Error{1, 1, fmt.Sprintf("the text has %d bytes; the limit is %d", len(src), maxText)}
	}
	p := &parser{lexer: lexer{src: src}, k: &Kernel{Step: &StepLayout{}}, locals: map[string]Type{}}
	if err := p.kernel(); err != nil {
		return nil, err
	}
	if err := Verify(p.k); err != nil {
		return nil, err
	}
	return p.k, nil
}

type parser struct {
	lexer
	k      *Kernel
	locals map[string]Type // of all blocks: Verify sees to scopes
	depth  int
}

func (p *parser) accept(tok string) (bool, error) {
	if p.tok != tok {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) expect(tok string) error {
	if p.tok != tok {
		return p.errorf("expected %s, found %s", show(tok), show(p.tok))
	}
	return p.advance()
}

func show(tok string) string {
	switch tok {
	case "\n":
		return "the end of the line"
	case "":
		return "the end of the text"
	}
	return strconv.Quote(tok)
}

// name takes a name.
func (p *parser) name() (string, error) {
	s := p.tok
	if !IsName(s) {
		return "", p.errorf("expected a name, found %s", show(s))
	}
	return s, p.advance()
}

func (p *parser) number() (int, error) {
	n, err := strconv.ParseInt(p.tok, 10, 32)
	if err != nil {
		return 0, p.errorf("expected a number, found %s", show(p.tok))
	}
	return int(n), p.advance()
}

func (p *parser) quoted() (string, error) {
	s, err := strconv.Unquote(p.tok)
	if err != nil || !strings.HasPrefix(p.tok, `"`) {
		return "", p.errorf("expected a quoted text, found %s", show(p.tok))
	}
	return s, p.advance()
}

func (p *parser) typ() (Type, error) {
	t, ok := typeNamed(p.tok)
	if !ok {
		return t, p.errorf("expected a type such as f32 or u32x4, found %s", show(p.tok))
	}
	return t, p.advance()
}

func typeNamed(s string) (Type, bool) {
	base, lanes := s, 1
	switch {
	case strings.HasSuffix(s, "x2"):
		base, lanes = s[:len(s)-2], 2
	case strings.HasSuffix(s, "x4"):
		base, lanes = s[:len(s)-2], 4
	}
	for i, row := range scalars {
		if row.name == base {
			return Type{Scalar(i), lanes}, true
		}
	}
	return Type{}, false
}

// kernel reads the head, line by line, then the body.
func (p *parser) kernel() error {
	if err := p.advance(); err != nil {
		return err
	}
	for p.tok != "{" {
		if p.tok == "\n" {
			if err := p.advance(); err != nil {
				return err
			}
			continue
		}
		word := p.tok
		line := headLines[word]
		if line == nil {
			return p.errorf("expected a declaration or {, found %s", show(word))
		}
		if err := p.advance(); err != nil {
			return err
		}
		if err := line(p); err != nil {
			return err
		}
		if err := p.expect("\n"); err != nil {
			return err
		}
	}
	body, err := p.block()
	if err != nil {
		return err
	}
	p.k.Body = body
	for p.tok == "\n" {
		if err := p.advance(); err != nil {
			return err
		}
	}
	if p.tok != "" {
		return p.errorf("expected the end of the text, found %s", show(p.tok))
	}
	return nil
}

// headLines reads the declarations before the body, by their first word.
var headLines = map[string]func(*parser) error{
	"kernel": func(p *parser) (err error) { p.k.Name, err = p.name(); return err },
	"doc": func(p *parser) error {
		s, err := p.quoted()
		p.k.Doc = append(p.k.Doc, s)
		return err
	},
	"schedule": func(p *parser) (err error) {
		if p.k.Schedule.Threads, err = p.number(); err == nil {
			p.k.Schedule.SimdWidth, err = p.number()
		}
		return err
	},
	"setting": func(p *parser) (err error) {
		var s Setting
		for _, to := range []*string{&s.Name, &s.Value, &s.Why} {
			if *to, err = p.quoted(); err != nil {
				return err
			}
		}
		p.k.Schedule.Settings = append(p.k.Schedule.Settings, s)
		return nil
	},
	"field": func(p *parser) error {
		name, t, n, err := p.array()
		p.k.Step.Fields = append(p.k.Step.Fields, StepField{name, t.Scalar, n})
		return err
	},
	"shared": func(p *parser) error {
		name, t, n, err := p.array()
		p.k.Shared = append(p.k.Shared, &Shared{name, t.Scalar, n})
		return err
	},
	"pointer": func(p *parser) error {
		q := &Param{Pointer: true}
		var err error
		if q.Name, err = p.name(); err != nil {
			return err
		}
		if q.Elem, err = p.typ(); err != nil {
			return err
		}
		i := slices.Index(accesses[:], p.tok)
		if i < 0 {
			return p.errorf("expected read, write or readwrite, found %s", show(p.tok))
		}
		q.Access = Access(i)
		p.k.Params = append(p.k.Params, q)
		return p.advance()
	},
	"scalar": func(p *parser) error {
		name, err := p.name()
		if err != nil {
			return err
		}
		t, err := p.typ()
		p.k.Params = append(p.k.Params, &Param{Name: name, Elem: t})
		return err
	},
}

// array reads a name, a scalar type and a length.
func (p *parser) array() (name string, t Type, n int, err error) {
	if name, err = p.name(); err != nil {
		return
	}
	if t, err = p.typ(); err != nil {
		return
	}
	if t.Lanes != 1 {
		return name, t, 0, p.errorf("%s: elements of %s are not scalars", name, t)
	}
	n, err = p.number()
	return
}

// block reads { statements }.
func (p *parser) block() (body []Stmt, err error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("blocks and expressions are nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	for p.tok != "}" {
		if p.tok == "\n" {
			if err := p.advance(); err != nil {
				return nil, err
			}
			continue
		}
		s, err := p.stmt()
		if err != nil {
			return nil, err
		}
		body = append(body, s)
		if p.tok != "\n" && p.tok != "}" {
			return nil, p.errorf("expected the end of the statement, found %s", show(p.tok))
		}
	}
	return body, p.advance()
}
