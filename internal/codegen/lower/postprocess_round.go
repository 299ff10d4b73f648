package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/encoding"
)

// blockCode is a small float that kernels round to in blocks with power-of-two
// scales, by exact arithmetic alone: what encoding.Round gives, to the bit.
type blockCode struct {
	bits     int
	mantissa int
	// one is the exponent field of the smallest normal code's value in float32.
	one int
	// The largest code is (1 + m * 2^-23) * 2^top; carry is 2^23-1 - m: added to
	// a float's bits it carries into the exponent if the mantissa is above m.
	top, carry int
	least      int // scale (an E8M0 byte) of smaller blocks
}

// blockCodes are those of encoding.E4M3Blocks and encoding.E2M1Blocks.
var blockCodes = map[string]*blockCode{
	string(encoding.RowE4M3): {bits: 8, mantissa: 3, one: 127 - 6, top: 8, carry: 0x1fffff, least: 127 - 22},
	string(encoding.RowE2M1): {bits: 4, mantissa: 1, one: 127, top: 2, carry: 0x3fffff, least: 127 - 126},
}

// blocks are a part of a vector that is rounded in blocks of size elements.
type blocks struct {
	part4
	code *blockCode
	size int
}

// blockScales is the scale of each of the lane's chunks as an E8M0 byte (i32):
// 2^(byte-127) is the least power of two by which the block needs no
// saturation. It is nil for chunks of which no lane's is in the part.
func (u *emitter) blockScales(v laneVector, b blocks) []*kernel.Expr {
	lanes := u.Schedule().SimdWidth
	scales := make([]*kernel.Expr, len(v))
	if b.size < 4 || b.size&(b.size-1) != 0 || b.from%b.size != 0 {
		u.fail("rounding in blocks of %d elements from %d on; kernels need a power of two from 4 on, and whole blocks before them", b.size, b.from)
		for j := range scales {
			scales[j] = i32(127)
		}
		return scales
	}
	u.Comment("scale of each block: the least power of two that brings its largest magnitude within the codes")
	together := max(1, b.size/4/lanes) // chunks of a lane that lie in one block
	for first := 0; first < len(v); first += together {
		var amax *kernel.Expr
		for j := first; j < min(first+together, len(v)); j++ {
			if m := u.chunkMax(v, b.part4, j); amax == nil {
				amax = m
			} else if m != nil {
				amax = amax.Max(m)
			}
		}
		if amax == nil {
			continue
		}
		for h := 1; h < min(lanes, b.size/4); h *= 2 {
			amax = u.Let("amax", amax)
			amax = amax.Max(amax.ShuffleXor(h))
		}
		exponent := amax.As(kernel.I32).Add(i32(b.code.carry)).Shr(i32(23)).Sub(i32(b.code.top))
		scale := u.Let("scale", exponent.Max(i32(b.code.least)))
		for j := first; j < min(first+together, len(v)); j++ {
			scales[j] = scale
		}
	}
	return scales
}

// chunkMax is the largest magnitude of the lane's j-th chunk, 0 if that is not
// in the part; nil if no lane's is.
func (u *emitter) chunkMax(v laneVector, p part4, j int) *kernel.Expr {
	all, some := p.overlap(j, u.Schedule().SimdWidth)
	if !some {
		return nil
	}
	x := lanesOf(u.Let("magnitudes", v[j].Abs()))
	m := x[0].Max(x[1]).Max(x[2].Max(x[3]))
	if !all {
		m = u.isIn(p, j).Select(m, f32(0))
	}
	return m
}

// codes are four elements as multiples of the step between neighbouring codes:
// element = steps * 2^(exponent-127-mantissa) * scale, of which exponent (i32x4)
// is the exponent field of the power of two below it, or of the smallest normal.
func (u *emitter) codes(c *blockCode, x, scale *kernel.Expr) (steps, exponent *kernel.Expr) {
	inverse := powerOfTwo(i32(254).Sub(scale))
	scaled := u.Let("scaled", x.Mul(splat(inverse)))
	field := scaled.As(kernel.I32).Shr(splat(i32(23))).And(splat(i32(0xff)))
	exponent = u.Let("exponent", field.Max(splat(i32(c.one))))
	perStep := powerOfTwo(splat(i32(254 + c.mantissa)).Sub(exponent))
	return u.Let("steps", scaled.Mul(perStep).Rint()), exponent
}

// powerOfTwo makes floats of exponent fields.
func powerOfTwo(field *kernel.Expr) *kernel.Expr {
	n := i32(23)
	if field.Type.Lanes == 4 {
		n = splat(n)
	}
	return field.Shl(n).As(kernel.F32)
}

// roundCodes rounds four elements to their nearest codes, ties to even.
func (u *emitter) roundCodes(c *blockCode, x, scale *kernel.Expr) *kernel.Expr {
	steps, exponent := u.codes(c, x, scale)
	step := powerOfTwo(exponent.Sub(splat(i32(c.mantissa))))
	return steps.Mul(step).Mul(splat(powerOfTwo(scale)))
}

// packCodes is the codes of four elements as one number (u32), the first lowest.
func (u *emitter) packCodes(c *blockCode, x, scale *kernel.Expr) *kernel.Expr {
	steps, exponent := u.codes(c, x, scale)
	// Steps count from the power of two on; what rounds up to the next carries.
	magnitude := exponent.Sub(splat(i32(c.one))).Shl(splat(i32(c.mantissa))).Add(steps.Abs().To(kernel.I32))
	sign := x.As(kernel.I32).Shr(splat(i32(31))).And(splat(i32(1 << (c.bits - 1))))
	four := lanesOf(u.Let("codes", magnitude.Or(sign).As(kernel.U32)))
	packed := four[0]
	for i := 1; i < 4; i++ {
		packed = packed.Or(four[i].Shl(kernel.U(uint32(i * c.bits))))
	}
	return u.Let("packed", packed)
}

// roundBF16 is the bits of four f32 rounded to bfloat16, ties to even; the lower
// half is 0.
func roundBF16(x *kernel.Expr) *kernel.Expr {
	bits := x.As(kernel.U32)
	odd := bits.Shr(splat(kernel.U(16))).And(splat(kernel.U(1)))
	return bits.Add(splat(kernel.U(0x7fff))).Add(odd).And(splat(kernel.U(0xffff0000)))
}
