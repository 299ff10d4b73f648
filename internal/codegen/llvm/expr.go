package llvm

import (
	"slices"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
)

// eval computes an expression.
func (f *function) eval(e *kernel.Expr) operand {
	if f.err != nil {
		return operand{typ: e.Type, scalar: constant.NewUndef(oneLane(e.Type))}
	}
	switch e.Op {
	case kernel.OpConst:
		return f.constantOf(e)
	case kernel.OpLocal:
		return f.local(e)
	case kernel.OpScalar:
		return scalarOperand(e.Type, f.scalars[e.Name])
	case kernel.OpStep:
		return f.load(e, place{kernel.StepBlock, e.Name}, constantIndex(kernel.Of(kernel.I32), 0))
	case kernel.OpGroup:
		return scalarOperand(e.Type, f.group[e.Int])
	case kernel.OpThread, kernel.OpLane:
		offsets := make([]int64, f.width)
		for i := range offsets {
			offsets[i] = int64(i)
		}
		return operand{typ: e.Type, index: &index{offsets: offsets}}
	case kernel.OpSimd:
		return constantIndex(e.Type, 0)
	case kernel.OpLoad:
		return f.inForm(e, f.load(e, place{e.Space, e.Name}, f.eval(e.Args[0])))
	case kernel.OpVec:
		return f.vec(e)
	case kernel.OpE2M1:
		return f.e2m1(e)
	}
	args := make([]operand, len(e.Args))
	for i, a := range e.Args {
		args[i] = f.eval(a)
	}
	if simd := simdOps[e.Op]; simd != nil {
		return simd(f, e, args)
	}
	return f.compute(e, args)
}

func (f *function) constantOf(e *kernel.Expr) operand {
	t := scalarType(e.Type.Scalar)
	switch {
	case isIndex(e.Type):
		return constantIndex(e.Type, e.Int)
	case e.Type.Scalar == kernel.F32 || e.Type.Scalar == kernel.F16:
		return operand{typ: e.Type, scalar: floatConst(t, e.Float)}
	}
	return operand{typ: e.Type, scalar: intConst(t, e.Int)}
}

// compute writes an operation that each lane does for itself.
func (f *function) compute(e *kernel.Expr, args []operand) operand {
	if o, ok := f.computeIndex(e, args); ok {
		return o
	}
	agreed := true
	for _, a := range args {
		agreed = agreed && a.agreed()
	}
	if e.Op == kernel.OpSelect {
		return f.choose(e.Type, args[0], args[1], args[2])
	}
	if e.Op != kernel.OpExtract && slices.ContainsFunc(args, func(a operand) bool { return a.elements != nil }) {
		return f.computeElements(e, args)
	}
	lift := f.asVector
	t := types.Type(f.allLanes(e.Type))
	if agreed {
		lift, t = f.asScalar, oneLane(e.Type)
	}
	emit := emitters[e.Op]
	if emit == nil {
		if e.Op == kernel.OpExtract {
			return f.extract(e, args[0])
		}
		f.fail("operation %s has no form in LLVM IR", e.Op)
		return args[0]
	}
	xs := make([]value.Value, len(args))
	for i, a := range args {
		xs[i] = lift(a)
	}
	v := emit(f, e, t, xs)
	if agreed {
		return scalarOperand(e.Type, v)
	}
	return vectorOperand(e.Type, v)
}

// computeIndex handles operations that keep the index form, and comparisons with a known
// result for every lane.
func (f *function) computeIndex(e *kernel.Expr, args []operand) (operand, bool) {
	for _, a := range args {
		if a.index == nil {
			return operand{}, false
		}
	}
	switch {
	case len(args) == 1 && e.Op == kernel.OpConvert && isIndex(e.Type):
		if e.Type == args[0].typ {
			return args[0], true
		}
		return f.widen(e.Type, args[0].index), true
	case len(args) == 2 && isIndex(e.Type):
		return f.arithmetic(e.Op, e.Type, args[0].index, args[1].index)
	case len(args) == 2 && e.Type.Scalar == kernel.Bool && args[0].index.base == args[1].index.base:
		return f.decided(e.Op, args[0].index.offsets, args[1].index.offsets)
	case len(args) == 2 && e.Type.Scalar == kernel.Bool:
		return f.compareBases(e.Op, args[0].index, args[1].index)
	}
	return operand{}, false
}

