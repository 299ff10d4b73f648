package encoding

import (
	"fmt"
	"math"
	"strings"

	"smelt.example/smelt/internal/ir/num"
)

// BitType is the type of a bit expression.
type BitType uint8

// Bits are 32 unsigned bits, Real is a float32, Truth a condition.
const (
	Bits BitType = iota
	Real
	Truth
)

// BitOp is an operation of a bit expression.
type BitOp uint8

// The operations; the comment gives operands and result.
const (
	BitWord   BitOp = iota // word Const of the unit: Bits
	BitConst               // Const: Bits
	BitReal                // Value: Real
	BitShl                 // Bits, Bits (below 32): Bits
	BitShr                 // Bits, Bits (below 32): Bits
	BitAnd                 // Bits, Bits: Bits
	BitOr                  // Bits, Bits: Bits
	BitAdd                 // both Bits or both Real: the same
	BitSub                 // Real, Real: Real
	BitMul                 // Real, Real: Real
	BitLess                // Bits, Bits: Truth
	BitSelect              // Truth, then two of one type: that type
	BitToReal              // the number as a float32: Bits: Real
	BitAsReal              // the bits of a float32: Bits: Real
	BitHalf                // half Const (0: the low 16 bits, 1: the high ones), an IEEE half: Bits: Real
	BitE2M1                // the number that the low 4 bits are in e2m1: Bits: Real
	BitSigned              // the number that the highest Const bits are in two's complement: Bits: Real
	BitUnit                // number of the unit in its block: Bits
	BitShort               // 16-bit word of the block, by its number: Bits: Bits
)

var bitNames = [...]string{"word", "const", "real", "<<", ">>", "&", "|", "+", "-", "*", "<", "select", "to_real", "as_real", "half", "e2m1", "signed", "unit", "short"}

// BitExpr is a typed expression over the words of a unit, or over a block and
// the number of a unit in it. Expressions are immutable; the constructors panic
// on operands of a wrong type, which is a fault in the tables of this package.
type BitExpr struct {
	Op    BitOp
	Type  BitType
	Args  []*BitExpr
	Const uint32
	Value float32
}

func bitWord(i int) *BitExpr     { return &BitExpr{Op: BitWord, Const: uint32(i)} }
func bitConst(v uint32) *BitExpr { return &BitExpr{Op: BitConst, Const: v} }
func bitReal(v float32) *BitExpr { return &BitExpr{Op: BitReal, Type: Real, Value: v} }

// bitUnit is the number of the unit, bitShort a 16-bit word of the block, whose
// number is an expression.
func bitUnit() *BitExpr                   { return &BitExpr{Op: BitUnit} }
func bitShort(number *BitExpr) *BitExpr   { return bitApply(BitShort, Bits, number) }
func (e *BitExpr) plus(n uint32) *BitExpr { return bitApply(BitAdd, Bits, e, bitConst(n)) }

// signed is the number in the highest bits.
func (e *BitExpr) signed(bits int) *BitExpr {
	s := bitApply(BitSigned, Real, e)
	s.Const = uint32(bits)
	return s
}

func (e *BitExpr) shl(n int) *BitExpr {
	if n == 0 {
		return e
	}
	return bitApply(BitShl, Bits, e, bitConst(uint32(n)))
}

// move shifts left, or right if n is negative.
func (e *BitExpr) move(n int) *BitExpr {
	if n < 0 {
		return e.shr(-n)
	}
	return e.shl(n)
}
func (e *BitExpr) and(m uint32) *BitExpr {
	return bitApply(BitAnd, Bits, e, bitConst(m))
}
func (e *BitExpr) half(n uint32) *BitExpr {
	h := bitApply(BitHalf, Real, e)
	h.Const = n
	return h
}
func (e *BitExpr) shr(n int) *BitExpr {
	if n == 0 {
		return e
	}
	return bitApply(BitShr, Bits, e, bitConst(uint32(n)))
}

