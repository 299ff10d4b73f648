package kernel

// Op is an expression's operation; see the table in ops.go.
type Op uint8

// Expr is a typed expression. Expressions have no effects: loads read what
// memory holds when the statement that contains them runs.
type Expr struct {
	Op   Op
	Type Type
	Args []*Expr
	// What Op needs besides operands; one of these.
	Int   int64   // OpConst of integers and bool, OpExtract's lane, OpShuffleXor's mask
	Float float64 // OpConst of floats
	Name  string  // OpLocal, OpElement, OpScalar, OpStep, OpLoad: what it names
	Space Space   // OpLoad
}

// Space is the memory a load, store or fragment transfer addresses.
type Space uint8

// The memories. Name of a Device place is a Param's, of Threadgroup a Shared's,
// of StepBlock a StepField's.
const (
	Device Space = iota
	Threadgroup
	StepBlock
)

// The operations.
const (
	OpConst   Op = iota
	OpLocal      // a Let, Var or For variable
	OpElement    // one of Locals; Args[0]: which
	OpScalar     // a scalar Param
	OpStep       // a StepField without length
	OpGroup      // position of the threadgroup in the grid: Int 0, 1, 2
	OpThread     // index of the thread in its threadgroup
	OpLane       // index of the lane in its SIMD group
	OpSimd       // index of the SIMD group in its threadgroup
	OpLoad       // Args[0]: index in elements of the place
	OpAdd
	OpSub
	OpMul
	OpDiv // integers: both operands not negative
	OpRem // integers: both operands not negative
	OpMin
	OpMax
	OpAnd // integers: bitwise; bool: logical
	OpOr
	OpXor
	OpShl
	OpShr // logical for u32, arithmetic for i32
	OpLt
	OpLe
	OpGt
	OpGe
	OpEq
	OpNe
	OpNot    // bool: logical; integers: bitwise
	OpNeg    // also for floats
	OpAbs    // floats
	OpFma    // a*b+c rounded once
	OpExp    // e^x
	OpLog    // natural
	OpSqrt   // correctly rounded
	OpRsqrt  // 1/sqrt(x)
	OpRint   // to the nearest integer, ties to even
	OpFloor  // toward minus infinity
	OpSelect // Args: condition, value if true, value if false; both are evaluated
	OpConvert
	OpBitcast // same number of bytes
	OpVec     // a vector of its operands
	OpExtract // one lane of a vector
	OpHalves  // the two IEEE halves of 32 bits, the low one first
	OpE2M1    // the number that the low 4 bits are in e2m1
	OpSimdSum // over the lanes of the SIMD group; the order is the target's
	OpSimdMax
	OpSimdMin
	OpSimdPrefix     // sum over the lanes before this one
	OpSimdShuffle    // the value of lane Args[1]
	OpSimdShuffleXor // the value of lane (lane ^ Int)
	opCount
)

// C is a constant of a scalar type; floats are rounded to it.
func C(s Scalar, v float64) *Expr {
	if s == F32 || s == F16 {
		return &Expr{Op: OpConst, Type: Of(s), Float: rounded(v)}
	}
	return &Expr{Op: OpConst, Type: Of(s), Int: int64(v)}
}

// whole is a constant of an integer type; C would round a large one.
func whole(s Scalar, n int64) *Expr { return &Expr{Op: OpConst, Type: Of(s), Int: n} }

// I is a constant of type i32, U of u32, F of f32, B a bool.
func I(v int) *Expr { return whole(I32, int64(v)) }

// U is a constant of type u32.
func U(v uint32) *Expr { return whole(U32, int64(v)) }

// F is a constant of type f32.
func F(v float64) *Expr { return C(F32, v) }

// Group is the threadgroup's position in the grid along an axis (i32).
func Group(axis int) *Expr { return &Expr{Op: OpGroup, Type: Of(I32), Int: int64(axis)} }

// Thread, Lane and Simd number the thread in its threadgroup, the lane in its
// SIMD group and the SIMD group in its threadgroup (i32).
func Thread() *Expr { return &Expr{Op: OpThread, Type: Of(I32)} }

// Lane is the lane's index in its SIMD group.
func Lane() *Expr { return &Expr{Op: OpLane, Type: Of(I32)} }

// Simd is the SIMD group's index in its threadgroup.
func Simd() *Expr { return &Expr{Op: OpSimd, Type: Of(I32)} }

