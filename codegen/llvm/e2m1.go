package llvm

import (
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt/codegen/kernel"
	"smelt/ir/encoding"
)

// e2m1Codes is how many numbers e2m1 has.
const e2m1Codes = 16

// e2m1 is the number that the low 4 bits of each lane are in e2m1. AVX-512 takes
// elements of a register by the low bits of another's: with all numbers in one,
// that is all there is to do, for as many codes at a time.
func (f *function) e2m1(e *kernel.Expr) operand {
	lanes := f.eval(e.Args[0])
	if f.machine != e2m1Codes || lanes.agreed() {
		return f.eval(e.FromHalf())
	}
	return vectorOperand(e.Type, f.e2m1FromTable(f.asVector(lanes)))
}

// e2m1FromTable looks the codes of all lanes up.
func (f *function) e2m1FromTable(code value.Value) value.Value {
	n := f.width
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
