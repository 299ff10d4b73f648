package llvm

import (
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/num"
)

// e2m1Codes counts the codes of e2m1.
const e2m1Codes = 16

// e2m1 converts the low 4 bits of each lane. AVX-512 picks elements of one register by
// the low bits of another: with all 16 numbers in one register, a single instruction
// converts 16 codes.
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
		return floatConst(types.Float, float64(num.E2M1ToF32(uint8(i))))
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