// decided compares offsets from one base.
func (f *function) decided(op kernel.Op, a, b []int64) (operand, bool) {
	truth := combine(a, b, func(x, y int64) int64 {
		holds := map[kernel.Op]bool{kernel.OpLt: x < y, kernel.OpLe: x <= y, kernel.OpGt: x > y, kernel.OpGe: x >= y, kernel.OpEq: x == y, kernel.OpNe: x != y}[op]
		if holds {
			return 1
		}
		return 0
	})
	if len(truth) == 1 {
		return operand{typ: kernel.Of(kernel.Bool), scalar: constant.NewBool(truth[0] == 1)}, true
	}
	lanes := make([]bool, len(truth))
	for i, n := range truth {
		lanes[i] = n == 1
	}
	return f.knownLanes(lanes), true
}

// knownLanes is a bool known for each lane.
func (f *function) knownLanes(lanes []bool) operand {
	v := vectorOf(types.I1, len(lanes), func(i int) constant.Constant { return constant.NewBool(lanes[i]) })
	return operand{typ: kernel.Of(kernel.Bool), vector: v, lanes: lanes}
}

// choose selects a where cond holds, else b.
func (f *function) choose(t kernel.Type, cond, a, b operand) operand {
	if cond.agreed() && a.agreed() && b.agreed() {
		return scalarOperand(t, f.block.NewSelect(f.asScalar(cond), f.asScalar(a), f.asScalar(b)))
	}
	if a.elements != nil || b.elements != nil {
		elements, ys := slices.Clone(f.asElements(a, t.Lanes)), f.asElements(b, t.Lanes)
		which := f.asVector
		if cond.agreed() {
			which = f.asScalar
		}
		for n, x := range elements {
			elements[n] = f.block.NewSelect(which(cond), x, ys[n])
		}
		return elementsOperand(t, elements)
	}
	x, y := f.asVector(a), f.asVector(b)
	if cond.agreed() {
		return vectorOperand(t, f.block.NewSelect(f.asScalar(cond), x, y))
	}
	return vectorOperand(t, f.block.NewSelect(f.forElements(f.asVector(cond), t.Lanes), x, y))
}

// forElements repeats each lane's condition for the elements of its vector.
func (f *function) forElements(cond value.Value, lanes int) value.Value {
	if lanes == 1 {
		return cond
	}
	return f.once(expression{op: "elements", x: cond, k: int64(lanes)}, func() value.Value { return f.shuffle(cond, repeated(f.width, lanes)) })
}

// extract takes one element of every lane's vector.
func (f *function) extract(e *kernel.Expr, x operand) operand {
	if x.agreed() {
		return scalarOperand(e.Type, f.elementOfAll(x.scalar, int(e.Int)))
	}
	return vectorOperand(e.Type, f.asElements(x, x.typ.Lanes)[e.Int])
}

// computeElements does what compute does, element by element.
func (f *function) computeElements(e *kernel.Expr, args []operand) operand {
	emit := emitters[e.Op]
	if emit == nil {
		f.fail("operation %s has no form in LLVM IR", e.Op)
		return args[0]
	}
	xs := make([][]value.Value, len(args))
	for i, a := range args {
		xs[i] = f.asElements(a, e.Type.Lanes)
	}
	t, elements := f.allLanes(elementOf(e.Type)), make([]value.Value, e.Type.Lanes)
	for n := range elements {
		x := make([]value.Value, len(xs))
		for i := range xs {
			x[i] = xs[i][n]
		}
		elements[n] = emit(f, e, t, x)
	}
	return elementsOperand(e.Type, elements)
}

// inForm gives a vector the form chosen for it.
func (f *function) inForm(e *kernel.Expr, o operand) operand {
	if o.vector != nil && e.Type.Lanes > 1 && f.forms.apart(e) {
		return elementsOperand(e.Type, f.asElements(o, e.Type.Lanes))
	}
	return o
}

// vec makes vectors of scalars. Elements that lie side by side in memory are loaded as a
// vector.
func (f *function) vec(e *kernel.Expr) operand {
	args := make([]operand, len(e.Args))
	same := true
	for i, a := range e.Args {
		if i > 0 && a == e.Args[0] {
			args[i] = args[0]
			continue
		}
		same = same && i == 0
	}
	if !same {
		if o, ok := f.loadSideBySide(e); ok {
			return f.inForm(e, o)
		}
	}
	agreed := true
	for i, a := range e.Args {
		if i == 0 || a != e.Args[0] {
			args[i] = f.eval(a)
		} else {
			args[i] = args[0]
		}
		agreed = agreed && args[i].agreed()
	}
	switch {
	case agreed && same:
		x := f.asScalar(args[0])
		v := f.repeat(x, types.NewVector(uint64(len(args)), x.Type()))
		f.repeats[v] = x
		return operand{typ: e.Type, scalar: v}
	case agreed:
		return operand{typ: e.Type, scalar: f.gather(oneLane(e.Type), args, f.asScalar)}
	case same && !f.forms.apart(e):
		return vectorOperand(e.Type, f.shuffle(f.asVector(args[0]), repeated(f.width, len(args))))
	}
	elements := make([]value.Value, len(args))
	for i, a := range args {
		elements[i] = f.asVector(a)
	}
	if f.forms.apart(e) {
		return elementsOperand(e.Type, elements)
	}
	return vectorOperand(e.Type, f.sideBySide(elements, e.Type))
}

