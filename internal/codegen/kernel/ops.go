package kernel

import "fmt"

// opInfo is a row of the table of operations.
type opInfo struct {
	name  string // in the text form: a function, or an infix operator
	infix bool
	args  int                         // operands; -1: 2 or 4
	types func(e *Expr) (Type, error) // the result's type, from operands and fields
	flops int                         // counted for each lane
	simd  bool                        // all lanes of the SIMD group take part
	doc   string
}

// ops is the table of operations.
var ops = [opCount]opInfo{
	OpConst:          {name: "const", types: asStated, doc: "a number"},
	OpLocal:          {name: "local", types: asStated, doc: "a variable"},
	OpElement:        {name: "element", args: 1, types: asStated, doc: "one of several variables"},
	OpScalar:         {name: "scalar", types: asStated, doc: "a scalar parameter"},
	OpStep:           {name: "step", types: asStated, doc: "a number of the step block"},
	OpGroup:          {name: "%group", types: index, doc: "the threadgroup's position along an axis"},
	OpThread:         {name: "%thread", types: index, doc: "the thread's index in its threadgroup"},
	OpLane:           {name: "%lane", types: index, doc: "the lane's index in its SIMD group"},
	OpSimd:           {name: "%simd", types: index, doc: "the SIMD group's index in its threadgroup"},
	OpLoad:           {name: "load", args: 1, types: asStated, doc: "an element of a place"},
	OpAdd:            {name: "+", infix: true, args: 2, types: numbers, flops: 1, doc: "sum"},
	OpSub:            {name: "-", infix: true, args: 2, types: numbers, flops: 1, doc: "difference"},
	OpMul:            {name: "*", infix: true, args: 2, types: numbers, flops: 1, doc: "product"},
	OpDiv:            {name: "/", infix: true, args: 2, types: numbers, flops: 1, doc: "quotient; integers are not negative"},
	OpRem:            {name: "%", infix: true, args: 2, types: integers, doc: "remainder of integers that are not negative"},
	OpMin:            {name: "min", args: 2, types: numbers, flops: 1, doc: "the smaller"},
	OpMax:            {name: "max", args: 2, types: numbers, flops: 1, doc: "the larger"},
	OpAnd:            {name: "&", infix: true, args: 2, types: bits, doc: "bitwise and; logical of bool"},
	OpOr:             {name: "|", infix: true, args: 2, types: bits, doc: "bitwise or; logical of bool"},
	OpXor:            {name: "^", infix: true, args: 2, types: bits, doc: "bitwise exclusive or"},
	OpShl:            {name: "<<", infix: true, args: 2, types: integers, doc: "shift left by less than 32"},
	OpShr:            {name: ">>", infix: true, args: 2, types: integers, doc: "shift right by less than 32"},
	OpLt:             {name: "<", infix: true, args: 2, types: truths, doc: "less"},
	OpLe:             {name: "<=", infix: true, args: 2, types: truths, doc: "less or equal"},
	OpGt:             {name: ">", infix: true, args: 2, types: truths, doc: "greater"},
	OpGe:             {name: ">=", infix: true, args: 2, types: truths, doc: "greater or equal"},
	OpEq:             {name: "==", infix: true, args: 2, types: truths, doc: "equal"},
	OpNe:             {name: "!=", infix: true, args: 2, types: truths, doc: "not equal"},
	OpNot:            {name: "not", args: 1, types: bits, doc: "the opposite, or inverted bits"},
	OpNeg:            {name: "neg", args: 1, types: numbers, flops: 1, doc: "the negative"},
	OpAbs:            {name: "abs", args: 1, types: reals, flops: 1, doc: "the absolute value"},
	OpFma:            {name: "fma", args: 3, types: reals, flops: 2, doc: "a*b+c, rounded once"},
	OpExp:            {name: "exp", args: 1, types: reals, flops: 1, doc: "e to the power"},
	OpLog:            {name: "log", args: 1, types: reals, flops: 1, doc: "natural logarithm"},
	OpSqrt:           {name: "sqrt", args: 1, types: reals, flops: 1, doc: "square root"},
	OpRsqrt:          {name: "rsqrt", args: 1, types: reals, flops: 1, doc: "1/sqrt"},
	OpRint:           {name: "rint", args: 1, types: reals, flops: 1, doc: "nearest integer, ties to even"},
	OpFloor:          {name: "floor", args: 1, types: reals, flops: 1, doc: "the next integer below"},
	OpSelect:         {name: "select", args: 3, types: selection, doc: "the second operand where the first holds, else the third"},
	OpConvert:        {name: "convert", args: 1, types: conversion, doc: "the number in another type"},
	OpBitcast:        {name: "bitcast", args: 1, types: bitcast, doc: "the bits as another type"},
	OpVec:            {name: "vec", args: -1, types: vector, doc: "a vector of its operands"},
	OpExtract:        {name: "lane", args: 1, types: extract, doc: "one lane of a vector"},
	OpHalves:         {name: "halves", args: 1, types: wordTo(Vec(F32, 2)), doc: "the two IEEE halves of 32 bits, low one first"},
	OpE2M1:           {name: "e2m1", args: 1, types: wordTo(Of(F32)), doc: "the number that the low 4 bits are in e2m1"},
	OpSimdSum:        {name: "simd_sum", args: 1, types: simdNumbers, flops: 1, simd: true, doc: "sum over the lanes"},
	OpSimdMax:        {name: "simd_max", args: 1, types: simdNumbers, flops: 1, simd: true, doc: "largest over the lanes"},
	OpSimdMin:        {name: "simd_min", args: 1, types: simdNumbers, flops: 1, simd: true, doc: "smallest over the lanes"},
	OpSimdPrefix:     {name: "simd_prefix", args: 1, types: simdNumbers, flops: 1, simd: true, doc: "sum over the lanes before"},
	OpSimdShuffle:    {name: "shuffle", args: 2, types: shuffle, simd: true, doc: "another lane's value"},
	OpSimdShuffleXor: {name: "shuffle_xor", args: 1, types: simdNumbers, simd: true, doc: "the value of the lane with some bits flipped"},
}

