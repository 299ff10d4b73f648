package lower

import (
	"smelt/codegen/kernel"
	"smelt/ir/encoding"
)

// bitExpr is an encoding's bit expression as a kernel's, over the words of a
// unit. Truth becomes bool, Bits u32, Real f32.
func bitExpr(e *encoding.BitExpr, words []*kernel.Expr) *kernel.Expr {
	var a [3]*kernel.Expr
	for i, x := range e.Args {
		a[i] = bitExpr(x, words)
	}
	switch e.Op {
	case encoding.BitWord:
		return words[e.Const]
	case encoding.BitConst:
		return kernel.U(e.Const)
	case encoding.BitReal:
		return kernel.F(float64(e.Value))
	case encoding.BitShl:
		return a[0].Shl(a[1])
	case encoding.BitShr:
		return a[0].Shr(a[1])
	case encoding.BitSar:
		return a[0].As(kernel.I32).Shr(a[1].To(kernel.I32)).As(kernel.U32)
	case encoding.BitAnd:
		return a[0].And(a[1])
	case encoding.BitOr:
		return a[0].Or(a[1])
	case encoding.BitAdd:
		return a[0].Add(a[1])
	case encoding.BitSub:
		return a[0].Sub(a[1])
	case encoding.BitMul:
		return a[0].Mul(a[1])
	case encoding.BitLess:
		return a[0].Lt(a[1])
	case encoding.BitSelect:
		return a[0].Select(a[1], a[2])
	case encoding.BitToReal:
		return a[0].To(kernel.F32)
	case encoding.BitAsReal:
		return a[0].As(kernel.F32)
	case encoding.BitHalf:
		return a[0].To(kernel.U16).As(kernel.F16).To(kernel.F32)
	}
	panic("lower: a bit expression's operation has no lowering: " + e.String())
}