// gather makes a vector of scalars one by one.
func (f *function) gather(t types.Type, args []operand, lift func(operand) value.Value) value.Value {
	v := value.Value(constant.NewUndef(t))
	for i, a := range args {
		v = f.block.NewInsertElement(v, lift(a), i32Const(int64(i)))
	}
	return v
}

// emitter writes one operation; t is the type of its result, for one lane or all.
type emitter func(f *function, e *kernel.Expr, t types.Type, x []value.Value) value.Value

// number tells floats, signed and unsigned integers apart.
type number uint8

const (
	real number = iota
	signed
	unsigned
)

func numberOf(t kernel.Type) number {
	switch t.Scalar {
	case kernel.F32, kernel.F16:
		return real
	case kernel.I32, kernel.I64:
		return signed
	}
	return unsigned
}

// emitters is the table of operations that a lane does for itself.
var emitters = map[kernel.Op]emitter{
	kernel.OpAdd: either((*ir.Block).NewFAdd, (*ir.Block).NewAdd),
	kernel.OpSub: either((*ir.Block).NewFSub, (*ir.Block).NewSub),
	kernel.OpMul: either((*ir.Block).NewFMul, (*ir.Block).NewMul),
	kernel.OpDiv: either((*ir.Block).NewFDiv, (*ir.Block).NewUDiv), // integers are not negative
	kernel.OpRem: either((*ir.Block).NewFRem, (*ir.Block).NewURem),
	kernel.OpAnd: plain((*ir.Block).NewAnd),
	kernel.OpOr:  plain((*ir.Block).NewOr),
	kernel.OpXor: plain((*ir.Block).NewXor),
	kernel.OpShl: plain((*ir.Block).NewShl),
	kernel.OpShr: func(f *function, e *kernel.Expr, _ types.Type, x []value.Value) value.Value {
		if numberOf(e.Type) == signed {
			return f.block.NewAShr(x[0], x[1])
		}
		return f.block.NewLShr(x[0], x[1])
	},
	kernel.OpLt: compare(enum.FPredOLT, enum.IPredSLT, enum.IPredULT),
	kernel.OpLe: compare(enum.FPredOLE, enum.IPredSLE, enum.IPredULE),
	kernel.OpGt: compare(enum.FPredOGT, enum.IPredSGT, enum.IPredUGT),
	kernel.OpGe: compare(enum.FPredOGE, enum.IPredSGE, enum.IPredUGE),
	kernel.OpEq: compare(enum.FPredOEQ, enum.IPredEQ, enum.IPredEQ),
	kernel.OpNe: compare(enum.FPredUNE, enum.IPredNE, enum.IPredNE),
	kernel.OpMin: func(f *function, e *kernel.Expr, t types.Type, x []value.Value) value.Value {
		return f.extreme(e, t, x, "minnum", enum.IPredSLT, enum.IPredULT)
	},
	kernel.OpMax: func(f *function, e *kernel.Expr, t types.Type, x []value.Value) value.Value {
		return f.extreme(e, t, x, "maxnum", enum.IPredSGT, enum.IPredUGT)
	},
	kernel.OpNot: func(f *function, _ *kernel.Expr, t types.Type, x []value.Value) value.Value {
		return f.block.NewXor(x[0], allOnes(t))
	},
	kernel.OpNeg: func(f *function, e *kernel.Expr, t types.Type, x []value.Value) value.Value {
		if numberOf(e.Type) == real {
			return f.block.NewFNeg(x[0])
		}
		return f.block.NewSub(constant.NewZeroInitializer(t), x[0])
	},
	kernel.OpAbs:   float1("fabs"),
	kernel.OpSqrt:  float1("sqrt"),
	kernel.OpRint:  float1("rint"),
	kernel.OpFloor: float1("floor"),
	kernel.OpFma: func(f *function, _ *kernel.Expr, t types.Type, x []value.Value) value.Value {
		return f.call("fma", t, x...)
	},
	kernel.OpRsqrt: func(f *function, _ *kernel.Expr, t types.Type, x []value.Value) value.Value {
		return f.block.NewFDiv(f.splat(t, 1), f.call("sqrt", t, x[0]))
	},
	kernel.OpExp: func(f *function, _ *kernel.Expr, t types.Type, x []value.Value) value.Value { return f.exp(t, x[0]) },
	kernel.OpLog: func(f *function, _ *kernel.Expr, t types.Type, x []value.Value) value.Value { return f.log(t, x[0]) },
	kernel.OpBitcast: func(f *function, _ *kernel.Expr, t types.Type, x []value.Value) value.Value {
		return f.block.NewBitCast(x[0], t)
	},
	kernel.OpHalves: func(f *function, _ *kernel.Expr, t types.Type, x []value.Value) value.Value {
		return f.block.NewFPExt(f.block.NewBitCast(x[0], types.NewVector(t.(*types.VectorType).Len, types.Half)), t)
	},
	kernel.OpConvert: func(f *function, e *kernel.Expr, t types.Type, x []value.Value) value.Value {
		return f.convert(e.Args[0].Type, e.Type, t, x[0])
	},
}