// Constant is the value of an integer constant.
func (e *Expr) Constant() (int64, bool) {
	if e.Op == OpConst && e.Type.Scalar != F32 && e.Type.Scalar != F16 && e.Type.Lanes == 1 {
		return e.Int, true
	}
	return 0, false
}

func same(op Op, args ...*Expr) *Expr { return &Expr{Op: op, Type: args[0].Type, Args: args} }

func truth(op Op, a, b *Expr) *Expr {
	return &Expr{Op: op, Type: Type{Bool, a.Type.Lanes}, Args: []*Expr{a, b}}
}

// Add is a+b. Constants are folded, as in Sub, Mul, Div, Rem.
func (e *Expr) Add(b *Expr) *Expr {
	return fold(OpAdd, e, b, func(x, y int64) int64 { return x + y }, 0)
}

// Sub is a-b.
func (e *Expr) Sub(b *Expr) *Expr {
	if n, ok := b.Constant(); ok && n == 0 {
		return e
	}
	return fold(OpSub, e, b, func(x, y int64) int64 { return x - y }, -1<<62)
}

// Mul is a*b.
func (e *Expr) Mul(b *Expr) *Expr {
	return fold(OpMul, e, b, func(x, y int64) int64 { return x * y }, 1)
}

// Div is a/b; integers must not be negative.
func (e *Expr) Div(b *Expr) *Expr {
	if n, ok := b.Constant(); ok && n == 1 {
		return e
	}
	return fold(OpDiv, e, b, func(x, y int64) int64 { return x / y }, -1<<62)
}

// Rem is the remainder of integers that are not negative.
func (e *Expr) Rem(b *Expr) *Expr {
	if n, ok := b.Constant(); ok && n == 1 {
		return C(e.Type.Scalar, 0)
	}
	return fold(OpRem, e, b, func(x, y int64) int64 { return x % y }, -1<<62)
}

// fold computes on two integer constants; neutral is the operation's neutral
// element (on either side), which leaves the other operand.
func fold(op Op, a, b *Expr, f func(x, y int64) int64, neutral int64) *Expr {
	x, okA := a.Constant()
	y, okB := b.Constant()
	switch {
	case okA && okB && !((op == OpDiv || op == OpRem) && y == 0):
		return whole(a.Type.Scalar, f(x, y))
	case okA && x == neutral:
		return b
	case okB && y == neutral:
		return a
	}
	return same(op, a, b)
}

// Min and Max are fmin and fmax for floats.
func (e *Expr) Min(b *Expr) *Expr { return same(OpMin, e, b) }

// Max is the larger.
func (e *Expr) Max(b *Expr) *Expr { return same(OpMax, e, b) }

// And is bitwise, or logical for bool.
func (e *Expr) And(b *Expr) *Expr { return same(OpAnd, e, b) }

// Or is bitwise, or logical for bool.
func (e *Expr) Or(b *Expr) *Expr { return same(OpOr, e, b) }

// Xor is bitwise.
func (e *Expr) Xor(b *Expr) *Expr { return same(OpXor, e, b) }

// Shl shifts left by a number of bits below 32, of the same type.
func (e *Expr) Shl(b *Expr) *Expr { return same(OpShl, e, b) }

// Shr shifts right by a number of bits below 32.
func (e *Expr) Shr(b *Expr) *Expr { return same(OpShr, e, b) }

// Lt is a < b.
func (e *Expr) Lt(b *Expr) *Expr { return truth(OpLt, e, b) }

// Le is a <= b.
func (e *Expr) Le(b *Expr) *Expr { return truth(OpLe, e, b) }

// Gt is a > b.
func (e *Expr) Gt(b *Expr) *Expr { return truth(OpGt, e, b) }

// Ge is a >= b.
func (e *Expr) Ge(b *Expr) *Expr { return truth(OpGe, e, b) }

// Eq is a == b.
func (e *Expr) Eq(b *Expr) *Expr { return truth(OpEq, e, b) }

// Ne is a != b.
func (e *Expr) Ne(b *Expr) *Expr { return truth(OpNe, e, b) }

// Not negates a condition, or inverts bits.
func (e *Expr) Not() *Expr { return same(OpNot, e) }

