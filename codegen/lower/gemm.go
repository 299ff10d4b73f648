package lower

import (
	"smelt/codegen/kernel"
)

// A tile of a prefill product is gemmRows rows by gemmOutputs outputs; eight
// SIMD groups hold 16 x 16 of it each, as four 8x8 fragments. Inputs and
// unpacked weights pass through threadgroup memory gemmDepth columns at a time.
const (
	gemmRows    = 32
	gemmOutputs = 64
	gemmDepth   = 32
	gemmThreads = 256
)

// gemmSchedule is the schedule of every kernel built on gemm.
func gemmSchedule() kernel.Schedule {
	return kernel.Schedule{Threads: gemmThreads, SimdWidth: 32, Settings: []kernel.Setting{
		{Name: "tile", Value: "32 rows x 64 outputs x 32 deep", Why: "12 KB of operands leave room for two threadgroups a core; a weight is unpacked once for 32 rows"},
	}}
}

// gemm computes tiles of a product in a kernel of gemmThreads threads. It owns
// the operand tiles; results are left in out, row-major, gemmOutputs wide.
type gemm struct {
	*unit
	x, w kernel.Array
	out  kernel.Array
}

func (u *unit) newGemm() *gemm {
	return &gemm{
		unit: u,
		x:    u.SharedArray("x_tile", kernel.F32, gemmRows*gemmDepth),
		w:    u.SharedArray("w_tile", kernel.F32, gemmOutputs*gemmDepth),
		out:  u.SharedArray("tile", kernel.F32, gemmRows*gemmOutputs),
	}
}

// multiply fills g.out with rows x outputs of the product: loadX gives element
// k of a row of the tile (0 where the row is none), weights are rows first.. of
// o. A row's result depends on that row alone.
func (g *gemm) multiply(o *opened, first *kernel.Expr, loadX func(row, k *kernel.Expr) *kernel.Expr) {
	acc := make([]kernel.Matrix, 4)
	for i := range acc {
		acc[i] = g.Fragment("acc", kernel.F32)
	}
	a0, a1 := g.Fragment("a", kernel.F32), g.Fragment("a", kernel.F32)
	b0, b1 := g.Fragment("b", kernel.F32), g.Fragment("b", kernel.F32)
	rowAt := g.Let("row_at", kernel.Simd().Div(i32(4)).Mul(i32(16)))
	outAt := g.Let("out_at", kernel.Simd().Rem(i32(4)).Mul(i32(16)))
	g.For("k", i32(0), i32(o.cols), i32(gemmDepth), func(k *kernel.Expr) {
		g.loadInputs(o.cols, k, loadX)
		g.loadWeights(o, first, k)
		g.Barrier()
		for step := 0; step < gemmDepth; step += 8 {
			depth := i32(gemmDepth)
			a0.Load(g.x, rowAt.Mul(depth).Add(i32(step)), depth, false)
			a1.Load(g.x, rowAt.Add(i32(8)).Mul(depth).Add(i32(step)), depth, false)
			b0.Load(g.w, outAt.Mul(depth).Add(i32(step)), depth, true)
			b1.Load(g.w, outAt.Add(i32(8)).Mul(depth).Add(i32(step)), depth, true)
			acc[0].Accumulate(a0, b0)
			acc[1].Accumulate(a0, b1)
			acc[2].Accumulate(a1, b0)
			acc[3].Accumulate(a1, b1)
		}
		g.Barrier()
	})
	for i, m := range acc {
		row, out := rowAt.Add(i32(i/2*8)), outAt.Add(i32(i%2*8))
		m.Store(g.out, row.Mul(i32(gemmOutputs)).Add(out), i32(gemmOutputs))
	}
	g.Barrier()
}

func (g *gemm) loadInputs(cols int, k *kernel.Expr, loadX func(row, k *kernel.Expr) *kernel.Expr) {
	g.Comment("inputs of this depth")
	g.For("i", kernel.Thread(), i32(gemmRows*gemmDepth), i32(gemmThreads), func(i *kernel.Expr) {
		column := g.Let("column", k.Add(i.Rem(i32(gemmDepth))))
		put := func() { g.x.Set(i, loadX(g.Let("tile_row", i.Div(i32(gemmDepth))), column)) }
		if cols%gemmDepth == 0 {
			put()
			return
		}
		g.If(column.Lt(i32(cols)), put, func() { g.x.Set(i, f32(0)) })
	})
}

// loadWeights unpacks gemmOutputs rows of weights, gemmDepth columns from k on.
func (g *gemm) loadWeights(o *opened, first, k *kernel.Expr) {
	columns := o.blockUnits() * o.unpack.Elements
	blocks := gemmDepth / columns
	g.Comment("weights of this depth, unpacked")
	g.For("i", kernel.Thread(), i32(gemmOutputs*blocks), i32(gemmThreads), func(i *kernel.Expr) {
		out := g.Let("out", i.Div(i32(blocks)))
		block := g.Let("block", i.Rem(i32(blocks)))
		at := g.Let("w_at", out.Mul(i32(gemmDepth)).Add(block.Mul(i32(columns))))
		n := g.Let("n", first.Add(out))
		column := g.Let("column", k.Add(block.Mul(i32(columns))))
		load := func() {
			row := o.row(n)
			unit := g.Let("unit", column.Div(i32(o.unpack.Elements)))
			scale, bias := row.scale(column), row.bias(column)
			for q, v := range row.blockValues(unit) {
				g.w.Set(at.Add(i32(q)), scaled(v, scale, bias))
			}
		}
		g.If(n.Lt(i32(o.n)).And(column.Lt(i32(o.cols))), load, func() {
			for q := range columns {
				g.w.Set(at.Add(i32(q)), f32(0))
			}
		})
	})
}

// scaled is scale*v + bias, either of which may be absent.
func scaled(v, scale, bias *kernel.Expr) *kernel.Expr {
	switch {
	case scale == nil:
		return v
	case bias == nil:
		return v.Mul(scale)
	}
	return v.Fma(scale, bias)
}

// each runs f for every element of the output tile, with its value.
func (g *gemm) each(f func(row, out, v *kernel.Expr)) {
	g.For("i", kernel.Thread(), i32(gemmRows*gemmOutputs), i32(gemmThreads), func(i *kernel.Expr) {
		f(g.Let("tile_row", i.Div(i32(gemmOutputs))), g.Let("out", i.Rem(i32(gemmOutputs))), g.out.At(i))
	})
}

// keep moves the output tile's values into the threads that store them later:
// thread t gets elements t, t+gemmThreads ...
func (g *gemm) keep() []kernel.Variable {
	vars := g.Vars("kept", gemmRows*gemmOutputs/gemmThreads, f32(0))
	for i, v := range vars {
		v.Set(g.out.At(kernel.Thread().Add(i32(i * gemmThreads))))
	}
	g.Barrier()
	return vars
}
