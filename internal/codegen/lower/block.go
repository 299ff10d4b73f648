package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/encoding"
)

// block is a block of a row, as one of its units sees it.
type block struct {
	rowOf
	at     *kernel.Expr // index of its first element of the plane
	unit   *kernel.Expr // in the row (i32)
	number *kernel.Expr // of the unit in the block (u32), once it is asked for
}

// block names the block that unit n lies in.
func (r rowOf) block(n *kernel.Expr) *block {
	return &block{rowOf: r, at: r.u.Let("block", r.place(n)), unit: n}
}

// unitNumber is the number of the unit in the block.
func (b *block) unitNumber() *kernel.Expr {
	if b.number == nil {
		b.number = b.u.Let("unit_in_block", b.unit.Rem(i32(b.unpack.Block.Units)).To(kernel.U32))
	}
	return b.number
}

// short is a 16-bit word of the block (u32), put together of bytes where words do not lie aligned.
func (b *block) short(number *kernel.Expr) *kernel.Expr {
	at := func(n int) *kernel.Expr {
		i := number.To(kernel.I32).Mul(i32(2 / b.elem.Bytes())).Add(i32(n))
		return b.plane.At(b.at.Add(i.To(b.index))).To(kernel.U32)
	}
	if b.elem == kernel.U16 {
		return at(0)
	}
	return at(0).Or(at(1).Shl(kernel.U(8)))
}

// words are those of the unit.
func (b *block) words() []*kernel.Expr {
	in := b.u.bits(nil)
	in.block = b
	words := make([]*kernel.Expr, b.unpack.Words)
	for i, e := range b.unpack.Block.Words {
		words[i] = b.u.Let("word", in.expr(e))
	}
	return words
}

// factor is the unit's scale or bias.
func (b *block) factor(f *encoding.Factor) *kernel.Expr {
	in := b.u.bits(nil)
	in.block = b
	return b.u.Let("factor", in.expr(f.Value))
}