// plain writes an instruction of two operands.
func plain[I value.Value](g func(b *ir.Block, x, y value.Value) I) emitter {
	return func(f *function, _ *kernel.Expr, _ types.Type, x []value.Value) value.Value {
		return g(f.block, x[0], x[1])
	}
}

// either writes one instruction for floats, another for integers.
func either[F, I value.Value](reals func(b *ir.Block, x, y value.Value) F, ints func(b *ir.Block, x, y value.Value) I) emitter {
	return func(f *function, e *kernel.Expr, _ types.Type, x []value.Value) value.Value {
		if numberOf(e.Type) == real {
			return reals(f.block, x[0], x[1])
		}
		return ints(f.block, x[0], x[1])
	}
}

func compare(reals enum.FPred, ints, naturals enum.IPred) emitter {
	return func(f *function, e *kernel.Expr, _ types.Type, x []value.Value) value.Value {
		switch numberOf(e.Args[0].Type) {
		case real:
			return f.block.NewFCmp(reals, x[0], x[1])
		case signed:
			return f.block.NewICmp(ints, x[0], x[1])
		}
		return f.block.NewICmp(naturals, x[0], x[1])
	}
}

// extreme picks the smaller or larger; between a number and NaN, the number.
func (f *function) extreme(e *kernel.Expr, t types.Type, x []value.Value, reals string, ints, naturals enum.IPred) value.Value {
	switch numberOf(e.Type) {
	case real:
		return f.call(reals, t, x...)
	case signed:
		return f.block.NewSelect(f.block.NewICmp(ints, x[0], x[1]), x[0], x[1])
	}
	return f.block.NewSelect(f.block.NewICmp(naturals, x[0], x[1]), x[0], x[1])
}

func float1(name string) emitter {
	return func(f *function, _ *kernel.Expr, t types.Type, x []value.Value) value.Value {
		return f.call(name, t, x[0])
	}
}

// call calls an intrinsic whose operands and result have one type.
func (f *function) call(name string, t types.Type, x ...value.Value) value.Value {
	params := make([]types.Type, len(x))
	for i := range x {
		params[i] = t
	}
	return f.block.NewCall(f.intrinsic("llvm."+name+"."+mangled(t), t, params...), x...)
}

// convert changes a number's type. Floats to integers truncate.
func (f *function) convert(from, to kernel.Type, t types.Type, x value.Value) value.Value {
	a, b := numberOf(from), numberOf(to)
	wide, narrow := to.Scalar.Bytes() > from.Scalar.Bytes() || from.Scalar == kernel.Bool, to.Scalar.Bytes() < from.Scalar.Bytes()
	switch {
	case to.Scalar == kernel.Bool:
		return f.truth(from, x)
	case a == real && b == real && wide:
		return f.block.NewFPExt(x, t)
	case a == real && b == real:
		return f.block.NewFPTrunc(x, t)
	case a == real && b == signed:
		return f.block.NewFPToSI(x, t)
	case a == real:
		return f.block.NewFPToUI(x, t)
	case b == real && a == signed:
		return f.block.NewSIToFP(x, t)
	case b == real:
		return f.block.NewUIToFP(x, t)
	case wide && a == signed:
		return f.block.NewSExt(x, t)
	case wide:
		return f.block.NewZExt(x, t)
	case narrow:
		return f.block.NewTrunc(x, t)
	}
	return x
}

// truth reports whether a number is not 0.
func (f *function) truth(from kernel.Type, x value.Value) value.Value {
	zero := constant.NewZeroInitializer(x.Type())
	if numberOf(from) == real {
		return f.block.NewFCmp(enum.FPredUNE, x, zero)
	}
	return f.block.NewICmp(enum.IPredNE, x, zero)
}
