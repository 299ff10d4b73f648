package lower

import (
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir/ops"
)

// rounds reports whether storing does the rounding: each entry equals the rounding of one
// segment of the row. Then EncodeRow gives the same for a vector and for the rounded one.
func (c *cacheRows) rounds(all []ops.RoundAttr) bool {
	done := map[encoding.RowSegment]bool{}
	for _, r := range all {
		at := slices.IndexFunc(c.cache.Row.Segments, func(s encoding.RowSegment) bool {
			return r == ops.RoundAttr{Format: string(s.Kind), Block: s.Block, From: s.FirstElement, Count: s.Count}
		})
		if at < 0 || done[c.cache.Row.Segments[at]] {
			return false
		}
		done[c.cache.Row.Segments[at]] = true
	}
	return true
}

// store writes a whole row, which a SIMD group holds, as encoding.EncodeRow
// does: to the bit, padding included.
func (c *cacheRows) store(row cacheRow, v laneVector) {
	for _, s := range c.cache.Row.Segments {
		switch s.Kind {
		case encoding.RowF32:
			c.storeWords(s, row, v, 4, func(_ int, x *kernel.Expr) []*kernel.Expr {
				bits := lanesOf(x.As(kernel.U32))
				return bits[:]
			})
		case encoding.RowBF16:
			c.storeWords(s, row, v, 2, func(_ int, x *kernel.Expr) []*kernel.Expr {
				b := lanesOf(c.u.Let("bf16", roundBF16(x)))
				return []*kernel.Expr{b[0].Shr(kernel.U(16)).Or(b[1]), b[2].Shr(kernel.U(16)).Or(b[3])}
			})
		default:
			c.storeBlocks(s, row, v)
		}
	}
}

// storeWords stores the lane's chunks of a segment, n words each.
func (c *cacheRows) storeWords(s encoding.RowSegment, row cacheRow, v laneVector, n int, words func(j int, x *kernel.Expr) []*kernel.Expr) {
	p := part4{s.FirstElement, s.Count}
	c.u.eachChunkIn(v, p, func(j int, chunk *kernel.Expr) {
		at := c.u.Let("to", c.word(row, s.Offset, chunk.Sub(i32(s.FirstElement/4)).Mul(i32(n))))
		for i, w := range words(j, v[j].Expr) {
			c.memory.Set(at.Add(c.number(i)), w)
		}
	})
}

// storeBlocks stores a segment of codes with scales.
func (c *cacheRows) storeBlocks(s encoding.RowSegment, row cacheRow, v laneVector) {
	code := blockCodes[string(s.Kind)]
	b := blocks{part4{s.FirstElement, s.Count}, code, s.Block}
	scales := c.u.blockScales(v, b)
	if code.bits == 8 {
		c.storeWords(s, row, v, 1, func(j int, x *kernel.Expr) []*kernel.Expr {
			return []*kernel.Expr{c.u.packCodes(code, x, scales[j])}
		})
	} else {
		c.storeHalfWords(s, row, v, code, scales)
	}
	c.storeScales(s, row, b, scales)
}

// storeHalfWords stores chunks of 16 bits: the lane with the even chunk writes
// for both.
func (c *cacheRows) storeHalfWords(s encoding.RowSegment, row cacheRow, v laneVector, code *blockCode, scales []*kernel.Expr) {
	packed := make([]*kernel.Expr, len(v))
	for j := range v {
		if scales[j] == nil {
			continue
		}
		own := c.u.packCodes(code, v[j].Expr, scales[j])
		packed[j] = c.u.Let("word", own.Or(own.ShuffleXor(1).Shl(kernel.U(16))))
	}
	c.u.eachChunkIn(v, part4{s.FirstElement, s.Count}, func(j int, chunk *kernel.Expr) {
		c.u.If(chunk.Rem(i32(2)).Eq(i32(0)), func() {
			c.memory.Set(c.word(row, s.Offset, chunk.Sub(i32(s.FirstElement/4)).Div(i32(2))), packed[j])
		}, nil)
	})
}

// storeScales collects the blocks' scales; lane 0 writes them and the padding
// behind them.
func (c *cacheRows) storeScales(s encoding.RowSegment, row cacheRow, b blocks, scales []*kernel.Expr) {
	width := c.u.Schedule().SimdWidth
	words := make([]*kernel.Expr, (c.cache.Row.Bytes-s.ScaleOffset)/4)
	for i := range words {
		words[i] = kernel.U(0)
	}
	for i := range s.Scales() {
		chunk := (s.FirstElement + i*s.Block) / 4 // the block's first
		one := scales[chunk/width].Shuffle(i32(chunk % width)).To(kernel.U32)
		if i%4 > 0 {
			one = words[i/4].Or(one.Shl(kernel.U(uint32(8 * (i % 4)))))
		}
		words[i/4] = c.u.Let("scales", one)
	}
	c.u.If(kernel.Lane().Eq(i32(0)), func() {
		for i, w := range words {
			c.memory.Set(c.word(row, s.ScaleOffset, i32(i)), w)
		}
	}, nil)
}