func init() {
	for op, row := range ops {
		if row.name == "" || row.types == nil || row.doc == "" {
			panic(fmt.Sprintf("kernel: operation %d (%s) has an empty column", op, row.name))
		}
	}
}

// String is the operation's name in the text form.
func (op Op) String() string {
	if op < opCount {
		return ops[op].name
	}
	return fmt.Sprintf("op(%d)", op)
}

// arithmetic reports whether kernels compute with a scalar.
func (s Scalar) arithmetic() bool { return s == I32 || s == U32 || s == F32 || s == I64 }

func (s Scalar) integer() bool { return s == I32 || s == U32 || s == I64 }

func asStated(e *Expr) (Type, error) { return e.Type, nil }

func index(*Expr) (Type, error) { return Of(I32), nil }

// alike requires operands of one type.
func alike(e *Expr, ok func(Scalar) bool, what string) (Type, error) {
	t := e.Args[0].Type
	for _, a := range e.Args[1:] {
		if a.Type != t {
			return t, fmt.Errorf("%s of %s and %s: operands must have one type", e.Op, t, a.Type)
		}
	}
	if !ok(t.Scalar) {
		return t, fmt.Errorf("%s of %s: takes %s", e.Op, t, what)
	}
	return t, nil
}

func numbers(e *Expr) (Type, error) {
	return alike(e, Scalar.arithmetic, "i32, u32, i64 or f32; convert first")
}

func integers(e *Expr) (Type, error) { return alike(e, Scalar.integer, "integers") }

func bits(e *Expr) (Type, error) {
	return alike(e, func(s Scalar) bool { return s.integer() || s == Bool }, "integers or bool")
}

func reals(e *Expr) (Type, error) {
	return alike(e, func(s Scalar) bool { return s == F32 }, "f32")
}

func truths(e *Expr) (Type, error) {
	t, err := numbers(e)
	return Type{Bool, t.Lanes}, err
}

func simdNumbers(e *Expr) (Type, error) {
	return alike(e, func(s Scalar) bool { return s == F32 || s == I32 || s == U32 }, "f32, i32 or u32")
}

func shuffle(e *Expr) (Type, error) {
	if e.Args[1].Type != Of(I32) {
		return e.Type, fmt.Errorf("shuffle: the lane is %s, must be i32", e.Args[1].Type)
	}
	return simdNumbers(&Expr{Op: e.Op, Args: e.Args[:1]})
}

func selection(e *Expr) (Type, error) {
	c, a, b := e.Args[0].Type, e.Args[1].Type, e.Args[2].Type
	if c != Of(Bool) || a != b {
		return a, fmt.Errorf("select(%s, %s, %s): takes a bool and two values of one type", c, a, b)
	}
	return a, nil
}

func conversion(e *Expr) (Type, error) {
	from, to := e.Args[0].Type, e.Type
	if from.Lanes != to.Lanes || from.Scalar == Bool && to.Scalar == F16 {
		return to, fmt.Errorf("cannot convert %s to %s", from, to)
	}
	return to, nil
}

func bitcast(e *Expr) (Type, error) {
	if e.Args[0].Type.Bytes() != e.Type.Bytes() || e.Type.Scalar == Bool {
		return e.Type, fmt.Errorf("%s has not as many bits as %s", e.Args[0].Type, e.Type)
	}
	return e.Type, nil
}

func vector(e *Expr) (Type, error) {
	t := e.Args[0].Type
	if n := len(e.Args); n != 2 && n != 4 || t.Lanes != 1 {
		return t, fmt.Errorf("vec takes 2 or 4 scalars")
	}
	if _, err := alike(e, func(s Scalar) bool { return s != Bool }, "numbers"); err != nil {
		return t, err
	}
	return Type{t.Scalar, len(e.Args)}, nil
}

// wordTo converts a u32 to another type.
func wordTo(t Type) func(e *Expr) (Type, error) {
	return func(e *Expr) (Type, error) {
		if from := e.Args[0].Type; from != Of(U32) {
			return t, fmt.Errorf("%s of %s: takes u32", e.Op, from)
		}
		return t, nil
	}
}

func extract(e *Expr) (Type, error) {
	t := e.Args[0].Type
	if e.Int < 0 || int(e.Int) >= t.Lanes || t.Lanes == 1 {
		return t, fmt.Errorf("lane %d of %s", e.Int, t)
	}
	return Of(t.Scalar), nil
}
