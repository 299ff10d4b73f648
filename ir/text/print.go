// Package text prints modules and parses them back. The text form is stable:
// the same module prints the same bytes, and a printed module parses to an
// equal one. ir/README.md shows it by example.
package text

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/ir/attr"
	"smelt.example/smelt/ir"
)

// Print writes a module in the text form.
func Print(w io.Writer, m *ir.Module) error {
	p := printer{w: bufio.NewWriter(w), refs: map[*ir.Value]string{}}
	p.module(m)
	return p.w.Flush()
}

// String returns a module in the text form.
func String(m *ir.Module) string {
	var b strings.Builder
	if err := Print(&b, m); err != nil {
		panic(err) // a Builder does not fail
	}
	return b.String()
}

type printer struct {
	w    *bufio.Writer
	refs map[*ir.Value]string
}

func (p *printer) linef(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

// define gives a value its reference: its name, or its number in the order of
// definition.
func (p *printer) define(v *ir.Value) string {
	ref := "%" + v.Name
	if v.Name == "" {
		ref = "%" + strconv.Itoa(len(p.refs))
	}
	p.refs[v] = ref
	return ref
}

func (p *printer) module(m *ir.Module) {
	p.linef("module @%s", m.Name)
	for _, s := range m.Symbols {
		if s.Def == ir.Closing {
			p.linef("symbol %s = %s(%d)", s.Name, s.Def, s.Arg)
		} else {
			p.linef("symbol %s = %s", s.Name, s.Def)
		}
	}
	for _, in := range m.Inputs {
		p.linef("input %s : %s", p.define(in), in.Type)
	}
	for _, q := range m.Params {
		p.linef("param @%s : %s%s", q.Name, q.Type, stored(q.Encoding))
	}
	for _, s := range m.States {
		p.linef("state @%s : %s keep %s%s", s.Name, s.Row, s.Keep, stored(s.Stored))
	}
	at := 0
	for _, r := range m.Regions {
		p.nodes("", m.Nodes[at:r.From])
		p.region(r, m.Body(r))
		at = r.To
	}
	p.nodes("", m.Nodes[at:])
	p.linef("return %s", p.list(m.Results))
}

func stored(format string) string {
	if format == "" {
		return ""
	}
	return " stored " + format
}

func (p *printer) region(r *ir.Region, body []*ir.Node) {
	p.linef("region %s @%s {", r.Kind, r.Name)
	p.nodes("  ", body)
	if len(r.Yields) == 0 {
		p.linef("}")
		return
	}
	p.linef("} yields %s", p.list(r.Yields))
}

func (p *printer) nodes(indent string, nodes []*ir.Node) {
	for _, n := range nodes {
		p.w.WriteString(indent)
		p.node(n)
	}
}

func (p *printer) list(vs []*ir.Value) string {
	refs := make([]string, len(vs))
	for i, v := range vs {
		refs[i] = p.refs[v]
	}
	return strings.Join(refs, ", ")
}

func (p *printer) node(n *ir.Node) {
	args := p.list(n.Args)
	fmt.Fprintf(p.w, "%s = %s", p.define(n.Result), n.Op.Name)
	if n.Symbol != "" {
		fmt.Fprintf(p.w, " @%s", n.Symbol)
	}
	if len(n.Args) > 0 {
		fmt.Fprintf(p.w, "(%s)", args)
	}
	p.linef("%s : %s", attrText(n.Attr), n.Result.Type)
}

// attrText prints an attribute behind an operation; empty if no field is set.
func attrText(a any) string {
	fields := attr.Fields(a)
	if len(fields) == 0 {
		return ""
	}
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = f.Name + " = " + f.Text
	}
	return " {" + strings.Join(parts, ", ") + "}"
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
