package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Print returns the kernel's text, which Parse reads back to an equal kernel.
func Print(k *Kernel) string {
	p := &textPrinter{}
	p.linef("kernel %s", k.Name)
	for _, d := range k.Doc {
		p.linef("doc %s", strconv.Quote(d))
	}
	p.linef("schedule %d %d", k.Schedule.Threads, k.Schedule.SimdWidth)
	for _, s := range k.Schedule.Settings {
		p.linef("setting %s %s %s", strconv.Quote(s.Name), strconv.Quote(s.Value), strconv.Quote(s.Why))
	}
	if k.Step != nil {
		for _, f := range k.Step.Fields {
			p.linef("field %s %s %d", f.Name, f.Elem, f.Len)
		}
	}
	for _, q := range k.Params {
		if q.Pointer {
			p.linef("pointer %s %s %s", q.Name, q.Elem, q.Access)
		} else {
			p.linef("scalar %s %s", q.Name, q.Elem)
		}
	}
	for _, s := range k.Shared {
		p.linef("shared %s %s %d", s.Name, s.Elem, s.Len)
	}
	p.linef("{")
	p.block(k.Body)
	p.linef("}")
	return p.out.String()
}

// Digest is the hex SHA-256 of the kernel's text without name and doc:
// kernels of one digest are one program.
func (k *Kernel) Digest() string {
	bare := *k
	bare.Name, bare.Doc = "k", nil
	sum := sha256.Sum256([]byte(Print(&bare)))
	return hex.EncodeToString(sum[:])
}

type textPrinter struct {
	out   strings.Builder
	depth int
	limit int // bytes after which the rest may be left out; 0: none
}

func (p *textPrinter) full() bool { return p.limit > 0 && p.out.Len() > p.limit }

func (p *textPrinter) linef(format string, args ...any) {
	for range p.depth {
		p.out.WriteString("  ")
	}
	fmt.Fprintf(&p.out, format, args...)
	p.out.WriteByte('\n')
}

func (p *textPrinter) block(body []Stmt) {
	p.depth++
	for _, s := range body {
		if !p.full() {
			p.stmt(s)
		}
	}
	p.depth--
}

func (p *textPrinter) stmt(s Stmt) {
	switch s := s.(type) {
	case *Comment:
		p.linef("comment %s", strconv.Quote(s.Text))
	case *Let:
		about := ""
		if s.About != nil {
			about = " about " + p.text(s.About)
		}
		p.linef("let %s = %s%s", s.Name, p.text(s.Value), about)
	case *Var:
		p.linef("var %s = %s", s.Name, p.text(s.Init))
	case *Set:
		p.linef("set %s = %s", s.Name, p.text(s.Value))
	case *Locals:
		p.linef("locals %s %s %d", s.Name, s.Elem, s.Len)
	case *SetElement:
		p.linef("set %s[%s] = %s", s.Name, p.text(s.Index), p.text(s.Value))
	case *Store:
		p.linef("store %s[%s] = %s", place(s.Space, s.Name), p.text(s.Index), p.text(s.Value))
	case *Prefetch:
		p.linef("prefetch %s[%s]", place(Device, s.Name), p.text(s.Index))
	case *For:
		way := ""
		if s.Unrolled {
			way = " unrolled"
		}
		p.linef("for %s = %s to %s by %s%s {", s.Name, p.text(s.Lo), p.text(s.Hi), p.text(s.Step), way)
		p.block(s.Body)
		p.linef("}")
	case *If:
		p.linef("if %s {", p.text(s.Cond))
		p.block(s.Then)
		if len(s.Else) > 0 {
			p.linef("} else {")
			p.block(s.Else)
		}
		p.linef("}")
	case *Barrier:
		if s.Device {
			p.linef("barrier device")
		} else {
			p.linef("barrier")
		}
	case *Fragment:
		size := ""
		if s.Rows != fragmentSide || s.Columns != fragmentSide {
			size = fmt.Sprintf(" %d %d", s.Rows, s.Columns)
		}
		p.linef("fragment %s %s%s", s.Name, s.Elem, size)
	case *FragmentLoad:
		way := ""
		if s.Transpose {
			way = " transposed"
		}
		p.linef("load %s = %s[%s] stride %s%s", s.Name, place(s.Space, s.Place), p.text(s.Index), p.text(s.Stride), way)
	case *FragmentStore:
		p.linef("put %s[%s] stride %s = %s", place(s.Space, s.Place), p.text(s.Index), p.text(s.Stride), s.Name)
	case *FragmentMultiply:
		p.linef("multiply %s += %s * %s", s.D, s.A, s.B)
	}
}

// place writes a place with its memory: device x, threadgroup x, step x.
func place(s Space, name string) string {
	return s.String() + " " + name
}

// text writes an expression.
func (p *textPrinter) text(e *Expr) string {
	w := textPrinter{limit: p.limit}
	w.expr(e)
	return w.out.String()
}

func (p *textPrinter) expr(e *Expr) {
	b := &p.out
	if p.full() {
		return
	}
	if e.Op >= opCount || (e.Op == OpLoad || e.Op == OpElement) && len(e.Args) != 1 { // Verify is about to refuse it
		p.call(e.Op.String(), e.Args)
		return
	}
	row := ops[e.Op]
	switch e.Op {
	case OpConst:
		b.WriteString(constant(e))
	case OpLocal, OpScalar:
		b.WriteString(e.Name)
	case OpStep:
		b.WriteString("%step." + e.Name)
	case OpGroup:
		b.WriteString("%group." + wordOf([]string{"x", "y", "z"}, int(e.Int)))
	case OpThread, OpLane, OpSimd:
		b.WriteString(row.name)
	case OpElement:
		b.WriteString(e.Name + "[")
		p.expr(e.Args[0])
		b.WriteByte(']')
	case OpLoad:
		b.WriteString(place(e.Space, e.Name) + "[")
		p.expr(e.Args[0])
		b.WriteByte(']')
	case OpConvert:
		p.call(e.Type.String(), e.Args)
	case OpBitcast:
		p.call("as_"+e.Type.String(), e.Args)
	case OpExtract:
		p.call(fmt.Sprintf("lane%d", e.Int), e.Args)
	case OpSimdShuffleXor:
		p.call(fmt.Sprintf("shuffle_xor%d", e.Int), e.Args)
	default:
		if !row.infix || len(e.Args) != 2 {
			p.call(row.name, e.Args)
			return
		}
		b.WriteByte('(')
		p.expr(e.Args[0])
		b.WriteString(" " + row.name + " ")
		p.expr(e.Args[1])
		b.WriteByte(')')
	}
}

func (p *textPrinter) call(name string, args []*Expr) {
	b := &p.out
	b.WriteString(name + "(")
	for i, a := range args {
		if i > 0 {
			b.WriteString(", ")
		}
		p.expr(a)
	}
	b.WriteByte(')')
}

// constant writes a number with its type: 3 is i32, 3u u32, 3l i64, 3.0 f32;
// infinities and NaN are inf, -inf and nan.
func constant(e *Expr) string {
	switch e.Type.Scalar {
	case Bool:
		return strconv.FormatBool(e.Int != 0)
	case U32:
		return strconv.FormatInt(e.Int, 10) + "u"
	case I64:
		return strconv.FormatInt(e.Int, 10) + "l"
	case F32:
		return float(e.Float)
	case F16:
		return float(e.Float) + "h"
	}
	return strconv.FormatInt(e.Int, 10)
}

func float(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	case math.IsNaN(v):
		return "nan"
	}
	s := strconv.FormatFloat(v, 'g', -1, 32)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}
