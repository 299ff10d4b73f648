package msl

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/codegen/kernel"
)

// How tightly text binds, as in C++: more binds tighter.
const (
	lowest      = iota
	conditional // ?:
	logicalOr
	logicalAnd
	bitOr
	bitXor
	bitAnd
	equality
	relational
	shift
	additive
	multiplicative
	unary
	primary
)

// operator is how a binary operation is written between its operands.
type operator struct {
	sign string
	prec int
}

// logic lists the operators between conditions.
var logic = map[kernel.Op]operator{
	kernel.OpAnd: {"&&", logicalAnd}, kernel.OpOr: {"||", logicalOr}, kernel.OpXor: {"!=", equality},
}

// infix lists the operators between numbers, and those that give conditions.
var infix = map[kernel.Op]operator{
	kernel.OpAdd: {"+", additive}, kernel.OpSub: {"-", additive},
	kernel.OpMul: {"*", multiplicative}, kernel.OpDiv: {"/", multiplicative}, kernel.OpRem: {"%", multiplicative},
	kernel.OpAnd: {"&", bitAnd}, kernel.OpOr: {"|", bitOr}, kernel.OpXor: {"^", bitXor},
	kernel.OpShl: {"<<", shift}, kernel.OpShr: {">>", shift},
	kernel.OpLt: {"<", relational}, kernel.OpLe: {"<=", relational},
	kernel.OpGt: {">", relational}, kernel.OpGe: {">=", relational},
	kernel.OpEq: {"==", equality}, kernel.OpNe: {"!=", equality},
}

// functions lists the operations that are calls, for floats and for integers;
// "" for neither. See the package comment on precise.
var functions = map[kernel.Op]struct{ float, integer string }{
	kernel.OpMin:        {"fmin", "min"},
	kernel.OpMax:        {"fmax", "max"},
	kernel.OpAbs:        {"fabs", ""},
	kernel.OpFma:        {"fma", ""},
	kernel.OpExp:        {"precise::exp", ""},
	kernel.OpLog:        {"precise::log", ""},
	kernel.OpSqrt:       {"precise::sqrt", ""},
	kernel.OpRsqrt:      {"precise::rsqrt", ""},
	kernel.OpRint:       {"rint", ""},
	kernel.OpFloor:      {"floor", ""},
	kernel.OpSimdSum:    {"simd_sum", "simd_sum"},
	kernel.OpSimdMax:    {"simd_max", "simd_max"},
	kernel.OpSimdMin:    {"simd_min", "simd_min"},
	kernel.OpSimdPrefix: {"simd_prefix_exclusive_sum", "simd_prefix_exclusive_sum"},
}

var scalarNames = [...]string{
	kernel.Bool: "bool", kernel.I32: "int", kernel.U32: "uint", kernel.F32: "float", kernel.I64: "long",
	kernel.U8: "uchar", kernel.U16: "ushort", kernel.F16: "half",
}

func (p *printer) typeName(t kernel.Type) string {
	if int(t.Scalar) >= len(scalarNames) || (t.Lanes != 1 && t.Lanes != 2 && t.Lanes != 4) {
		p.fail("type %s has no name in MSL", t)
		return "void"
	}
	if t.Lanes == 1 {
		return scalarNames[t.Scalar]
	}
	return scalarNames[t.Scalar] + strconv.Itoa(t.Lanes)
}

// expr is the text of an expression.
func (p *printer) expr(e *kernel.Expr) string {
	text, _ := p.bound(e)
	return text
}

// within is the text of an operand of something that binds as tightly as prec.
func (p *printer) within(e *kernel.Expr, prec int) string {
	text, have := p.bound(e)
	if have < prec {
		return "(" + text + ")"
	}
	return text
}

