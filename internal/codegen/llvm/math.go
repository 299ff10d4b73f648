package llvm

import (
	"fmt"
	"math"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// mangled names a type in an intrinsic's name.
func mangled(t types.Type) string {
	switch t := t.(type) {
	case *types.VectorType:
		return fmt.Sprintf("v%d%s", t.Len, mangled(t.ElemType))
	case *types.IntType:
		return fmt.Sprintf("i%d", t.BitSize)
	case *types.PointerType:
		return "p0" + mangled(t.ElemType)
	}
	if t == types.Half {
		return "f16"
	}
	return "f32"
}

// splat puts a float into every element of t.
func (f *function) splat(t types.Type, v float64) value.Value {
	return fill(t, floatConst(types.Float, v))
}

func splatInt(t types.Type, n int64) value.Value { return fill(t, i32Const(n)) }

func allOnes(t types.Type) value.Value {
	elem := t
	if v, ok := t.(*types.VectorType); ok {
		elem = v.ElemType
	}
	if elem == types.I1 {
		return fill(t, constant.True)
	}
	return fill(t, intConst(elem, -1))
}

// integers is the type of t's bits.
func integers(t types.Type) types.Type {
	if v, ok := t.(*types.VectorType); ok {
		return types.NewVector(v.Len, types.I32)
	}
	return types.I32
}

// horner evaluates a polynomial, the highest coefficient first.
func (f *function) horner(t types.Type, x value.Value, coefficients ...float64) value.Value {
	v := f.splat(t, coefficients[0])
	for _, c := range coefficients[1:] {
		v = f.call("fma", t, v, x, f.splat(t, c))
	}
	return v
}

// exp computes e^x within about 1 unit in the last place: 2^n times e^r by its
// Taylor series with |r| <= ln(2)/2, and n split in two so that results below
// the smallest normal number come out right.
func (f *function) exp(t types.Type, x value.Value) value.Value {
	b := f.block
	// Beyond these e^x is 0 or infinite; NaN passes both comparisons.
	low, high := f.splat(t, -104), f.splat(t, 89)
	x = b.NewSelect(b.NewFCmp(enum.FPredOLT, x, low), low, x)
	x = b.NewSelect(b.NewFCmp(enum.FPredOGT, x, high), high, x)
	n := f.call("rint", t, b.NewFMul(x, f.splat(t, math.Log2E)))
	const ln2 = 0.693359375 // ten bits of ln 2, so that its product with n is exact
	r := f.call("fma", t, n, f.splat(t, -ln2), x)
	r = f.call("fma", t, n, f.splat(t, ln2-math.Ln2), r)
	p := f.horner(t, r, 1.0/5040, 1.0/720, 1.0/120, 1.0/24, 1.0/6, 0.5, 1, 1)
	// NaN converts to an arbitrary number; p is NaN then, so the product is too.
	whole := value.Value(b.NewFPToSI(b.NewSelect(b.NewFCmp(enum.FPredUNO, n, n), f.splat(t, 0), n), integers(t)))
	half := b.NewAShr(whole, splatInt(t, 1))
	p = b.NewFMul(p, f.twoTo(t, half))
	return b.NewFMul(p, f.twoTo(t, b.NewSub(whole, half)))
}

// twoTo is 2^n, for n that make normal numbers.
func (f *function) twoTo(t types.Type, n value.Value) value.Value {
	return f.block.NewBitCast(f.block.NewShl(f.block.NewAdd(n, splatInt(t, 127)), splatInt(t, 23)), t)
}

// log is the natural logarithm: x is m * 2^e with m in [sqrt(1/2), sqrt(2)),
// and log m = 2 atanh(s) with s = (m-1)/(m+1).
func (f *function) log(t types.Type, x value.Value) value.Value {
	b := f.block
	// Numbers below the smallest normal one are scaled up by 2^23.
	tiny := b.NewFCmp(enum.FPredOLT, x, f.splat(t, 0x1p-126))
	scaled := b.NewSelect(tiny, b.NewFMul(x, f.splat(t, 0x1p23)), x)
	bits := b.NewBitCast(scaled, integers(t))
	const rootHalf = 0x3f3504f3 // bits of sqrt(1/2)
	offset := b.NewSub(bits, splatInt(t, rootHalf))
	e := value.Value(b.NewSIToFP(b.NewAShr(offset, splatInt(t, 23)), t))
	e = b.NewFAdd(e, b.NewSelect(tiny, f.splat(t, -23), f.splat(t, 0)))
	m := b.NewBitCast(b.NewAdd(b.NewAnd(offset, splatInt(t, 0x7fffff)), splatInt(t, rootHalf)), t)
	d := b.NewFSub(m, f.splat(t, 1))
	s := b.NewFDiv(d, b.NewFAdd(m, f.splat(t, 1)))
	s2 := b.NewFMul(s, s)
	// 2 atanh(s) = d - s (d - 2 s^2 (1/3 + s^2/5 + ...)), which keeps d exact.
	tail := b.NewFMul(b.NewFMul(s2, f.splat(t, 2)), f.horner(t, s2, 1.0/11, 1.0/9, 1.0/7, 1.0/5, 1.0/3))
	v := value.Value(b.NewFSub(d, b.NewFMul(s, b.NewFSub(d, tail))))
	const ln2 = 0.693359375
	v = f.call("fma", t, e, f.splat(t, math.Ln2-ln2), v)
	v = f.call("fma", t, e, f.splat(t, ln2), v)
	inf := f.splat(t, math.Inf(1))
	v = b.NewSelect(b.NewFCmp(enum.FPredOEQ, x, inf), inf, v)
	v = b.NewSelect(b.NewFCmp(enum.FPredOEQ, x, f.splat(t, 0)), f.splat(t, math.Inf(-1)), v)
	return b.NewSelect(b.NewFCmp(enum.FPredULT, x, f.splat(t, 0)), f.splat(t, math.NaN()), v)
}
