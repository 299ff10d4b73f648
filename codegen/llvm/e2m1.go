package llvm

import (
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt/ir/encoding"
)

// e2m1Codes is how many numbers e2m1 has.
const e2m1Codes = 16

// e2m1 is the number that the low 4 bits of each element are in e2m1. AVX-512
// takes elements of a register by the low bits of another's: with all numbers in
// one, that is all there is to do. Elsewhere sign and magnitude are placed in an
// IEEE half, whose exponent is then too small by 14.
func (f *function) e2m1(t types.Type, code value.Value) value.Value {
	if v, ok := t.(*types.VectorType); ok && f.machine == e2m1Codes {
		return f.e2m1FromTable(code, int(v.Len))
	}
	bits := code.Type()
	part := func(mask, by int64) value.Value {
		return f.block.NewShl(f.block.NewAnd(code, splatInt(bits, mask)), splatInt(bits, by))
	}
	half := f.block.NewTrunc(f.block.NewOr(part(8, 12), part(7, 9)), shaped(t, types.I16))
	return f.block.NewFMul(f.block.NewFPExt(f.block.NewBitCast(half, shaped(t, types.Half)), t), f.splat(t, 0x1p14))
}

// shaped is a type with as many elements as another.
func shaped(like, elem types.Type) types.Type {
	if v, ok := like.(*types.VectorType); ok {
		return types.NewVector(v.Len, elem)
	}
	return elem
}

// e2m1FromTable looks n codes up, as many at a time as there are numbers.
func (f *function) e2m1FromTable(code value.Value, n int) value.Value {
	reals, words := types.NewVector(e2m1Codes, types.Float), types.NewVector(e2m1Codes, types.I32)
	table := vectorOf(types.Float, e2m1Codes, func(i int) constant.Constant {
		return floatConst(types.Float, float64(encoding.E2M1ToF32(uint8(i))))
	})
	look := f.intrinsic("llvm.x86.avx512.permvar.sf.512", reals, reals, words)
	if n < e2m1Codes {
		all := f.shuffle(code, padded(n))
		return f.shuffle(f.block.NewCall(look, table, all), counting(0, n))
	}
	var parts []value.Value
	for at := 0; at < n; at += e2m1Codes {
		some := code
		if n > e2m1Codes {
			some = f.shuffle(code, counting(at, e2m1Codes))
		}
		parts = append(parts, f.block.NewCall(look, table, some))
	}
	return f.concat(parts, e2m1Codes)
}

// padded counts to n, and goes on with the first to fill a register.
func padded(n int) []int {
	from := make([]int, e2m1Codes)
	for i := range n {
		from[i] = i
	}
	return from
}