// bound is the text of an expression and how tightly it binds.
func (p *printer) bound(e *kernel.Expr) (text string, prec int) {
	if _, ok := infix[e.Op]; ok {
		return p.binary(e)
	}
	if _, ok := functions[e.Op]; ok {
		return p.function(e), primary
	}
	switch e.Op {
	case kernel.OpConst:
		return p.constant(e)
	case kernel.OpLocal:
		return p.names.of(e.Name), primary
	case kernel.OpElement:
		return p.local(e.Name) + "[" + p.expr(e.Args[0]) + "]", primary
	case kernel.OpScalar:
		return p.param(e), primary
	case kernel.OpGroup, kernel.OpThread, kernel.OpLane, kernel.OpSimd:
		return p.position(e), primary
	case kernel.OpStep:
		return p.stepField(e.Name), primary
	case kernel.OpLoad:
		return p.place(e.Space, e.Name) + "[" + p.expr(e.Args[0]) + "]", primary
	case kernel.OpNot, kernel.OpNeg:
		return p.prefix(e), unary
	case kernel.OpSelect:
		return p.choice(e)
	case kernel.OpConvert:
		return p.call(p.typeName(e.Type), e.Args...), primary
	case kernel.OpVec:
		return p.vector(e), primary
	case kernel.OpBitcast:
		return p.call("as_type<"+p.typeName(e.Type)+">", e.Args...), primary
	case kernel.OpExtract:
		return p.extract(e), primary
	case kernel.OpE2M1:
		return "(" + p.expr(e.FromHalf()) + ")", primary
	case kernel.OpHalves:
		return p.typeName(e.Type) + "(" + p.call("as_type<half2>", e.Args...) + ")", primary
	case kernel.OpSimdShuffle:
		p.checkSimd(e)
		return "simd_shuffle(" + p.expr(e.Args[0]) + "," + brk + "ushort(" + p.expr(e.Args[1]) + "))", primary
	case kernel.OpSimdShuffleXor:
		p.checkSimd(e)
		return fmt.Sprintf("simd_shuffle_xor(%s,%s%d)", p.expr(e.Args[0]), brk, e.Int), primary
	}
	p.fail("operation %v has no form in MSL", e.Op)
	return "0", primary
}

func (p *printer) call(name string, args ...*kernel.Expr) string {
	return name + "(" + strings.Join(p.exprs(args), ","+brk) + ")"
}

func (p *printer) exprs(args []*kernel.Expr) []string {
	texts := make([]string, len(args))
	for i, a := range args {
		texts[i] = p.expr(a)
	}
	return texts
}

// vector prints a vector of its lanes, once if they are all the same.
func (p *printer) vector(e *kernel.Expr) string {
	lanes := p.exprs(e.Args)
	if len(slices.Compact(slices.Clone(lanes))) == 1 {
		lanes = lanes[:1]
	}
	return p.typeName(e.Type) + "(" + strings.Join(lanes, ","+brk) + ")"
}

func (p *printer) constant(e *kernel.Expr) (string, int) {
	if e.Type.Lanes == 1 {
		return literal(e.Type.Scalar, e)
	}
	text, _ := literal(e.Type.Scalar, e)
	return p.typeName(e.Type) + "(" + text + ")", primary
}

func isFloat(s kernel.Scalar) bool { return s == kernel.F32 || s == kernel.F16 }

func (p *printer) function(e *kernel.Expr) string {
	f := functions[e.Op]
	name := f.integer
	if isFloat(e.Type.Scalar) {
		name = f.float
	}
	if name == "" || e.Type.Scalar == kernel.Bool || e.Type.Scalar == kernel.F16 {
		p.fail("operation %v has no form for %s; half is for memory, bool for conditions", e.Op, e.Type)
	}
	if isSimd(e.Op) {
		p.checkSimd(e)
	}
	return p.call(name, e.Args...)
}

func isSimd(op kernel.Op) bool {
	switch op {
	case kernel.OpSimdSum, kernel.OpSimdMax, kernel.OpSimdMin, kernel.OpSimdPrefix, kernel.OpSimdShuffle, kernel.OpSimdShuffleXor:
		return true
	}
	return false
}

