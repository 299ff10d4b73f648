package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/encoding"
)

// means says what the target is quick at. Vector registers of 16 lanes hold all
// numbers of e2m1, one of which each lane can take at once.
func (in *Input) means() encoding.Features {
	return encoding.Features{Halves: in.Target.Halves, E2M1: in.Target.Vector >= 16}
}

// unpacked are the codes of a unit whose words these are.
func (u *emitter) unpacked(unpack encoding.Unpack, words []*kernel.Expr) []*kernel.Expr {
	b := u.bits(words)
	out := make([]*kernel.Expr, len(unpack.Codes))
	for i, e := range unpack.Codes {
		out[i] = b.expr(e)
	}
	return out
}

// unpackedPairs are the codes of a unit in pairs (f32x2).
func (u *emitter) unpackedPairs(unpack encoding.Unpack, pairs [][2]int, words []*kernel.Expr) (out []*kernel.Expr) {
	b := &bits{u: u, words: words}
	for _, p := range pairs {
		out = append(out, b.expr(unpack.Codes[p[0]].Args[0]).Halves())
	}
	return out
}

// bits lowers an encoding's bit expressions over the words of a unit, or over a
// block and the number of a unit in it.
type bits struct {
	u      *emitter
	words  []*kernel.Expr
	block  *block
	halves map[*encoding.BitExpr]*kernel.Expr // both halves of words
}

func (u *emitter) bits(words []*kernel.Expr) *bits {
	return &bits{u: u, words: words, halves: map[*encoding.BitExpr]*kernel.Expr{}}
}

// expr is an expression as a kernel's. Truth becomes bool, Bits u32, Real f32.
func (b *bits) expr(e *encoding.BitExpr) *kernel.Expr {
	if e.Op == encoding.BitHalf {
		return b.half(e.Args[0], int(e.Const))
	}
	var a [3]*kernel.Expr
	for i, x := range e.Args {
		a[i] = b.expr(x)
	}
	switch e.Op {
	case encoding.BitWord:
		return b.words[e.Const]
	case encoding.BitConst:
		return kernel.U(e.Const)
	case encoding.BitReal:
		return kernel.F(float64(e.Value))
	case encoding.BitShl:
		return a[0].Shl(a[1])
	case encoding.BitShr:
		return a[0].Shr(a[1])
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
	case encoding.BitE2M1:
		return a[0].E2M1()
	case encoding.BitSigned:
		return a[0].As(kernel.I32).Shr(i32(32 - int(e.Const))).To(kernel.F32)
	case encoding.BitUnit:
		return b.block.unitNumber()
	case encoding.BitShort:
		return b.block.short(a[0])
	}
	panic("lower: a bit expression's operation has no lowering: " + e.String())
}

// half is a half of a word as f32. A target that is quick at halves takes both at once.
func (b *bits) half(word *encoding.BitExpr, n int) *kernel.Expr {
	if !b.u.in.means().Halves && n == 0 {
		return b.expr(word).To(kernel.U16).As(kernel.F16).To(kernel.F32)
	}
	if b.halves[word] == nil {
		b.halves[word] = b.u.Let("halves", b.expr(word).Halves())
	}
	return b.halves[word].Lane(n)
}
