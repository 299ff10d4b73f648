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
}

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
		p.stmt(s)
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
			about = " about " + text(s.About)
		}
		p.linef("let %s = %s%s", s.Name, text(s.Value), about)
	case *Var:
		p.linef("var %s = %s", s.Name, text(s.Init))
	case *Set:
		p.linef("set %s = %s", s.Name, text(s.Value))
	case *Store:
		p.linef("store %s[%s] = %s", place(s.Space, s.Name), text(s.Index), text(s.Value))
	case *Prefetch:
		p.linef("prefetch %s[%s]", place(Device, s.Name), text(s.Index))
	case *For:
		p.linef("for %s = %s to %s by %s {", s.Name, text(s.Lo), text(s.Hi), text(s.Step))
		p.block(s.Body)
		p.linef("}")
	case *If:
		p.linef("if %s {", text(s.Cond))
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
		p.linef("load %s = %s[%s] stride %s%s", s.Name, place(s.Space, s.Place), text(s.Index), text(s.Stride), way)
	case *FragmentStore:
		p.linef("put %s[%s] stride %s = %s", place(s.Space, s.Place), text(s.Index), text(s.Stride), s.Name)
	case *FragmentMultiply:
		p.linef("multiply %s += %s * %s", s.D, s.A, s.B)
	}
}

// place writes a place with its memory: device x, threadgroup x, step x.
func place(s Space, name string) string {
	return [...]string{"device ", "threadgroup ", "step "}[s] + name
}

func text(e *Expr) string {
	var b strings.Builder
	writeExpr(&b, e)
	return b.String()
}

func writeExpr(b *strings.Builder, e *Expr) {
	row := ops[e.Op]
	switch e.Op {
	case OpConst:
		b.WriteString(constant(e))
	case OpLocal, OpScalar:
		b.WriteString(e.Name)
	case OpStep:
		b.WriteString("%step." + e.Name)
	case OpGroup:
		b.WriteString("%group." + string("xyz"[e.Int]))
	case OpThread, OpLane, OpSimd:
		b.WriteString(row.name)
	case OpLoad:
		b.WriteString(place(e.Space, e.Name) + "[")
		writeExpr(b, e.Args[0])
		b.WriteByte(']')
	case OpConvert:
		writeCall(b, e.Type.String(), e.Args)
	case OpBitcast:
		writeCall(b, "as_"+e.Type.String(), e.Args)
	case OpExtract:
		writeCall(b, fmt.Sprintf("lane%d", e.Int), e.Args)
	case OpSimdShuffleXor:
		writeCall(b, fmt.Sprintf("shuffle_xor%d", e.Int), e.Args)
	default:
		if !row.infix {
			writeCall(b, row.name, e.Args)
			return
		}
		b.WriteByte('(')
		writeExpr(b, e.Args[0])
		b.WriteString(" " + row.name + " ")
		writeExpr(b, e.Args[1])
		b.WriteByte(')')
	}
}

func writeCall(b *strings.Builder, name string, args []*Expr) {
	b.WriteString(name + "(")
	for i, a := range args {
		if i > 0 {
			b.WriteString(", ")
		}
		writeExpr(b, a)
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