// checkSimd: SIMD-group functions take no 64-bit and no bool values.
func (p *printer) checkSimd(e *kernel.Expr) {
	if e.Type.Scalar == kernel.I64 || e.Type.Scalar == kernel.Bool {
		p.fail("operation %v of %s: MSL's SIMD-group functions take numbers of at most 32 bits", e.Op, e.Type)
	}
}

// containsSimd reports whether all lanes must evaluate e together.
func containsSimd(e *kernel.Expr) bool {
	if isSimd(e.Op) {
		return true
	}
	for _, a := range e.Args {
		if containsSimd(a) {
			return true
		}
	}
	return false
}

// binary prints an infix operation. C++ alone would need fewer brackets: those
// around bitwise operators, compared comparisons and && in || are for readers.
func (p *printer) binary(e *kernel.Expr) (string, int) {
	op := infix[e.Op]
	if e.Type == kernel.Of(kernel.Bool) {
		logical, ok := logic[e.Op]
		switch {
		case ok && e.Op != kernel.OpXor && containsSimd(e.Args[1]):
			// && would leave out lanes that a SIMD-group function needs.
			return "bool(" + p.within(e.Args[0], unary) + " " + op.sign + brk + p.within(e.Args[1], unary) + ")", primary
		case ok:
			op = logical
		}
	}
	gap := brk
	if op.prec == multiplicative || op.prec == shift {
		gap = " " // lines break elsewhere
	}
	return p.operand(e, op.prec, 0) + " " + op.sign + gap + p.operand(e, op.prec, 1), op.prec
}

// operand prints an operand of a binary operation that binds as tightly as prec.
func (p *printer) operand(e *kernel.Expr, prec, i int) string {
	a := e.Args[i]
	switch prec {
	case bitAnd, bitOr, bitXor:
		if text, ok := mask(a); ok {
			return text
		}
	case shift:
		if n, ok := a.Constant(); ok && i == 1 {
			return strconv.FormatInt(n, 10)
		}
	}
	text, have := p.bound(a)
	switch {
	case have == prec && i == 0 && (a.Op == e.Op || prec == additive || prec == multiplicative):
		return text
	case have <= prec, isComparison(have) && isComparison(prec), have == logicalAnd && prec == logicalOr,
		have < unary && (isBitwise(have) || isBitwise(prec)):
		return "(" + text + ")"
	}
	return text
}

func isComparison(prec int) bool { return prec == equality || prec == relational }

func isBitwise(prec int) bool {
	return prec == bitAnd || prec == bitOr || prec == bitXor || prec == shift
}

func (p *printer) prefix(e *kernel.Expr) string {
	sign := "-"
	if e.Op == kernel.OpNot {
		sign = "~"
		if e.Type.Scalar == kernel.Bool {
			sign = "!"
		}
	}
	text := p.within(e.Args[0], unary)
	if strings.HasPrefix(text, sign) { // --x is something else
		text = "(" + text + ")"
	}
	return sign + text
}

// choice prints a selection: the ternary operator where evaluating only one
// side makes no difference.
func (p *printer) choice(e *kernel.Expr) (string, int) {
	cond, yes, no := e.Args[0], e.Args[1], e.Args[2]
	if containsSimd(yes) || containsSimd(no) {
		texts := p.exprs([]*kernel.Expr{no, yes, cond})
		if e.Type.Lanes > 1 { // select takes a condition for each lane
			texts[2] = p.typeName(kernel.Vec(kernel.Bool, e.Type.Lanes)) + "(" + texts[2] + ")"
		}
		return "select(" + strings.Join(texts, ","+brk) + ")", primary
	}
	return p.within(cond, conditional+1) + " ?" + brk + p.within(yes, conditional+1) + " :" + brk + p.within(no, conditional), conditional
}

func (p *printer) extract(e *kernel.Expr) string {
	if e.Int < 0 || int(e.Int) >= e.Args[0].Type.Lanes {
		p.fail("operation %v: lane %d of %s", e.Op, e.Int, e.Args[0].Type)
		return "0"
	}
	return p.within(e.Args[0], primary) + "." + "xyzw"[e.Int:e.Int+1]
}
