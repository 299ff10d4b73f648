package lower

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir/ops"
)

// laneVector is a vector that a SIMD group holds in chunks of four elements
// (f32x4): of 32 lanes, lane l has chunks l, l+32 and so on. Chunks behind the
// vector's end are 0.
type laneVector []kernel.Variable

// newLaneVector declares a vector of zeros.
func (u *emitter) newLaneVector(name string, width int) laneVector {
	lanes := 4 * u.Schedule().SimdWidth
	return u.Vars(name, (width+lanes-1)/lanes, splat(f32(0)))
}

// part4 is a run of a vector's elements; both numbers are multiples of 4.
type part4 struct{ from, count int }

// overlap says whether all, or some, of the chunks numbered j of the lanes lie
// in the part.
func (p part4) overlap(j, simdWidth int) (all, some bool) {
	first, end := 4*j*simdWidth, 4*(j+1)*simdWidth
	return p.from <= first && end <= p.from+p.count, first < p.from+p.count && p.from < end
}

// chunk is the number of the lane's j-th chunk.
func (u *emitter) chunk(j int) *kernel.Expr {
	return kernel.Lane().Add(i32(j * u.Schedule().SimdWidth))
}

// eachChunkIn runs f for the lane's chunks that lie in the part.
func (u *emitter) eachChunkIn(v laneVector, p part4, f func(j int, chunk *kernel.Expr)) {
	for j := range v {
		all, some := p.overlap(j, u.Schedule().SimdWidth)
		if !some {
			continue
		}
		u.guard(nil, u.isIn(p, j), !all, func() { f(j, u.chunk(j)) })
	}
}

// isIn is the condition that the lane's j-th chunk, which lies in the part for
// some lanes, does so for this one.
func (u *emitter) isIn(p part4, j int) *kernel.Expr {
	c, lanes := u.chunk(j), u.Schedule().SimdWidth
	above, below := c.Ge(i32(p.from/4)), c.Lt(i32((p.from+p.count)/4))
	switch {
	case p.from <= 4*j*lanes:
		return below
	case 4*(j+1)*lanes <= p.from+p.count:
		return above
	}
	return above.And(below)
}

// loadVector reads a vector element by element.
func (u *emitter) loadVector(width int, read func(i *kernel.Expr) *kernel.Expr) laneVector {
	return u.loadChunks(width, func(chunk *kernel.Expr) *kernel.Expr {
		var x []*kernel.Expr
		for n := range 4 {
			x = append(x, read(chunk.Mul(i32(4)).Add(i32(n))))
		}
		return kernel.Vector(x...)
	})
}

// loadChunks reads a vector in chunks.
func (u *emitter) loadChunks(width int, read func(chunk *kernel.Expr) *kernel.Expr) laneVector {
	if width%4 != 0 {
		u.fail("vectors of %d elements; kernels need a multiple of 4", width)
	}
	var v laneVector
	whole, lanes := part4{0, width}, u.Schedule().SimdWidth
	for j := 0; 4*j*lanes < width; j++ {
		if all, _ := whole.overlap(j, lanes); all {
			v = append(v, u.Var("x", read(u.chunk(j))))
			continue
		}
		last := u.Var("x", splat(f32(0)))
		u.If(u.isIn(whole, j), func() { last.Set(read(u.chunk(j))) }, nil)
		v = append(v, last)
	}
	return v
}

// storeVector gives put every element once, each by one lane.
func (u *emitter) storeVector(v laneVector, width int, put func(i, x *kernel.Expr)) {
	u.eachChunkIn(v, part4{0, width}, func(j int, chunk *kernel.Expr) {
		for n, x := range lanesOf(v[j].Expr) {
			put(chunk.Mul(i32(4)).Add(i32(n)), x)
		}
	})
}

// postprocess does to a vector what f says. row is the vector's row of the step's
// rotation table: of the step's rows (ratio 0), or of those that close a block.
func (u *emitter) postprocess(v laneVector, width int, f *fusion.Postprocess, row *kernel.Expr, ratio int) {
	if f.Norm != nil {
		u.normVector(v, width, f.Norm)
	}
	if f.Rope != nil {
		u.rotateVector(v, width, f.Rope, row, ratio)
	}
	if f.Hadamard {
		u.transformVector(v, width)
	}
	for _, r := range f.Round {
		u.roundVector(v, r)
	}
}

