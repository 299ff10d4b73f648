package msl

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/codegen/kernel"
)

// block prints statements.
func (p *printer) block(indent int, body []kernel.Stmt) {
	for i, s := range body {
		var next kernel.Stmt
		if i+1 < len(body) {
			next = body[i+1]
		}
		p.stmt(indent, s, next)
	}
}

// paragraph sets what follows apart, unless a block or comment has just begun.
func (p *printer) paragraph() {
	if n := len(p.body); n > 0 && !strings.HasSuffix(p.body[n-1], "{") && !strings.HasPrefix(strings.TrimLeft(p.body[n-1], " "), "//") {
		p.body = append(p.body, "")
	}
}

func (p *printer) line(indent int, format string, args ...any) {
	p.body = append(p.body, lines(indent, fmt.Sprintf(format, args...))...)
}

// stmt prints a statement; next is the one after it in the block, or nil.
func (p *printer) stmt(indent int, s, next kernel.Stmt) {
	switch s := s.(type) {
	case *kernel.Comment:
		p.paragraph()
		p.body = append(p.body, remark(indent, p.commentText(s.Text))...)
	case *kernel.Let:
		p.line(indent, "const %s %s = %s;", p.typeName(s.Value.Type), p.local(s.Name), p.expr(s.Value))
	case *kernel.Var:
		p.line(indent, "%s %s = %s;", p.typeName(s.Init.Type), p.local(s.Name), p.expr(s.Init))
	case *kernel.Set:
		p.set(indent, s)
	case *kernel.Locals:
		p.line(indent, "%s %s[%d];", p.typeName(s.Elem), p.local(s.Name), s.Len)
	case *kernel.SetElement:
		p.setElement(indent, s)
	case *kernel.Store:
		p.line(indent, "%s[%s] = %s;", p.place(s.Space, s.Name), p.expr(s.Index), p.expr(s.Value))
	case *kernel.Prefetch: // MSL has no such hint
	case *kernel.For:
		p.loop(indent, s)
	case *kernel.If:
		p.branch(indent, "", s)
	case *kernel.Barrier:
		flags := "mem_flags::mem_threadgroup"
		if s.Device {
			flags += " | mem_flags::mem_device"
		}
		p.line(indent, "threadgroup_barrier(%s);", flags)
	case *kernel.Fragment:
		p.fragment(indent, s, next)
	case *kernel.FragmentLoad:
		p.fragmentLoad(indent, s)
	case *kernel.FragmentStore:
		p.line(indent, "simdgroup_store(%s, %s, %s);", p.local(s.Name), p.address(s.Space, s.Place, s.Index), p.expr(s.Stride))
	case *kernel.FragmentMultiply:
		d := p.local(s.D)
		p.line(indent, "simdgroup_multiply_accumulate(%s, %s, %s, %s);", d, p.local(s.A), p.local(s.B), d)
	default:
		p.fail("statement %T has no form in MSL", s)
	}
}

// set prints an assignment, x = x + y as x += y.
func (p *printer) set(indent int, s *kernel.Set) {
	name, v := p.local(s.Name), s.Value
	op, ok := infix[v.Op]
	if ok && v.Type.Scalar != kernel.Bool && v.Args[0].Op == kernel.OpLocal && v.Args[0].Name == s.Name {
		p.line(indent, "%s %s= %s;", name, op.sign, p.expr(v.Args[1]))
		return
	}
	p.line(indent, "%s = %s;", name, p.expr(v))
}

// setElement prints an assignment to one of several variables.
func (p *printer) setElement(indent int, s *kernel.SetElement) {
	at, v := p.local(s.Name)+"["+p.expr(s.Index)+"]", s.Value
	op, ok := infix[v.Op]
	if ok && v.Type.Scalar != kernel.Bool && v.Args[0].Op == kernel.OpElement && p.expr(v.Args[0]) == at {
		p.line(indent, "%s %s= %s;", at, op.sign, p.expr(v.Args[1]))
		return
	}
	p.line(indent, "%s = %s;", at, p.expr(v))
}

