package llvm

import (
	"slices"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
)

// Arithmetic on indices: a scalar plus constants keeps that form, so that loads find
// addresses that lie side by side.

// arithmetic computes a op b of two indices, or reports that the result is none.
func (f *function) arithmetic(op kernel.Op, t kernel.Type, a, b *index) (operand, bool) {
	switch op {
	case kernel.OpAdd:
		return f.addIndex(t, a, b), true
	case kernel.OpSub:
		if b.base == nil {
			return f.addIndex(t, a, &index{offsets: each(b.offsets, func(n int64) int64 { return -n })}), true
		}
		if len(b.offsets) == 1 {
			base := f.orZero(t, a.base)
			by := b.base
			diff := f.once(expression{op: "sub", x: base, y: by}, func() value.Value { return f.block.NewSub(base, by) })
			return indexOf(t, diff, gcd(a.multiple, b.multiple), each(a.offsets, func(n int64) int64 { return n - b.offsets[0] })), true
		}
	case kernel.OpMul:
		if n, ok := b.constant(); ok {
			return f.scaleIndex(t, a, n), true
		}
		if n, ok := a.constant(); ok {
			return f.scaleIndex(t, b, n), true
		}
	case kernel.OpDiv:
		if n, ok := b.constant(); ok && n > 0 {
			return f.divideIndex(t, a, n)
		}
	case kernel.OpRem:
		if n, ok := b.constant(); ok && n > 0 {
			return f.remainderIndex(t, a, n)
		}
	case kernel.OpMin, kernel.OpMax, kernel.OpAnd, kernel.OpOr, kernel.OpXor, kernel.OpShl, kernel.OpShr:
		if a.base == nil && b.base == nil {
			return operand{typ: t, index: &index{offsets: combine(a.offsets, b.offsets, func(x, y int64) int64 { return foldConstants(op, x, y) })}}, true
		}
	}
	return operand{}, false
}

// foldConstants computes on numbers that are not negative.
func foldConstants(op kernel.Op, x, y int64) int64 {
	switch op {
	case kernel.OpMin:
		return min(x, y)
	case kernel.OpMax:
		return max(x, y)
	case kernel.OpAnd:
		return x & y
	case kernel.OpOr:
		return x | y
	case kernel.OpXor:
		return x ^ y
	case kernel.OpShl:
		return x << y
	}
	return x >> y
}

// constant returns the number that all lanes are known to have.
func (x *index) constant() (int64, bool) {
	if x.base == nil && len(x.offsets) == 1 {
		return x.offsets[0], true
	}
	return 0, false
}

func indexOf(t kernel.Type, base value.Value, multiple int64, offsets []int64) operand {
	if len(offsets) > 1 && !slices.ContainsFunc(offsets, func(n int64) bool { return n != offsets[0] }) {
		offsets = offsets[:1]
	}
	return operand{typ: t, index: &index{base: base, multiple: multiple, offsets: offsets}}
}

func (f *function) orZero(t kernel.Type, v value.Value) value.Value {
	if v == nil {
		return intConst(scalarType(t.Scalar), 0)
	}
	return v
}

func (f *function) addIndex(t kernel.Type, a, b *index) operand {
	base, multiple := a.base, gcd(a.multiple, b.multiple)
	switch {
	case base == nil:
		base = b.base
	case b.base != nil:
		by := b.base
		sum := base
		base = f.once(expression{op: "add", x: sum, y: by}, func() value.Value { return f.block.NewAdd(sum, by) })
	}
	return indexOf(t, base, multiple, combine(a.offsets, b.offsets, func(x, y int64) int64 { return x + y }))
}

func (f *function) scaleIndex(t kernel.Type, a *index, n int64) operand {
	if n == 0 {
		return constantIndex(t, 0)
	}
	base := a.base
	if base != nil && n != 1 {
		base = f.once(expression{op: "mul", x: a.base, k: n}, func() value.Value {
			return f.block.NewMul(a.base, intConst(scalarType(t.Scalar), n))
		})
	}
	return indexOf(t, base, abs(a.multiple*n), each(a.offsets, func(x int64) int64 { return x * n }))
}

// aligned splits offsets into a common multiple of g and rests below limit. The
// operands of divisions are not negative.
func aligned(offsets []int64, g, limit int64) (common int64, rests []int64, ok bool) {
	common = floorDiv(slices.Min(offsets), g) * g
	rests = each(offsets, func(n int64) int64 { return n - common })
	return common, rests, slices.Max(rests) < limit
}