// normVector divides by the root mean square and multiplies with the weight.
func (u *emitter) normVector(v laneVector, width int, n *fusion.Norm) {
	u.Comment("norm")
	squares := v[0].Mul(v[0].Expr)
	for _, x := range v[1:] {
		squares = x.Fma(x.Expr, squares)
	}
	mean := u.sumOfChunks(u.Let("squares", squares)).Div(f32(float64(width)))
	rms := u.Let("rms", mean.Add(f32(n.Eps)).Sqrt())
	var weight vector
	if n.Weight != "" {
		weight = u.vector("norm", n.Weight)
	}
	u.eachChunkIn(v, part4{0, width}, func(j int, chunk *kernel.Expr) {
		x := v[j].Div(splat(rms))
		if n.Weight != "" {
			var w []*kernel.Expr
			for i := range 4 {
				w = append(w, weight.At(chunk.Mul(i32(4)).Add(i32(i))))
			}
			x = x.Mul(kernel.Vector(w...))
		}
		v[j].Set(x)
	})
}

// sumOfChunks adds up the four elements of every lane. Vector registers fold lanes
// onto each other with all their elements; elsewhere a lane adds its own first,
// since sums over lanes are expensive there.
func (u *emitter) sumOfChunks(v *kernel.Expr) *kernel.Expr {
	if u.in.Target.Vector > 0 {
		v = u.Let("folded", v.SimdSum())
	}
	s := lanesOf(v)
	sum := s[0].Add(s[1]).Add(s[2].Add(s[3]))
	if u.in.Target.Vector > 0 {
		return sum
	}
	return sum.SimdSum()
}

// rotateVector is the rotary embedding of the vector's last elements.
func (u *emitter) rotateVector(v laneVector, width int, a *ops.RopeAttr, row *kernel.Expr, ratio int) {
	if a.Dims > width {
		u.fail("a rotation of %d elements of vectors of %d", a.Dims, width)
		return
	}
	u.Comment("rotary embedding")
	r := chunkRotation{u: u, table: u.rotation(*a, ratio), at: u.Let("rope_at", row.Mul(i32(a.Dims))), first: width - a.Dims, back: a.Inverse}
	begin := r.first / 4 * 4
	u.eachChunkIn(v, part4{begin, width - begin}, func(j int, chunk *kernel.Expr) { r.apply(chunk, v[j]) })
}

// transformVector is the Walsh-Hadamard transform by butterflies of ascending
// distance, as ops.Hadamard does it, and with its bits: first within a chunk,
// then between lanes, then between a lane's chunks.
func (u *emitter) transformVector(v laneVector, width int) {
	if width&(width-1) != 0 || width < 4 {
		u.fail("a Hadamard transform of %d elements; expected a power of two from 4 on", width)
		return
	}
	u.Comment("Hadamard transform")
	lanes := u.Schedule().SimdWidth
	for j := range v {
		x := lanesOf(u.Let("h0", v[j].Expr))
		y := lanesOf(u.Let("h1", kernel.Vector(x[0].Add(x[1]), x[0].Sub(x[1]), x[2].Add(x[3]), x[2].Sub(x[3]))))
		v[j].Set(kernel.Vector(y[0].Add(y[2]), y[1].Add(y[3]), y[0].Sub(y[2]), y[1].Sub(y[3])))
	}
	for h := 1; h < min(lanes, width/4); h *= 2 {
		// The lane without bit h has the sum, the other the difference.
		sign := u.Let("sign", kernel.Lane().And(i32(h)).Eq(i32(0)).Select(f32(1), f32(-1)))
		for j := range v {
			v[j].Set(v[j].ShuffleXor(h).Add(v[j].Mul(splat(sign))))
		}
	}
	for h := 1; h < len(v); h *= 2 {
		for j := range v {
			if j&h == 0 {
				sum, difference := u.Let("sum", v[j].Add(v[j+h].Expr)), u.Let("difference", v[j].Sub(v[j+h].Expr))
				v[j].Set(sum)
				v[j+h].Set(difference)
			}
		}
	}
	for j := range v {
		v[j].Set(v[j].Mul(splat(f32(1 / math.Sqrt(float64(width))))))
	}
}

// roundVector rounds a part of the vector to what a format holds.
func (u *emitter) roundVector(v laneVector, r ops.RoundAttr) {
	p := part4{r.From, r.Count}
	if r.From%4 != 0 || r.Count%4 != 0 {
		u.fail("rounding of elements %d to %d; kernels need multiples of 4", r.From, r.From+r.Count-1)
		return
	}
	u.Comment("rounding to %s", r.Format)
	if r.Format == "bf16" {
		u.eachChunkIn(v, p, func(j int, _ *kernel.Expr) { v[j].Set(roundBF16(v[j].Expr).As(kernel.F32)) })
		return
	}
	code := blockCodes[r.Format]
	if code == nil {
		u.fail("%w", fmt.Errorf("no kernel rounds to %q", r.Format))
		return
	}
	scales := u.blockScales(v, blocks{p, code, r.Block})
	u.eachChunkIn(v, p, func(j int, _ *kernel.Expr) { v[j].Set(u.roundCodes(code, v[j].Expr, scales[j])) })
}