// bitOperands are the types each operation takes; BitAdd and BitSelect are
// checked apart.
var bitOperands = map[BitOp][]BitType{
	BitShl: {Bits, Bits}, BitShr: {Bits, Bits}, BitAnd: {Bits, Bits}, BitOr: {Bits, Bits},
	BitSub: {Real, Real}, BitMul: {Real, Real}, BitLess: {Bits, Bits},
	BitToReal: {Bits}, BitAsReal: {Bits}, BitHalf: {Bits}, BitE2M1: {Bits}, BitSigned: {Bits}, BitShort: {Bits},
}

func bitApply(op BitOp, t BitType, args ...*BitExpr) *BitExpr {
	var types []BitType
	for _, a := range args {
		types = append(types, a.Type)
	}
	ok := false
	switch want := bitOperands[op]; op {
	case BitAdd:
		ok = len(types) == 2 && types[0] == types[1] && types[0] == t && t != Truth
	case BitSelect:
		ok = len(types) == 3 && types[0] == Truth && types[1] == types[2] && types[1] == t
	default:
		ok = len(want) == len(types)
		for i := range want {
			ok = ok && want[i] == types[i]
		}
	}
	if !ok {
		panic(fmt.Sprintf("encoding: operands of %s in a bit expression have types %v", bitNames[op], types))
	}
	return &BitExpr{Op: op, Type: t, Args: args}
}

// String prints the expression.
func (e *BitExpr) String() string {
	switch e.Op {
	case BitWord:
		return fmt.Sprintf("word%d", e.Const)
	case BitConst:
		return fmt.Sprintf("%#x", e.Const)
	case BitReal:
		return fmt.Sprint(e.Value)
	case BitUnit:
		return bitNames[e.Op]
	}
	var args []string
	for _, a := range e.Args {
		args = append(args, a.String())
	}
	switch {
	case e.Op == BitHalf || e.Op == BitSigned:
		return fmt.Sprintf("%s%d(%s)", bitNames[e.Op], e.Const, args[0])
	case len(args) == 2:
		return "(" + args[0] + " " + bitNames[e.Op] + " " + args[1] + ")"
	}
	return bitNames[e.Op] + "(" + strings.Join(args, ", ") + ")"
}

// emitter holds the data that bit expressions are evaluated over.
type unit struct {
	words  []uint32
	block  []uint16 // that the unit is in
	number uint32   // of the unit in its block
}

// eval interprets an expression of type Real.
func (e *BitExpr) eval(u unit) float32 { return math.Float32frombits(e.bits(u)) }

// bits interprets any expression; a Real as its bits, a Truth as 0 or 1.
func (e *BitExpr) bits(u unit) uint32 {
	var a [3]uint32
	for i, x := range e.Args {
		a[i] = x.bits(u)
	}
	real := math.Float32frombits
	switch e.Op {
	case BitWord:
		return u.words[e.Const]
	case BitConst:
		return e.Const
	case BitReal:
		return math.Float32bits(e.Value)
	case BitShl:
		return a[0] << (a[1] & 31)
	case BitShr:
		return a[0] >> (a[1] & 31)
	case BitAnd:
		return a[0] & a[1]
	case BitOr:
		return a[0] | a[1]
	case BitAdd:
		if e.Type == Bits {
			return a[0] + a[1]
		}
		return math.Float32bits(real(a[0]) + real(a[1]))
	case BitSub:
		return math.Float32bits(real(a[0]) - real(a[1]))
	case BitMul:
		return math.Float32bits(real(a[0]) * real(a[1]))
	case BitLess:
		if a[0] < a[1] {
			return 1
		}
		return 0
	case BitSelect:
		if a[0] != 0 {
			return a[1]
		}
		return a[2]
	case BitToReal:
		return math.Float32bits(float32(a[0]))
	case BitAsReal:
		return a[0]
	case BitE2M1:
		return math.Float32bits(num.E2M1ToF32(uint8(a[0] & 15)))
	case BitSigned:
		return math.Float32bits(float32(int32(a[0]) >> (32 - e.Const)))
	case BitUnit:
		return u.number
	case BitShort:
		return uint32(u.block[a[0]])
	}
	return math.Float32bits(num.F16ToF32(uint16(a[0] >> (16 * e.Const))))
}