// Neg is -a.
func (e *Expr) Neg() *Expr { return same(OpNeg, e) }

// Abs is |a| of a float.
func (e *Expr) Abs() *Expr { return same(OpAbs, e) }

// Fma is e*b+c, rounded once.
func (e *Expr) Fma(b, c *Expr) *Expr { return same(OpFma, e, b, c) }

// Exp is e^a.
func (e *Expr) Exp() *Expr { return same(OpExp, e) }

// Log is the natural logarithm.
func (e *Expr) Log() *Expr { return same(OpLog, e) }

// Sqrt is the square root.
func (e *Expr) Sqrt() *Expr { return same(OpSqrt, e) }

// Rsqrt is 1/sqrt(a).
func (e *Expr) Rsqrt() *Expr { return same(OpRsqrt, e) }

// Rint rounds to the nearest integer, ties to even.
func (e *Expr) Rint() *Expr { return same(OpRint, e) }

// Floor rounds down.
func (e *Expr) Floor() *Expr { return same(OpFloor, e) }

// Select is a where the condition e holds, else b. Both are evaluated.
func (e *Expr) Select(a, b *Expr) *Expr {
	return &Expr{Op: OpSelect, Type: a.Type, Args: []*Expr{e, a, b}}
}

// To converts to a scalar type, lane by lane. Floats to integers truncate.
func (e *Expr) To(s Scalar) *Expr {
	if e.Type.Scalar == s {
		return e
	}
	if n, ok := e.Constant(); ok && s.arithmetic() {
		if s == F32 {
			return F(float64(n))
		}
		return whole(s, n)
	}
	return &Expr{Op: OpConvert, Type: Type{s, e.Type.Lanes}, Args: []*Expr{e}}
}

// As reinterprets the bits as another scalar type of the same size.
func (e *Expr) As(s Scalar) *Expr {
	return &Expr{Op: OpBitcast, Type: Type{s, e.Type.Lanes}, Args: []*Expr{e}}
}

// Halves converts the two IEEE halves in a u32, the low one first, to f32x2.
func (e *Expr) Halves() *Expr { return &Expr{Op: OpHalves, Type: Vec(F32, 2), Args: []*Expr{e}} }

// E2M1 converts the low 4 bits of a u32 from e2m1 (OCP Microscaling Formats 5.3.3) to
// f32.
func (e *Expr) E2M1() *Expr { return &Expr{Op: OpE2M1, Type: Of(F32), Args: []*Expr{e}} }

// FromHalf expresses an OpE2M1 in operations of all targets: sign and magnitude go into
// an IEEE half, whose exponent is then too small by 14.
func (e *Expr) FromHalf() *Expr {
	code := e.Args[0]
	sign, magnitude := code.And(U(8)).Shl(U(12)), code.And(U(7)).Shl(U(9))
	return sign.Or(magnitude).To(U16).As(F16).To(F32).Mul(F(0x1p14))
}

// Lane is lane i of a vector.
func (e *Expr) Lane(i int) *Expr {
	return &Expr{Op: OpExtract, Type: Of(e.Type.Scalar), Args: []*Expr{e}, Int: int64(i)}
}

// Vector makes a vector of 2 or 4 scalars.
func Vector(lanes ...*Expr) *Expr {
	return &Expr{Op: OpVec, Type: Vec(lanes[0].Type.Scalar, len(lanes)), Args: lanes}
}

// SimdSum adds up over the lanes of the SIMD group; every lane gets the sum.
func (e *Expr) SimdSum() *Expr { return same(OpSimdSum, e) }

// SimdMax is the largest over the lanes.
func (e *Expr) SimdMax() *Expr { return same(OpSimdMax, e) }

// SimdMin is the smallest over the lanes.
func (e *Expr) SimdMin() *Expr { return same(OpSimdMin, e) }

// SimdPrefix adds up over the lanes before this one.
func (e *Expr) SimdPrefix() *Expr { return same(OpSimdPrefix, e) }

// Shuffle is the value that lane `from` (i32, in range) has.
func (e *Expr) Shuffle(from *Expr) *Expr { return same(OpSimdShuffle, e, from) }

// ShuffleXor is the value that lane (lane ^ mask) has.
func (e *Expr) ShuffleXor(mask int) *Expr {
	x := same(OpSimdShuffleXor, e)
	x.Int = int64(mask)
	return x
}