// divideIndex computes a/n: exactly if the base is a multiple of n, and alike for all lanes
// if their offsets stay below the base's next multiple.
func (f *function) divideIndex(t kernel.Type, a *index, n int64) (operand, bool) {
	if a.multiple%n == 0 { // also of base nil
		base := a.base
		if base != nil {
			base = f.divide(t, base, n)
		}
		return indexOf(t, base, a.multiple/n, each(a.offsets, func(x int64) int64 { return floorDiv(x, n) })), true
	}
	g := gcd(a.multiple, n)
	common, _, ok := aligned(a.offsets, g, g)
	if !ok {
		return operand{}, false
	}
	return scalarOperand(t, f.divide(t, f.plus(t, a.base, common), n)), true
}

// divide divides a scalar that is not negative by a constant.
func (f *function) divide(t kernel.Type, x value.Value, n int64) value.Value {
	if n == 1 {
		return x
	}
	return f.once(expression{op: "div", x: x, k: n}, func() value.Value { return f.block.NewUDiv(x, intConst(scalarType(t.Scalar), n)) })
}

// remainderIndex computes a%n; offsets below the base's next multiple stay.
func (f *function) remainderIndex(t kernel.Type, a *index, n int64) (operand, bool) {
	if a.multiple%n == 0 {
		return indexOf(t, nil, 0, each(a.offsets, func(x int64) int64 { return x - floorDiv(x, n)*n })), true
	}
	g := gcd(a.multiple, n)
	common, rests, ok := aligned(a.offsets, g, g)
	if !ok {
		return operand{}, false
	}
	x := f.plus(t, a.base, common)
	base := f.once(expression{op: "rem", x: x, k: n}, func() value.Value { return f.block.NewURem(x, intConst(scalarType(t.Scalar), n)) })
	return indexOf(t, base, g, rests), true
}

// compareBases decides a comparison for all lanes at once if one side is the same for
// all, and the offsets of the other stay below the next common multiple of the bases: a
// tile that ends with the matrix.
func (f *function) compareBases(op kernel.Op, a, b *index) (operand, bool) {
	switch {
	case op == kernel.OpGt:
		op, a, b = kernel.OpLt, b, a
	case op == kernel.OpLe:
		op, a, b = kernel.OpGe, b, a
	}
	if op != kernel.OpLt && op != kernel.OpGe {
		return operand{}, false
	}
	t := kernel.Of(kernel.I32)
	g := gcd(a.multiple, b.multiple)
	var x, y value.Value
	switch {
	case g < 2 || len(a.offsets) == 1 && len(b.offsets) == 1:
		return operand{}, false
	case len(b.offsets) == 1: // a+i < b, where a and b are multiples: a < b
		common, _, ok := aligned(each(a.offsets, func(n int64) int64 { return n - b.offsets[0] }), g, g)
		if !ok {
			return operand{}, false
		}
		x, y = f.plus(t, a.base, common), f.orZero(t, b.base)
	case len(a.offsets) == 1: // a < b+i is not b+i <= a, and that b+i < a+1
		common, _, ok := aligned(each(b.offsets, func(n int64) int64 { return n - a.offsets[0] - 1 }), g, g)
		if !ok {
			return operand{}, false
		}
		less := f.block.NewICmp(enum.IPredSLT, f.plus(t, b.base, common), f.orZero(t, a.base))
		if op == kernel.OpGe {
			return scalarOperand(kernel.Of(kernel.Bool), less), true
		}
		return scalarOperand(kernel.Of(kernel.Bool), f.block.NewXor(less, constant.True)), true
	default:
		return operand{}, false
	}
	pred := enum.IPredSLT
	if op == kernel.OpGe {
		pred = enum.IPredSGE
	}
	return scalarOperand(kernel.Of(kernel.Bool), f.block.NewICmp(pred, x, y)), true
}

// widen converts an index between i32 and i64. Indices do not overflow 32 bits,
// so the base may be extended alone.
func (f *function) widen(t kernel.Type, a *index) operand {
	base := a.base
	if base != nil {
		base = f.once(expression{op: "widen", x: a.base, n: t.String()}, func() value.Value {
			if t.Scalar == kernel.I64 {
				return f.block.NewSExt(a.base, types.I64)
			}
			return f.block.NewTrunc(a.base, types.I32)
		})
	}
	return operand{typ: t, index: &index{base: base, multiple: a.multiple, offsets: a.offsets}}
}

func each(ns []int64, g func(int64) int64) []int64 {
	out := make([]int64, len(ns))
	for i, n := range ns {
		out[i] = g(n)
	}
	return out
}

// combine applies g lane by lane.
func combine(a, b []int64, g func(x, y int64) int64) []int64 {
	out := make([]int64, max(len(a), len(b)))
	for i := range out {
		out[i] = g(a[i%len(a)], b[i%len(b)])
	}
	return out
}

func floorDiv(x, n int64) int64 {
	q := x / n
	if x%n < 0 {
		q--
	}
	return q
}

func abs(n int64) int64 { return max(n, -n) }

// gcd of a number and 0 is the number.
func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return abs(a)
}