func (p *printer) loop(indent int, s *kernel.For) {
	hi := p.once(indent, s, s.Name+"_end", s.Hi)
	advance := p.once(indent, s, s.Name+"_step", s.Step)
	i := p.local(s.Name)
	if n, ok := s.Step.Constant(); ok && n == 1 {
		advance = i + "++"
	} else {
		advance = i + " += " + advance
	}
	if s.Unrolled {
		p.line(indent, "#pragma unroll")
	}
	p.line(indent, "for (int %s = %s;%s%s < %s;%s%s) {", i, p.expr(s.Lo), brk, i, hi, brk, advance)
	p.block(indent+1, s.Body)
	p.line(indent, "}")
}

// once is the text of a loop's bound or step. Its value is that before the
// loop, so one that might differ later is named first.
func (p *printer) once(indent int, s *kernel.For, name string, bound *kernel.Expr) string {
	if !varies(bound, s.Body) {
		return p.within(bound, relational+1)
	}
	name = p.names.fresh(name)
	p.line(indent, "const int %s = %s;", name, p.expr(bound))
	return name
}

// varies reports whether evaluating e again in the loop might give another
// value: it reads memory or a variable that the body sets, or takes all lanes.
func varies(e *kernel.Expr, body []kernel.Stmt) bool {
	if e.Op == kernel.OpLoad || e.Op == kernel.OpElement || isSimd(e.Op) || (e.Op == kernel.OpLocal && sets(body, e.Name)) {
		return true
	}
	for _, a := range e.Args {
		if varies(a, body) {
			return true
		}
	}
	return false
}

func sets(body []kernel.Stmt, name string) bool {
	for _, s := range body {
		switch s := s.(type) {
		case *kernel.Set:
			if s.Name == name {
				return true
			}
		case *kernel.For:
			if sets(s.Body, name) {
				return true
			}
		case *kernel.If:
			if sets(s.Then, name) || sets(s.Else, name) {
				return true
			}
		}
	}
	return false
}

// branch prints a conditional, with the text `before` at the start of its first line.
func (p *printer) branch(indent int, before string, s *kernel.If) {
	p.line(indent, "%sif (%s) {", before, p.expr(s.Cond))
	p.block(indent+1, s.Then)
	if len(s.Else) == 0 {
		p.line(indent, "}")
		return
	}
	if inner, ok := s.Else[0].(*kernel.If); ok && len(s.Else) == 1 {
		p.branch(indent, "} else ", inner)
		return
	}
	p.line(indent, "} else {")
	p.block(indent+1, s.Else)
	p.line(indent, "}")
}

// fragment declares a matrix, and fills it unless it is loaded at once.
func (p *printer) fragment(indent int, s *kernel.Fragment, next kernel.Stmt) {
	if !isFloat(s.Elem) || s.Rows != 8 || s.Columns != 8 {
		p.fail("fragment %s of %s, %d x %d: MSL has 8x8 matrices of f32 and f16", s.Name, s.Elem, s.Rows, s.Columns)
		return
	}
	elem := scalarNames[s.Elem]
	if load, ok := next.(*kernel.FragmentLoad); ok && load.Name == s.Name {
		p.line(indent, "simdgroup_%s8x8 %s;", elem, p.local(s.Name))
		return
	}
	zero, _ := literal(s.Elem, kernel.C(s.Elem, 0))
	p.line(indent, "simdgroup_%s8x8 %s = make_filled_simdgroup_matrix<%s, 8>(%s);", elem, p.local(s.Name), elem, zero)
}

func (p *printer) fragmentLoad(indent int, s *kernel.FragmentLoad) {
	transposed := ""
	if s.Transpose {
		transposed = "," + brk + "ulong2(0, 0), true"
	}
	p.line(indent, "simdgroup_load(%s, %s, %s%s);", p.local(s.Name), p.address(s.Space, s.Place, s.Index), p.expr(s.Stride), transposed)
}

// address is a pointer to an element.
func (p *printer) address(space kernel.Space, place string, index *kernel.Expr) string {
	text := p.place(space, place)
	if n, ok := index.Constant(); ok && n == 0 {
		return text
	}
	return text + " + " + p.within(index, additive)
}
