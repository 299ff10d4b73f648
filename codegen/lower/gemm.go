package lower

import (
	"fmt"

	"smelt/codegen/kernel"
)

// tiling says how a prefill product is cut. A threadgroup makes a tile of rows x
// outputs, in blocks of fragments; inputs and unpacked weights pass through
// threadgroup memory depth columns at a time.
type tiling struct {
	rows, outputs, depth int
	threads, simdWidth   int
	block                int // rows, and outputs, of a block: a multiple of 8
	why                  string
}

// tiling is the target's. With several SIMD groups each keeps one block's sums
// to itself. A SIMD group alone goes through the blocks in turn, with the sums
// in threadgroup memory in between. SIMD groups of 32 take two at least.
func (t Target) tiling() tiling {
	if t.MaxThreads == t.SimdWidth {
		return tiling{rows: 64, outputs: 64, depth: 32, threads: fragment, simdWidth: fragment, block: fragment,
			why: "a fragment of sums has as many registers as a core can spare; operands and sums stay in its first level of cache"}
	}
	out := tiling{rows: 32, outputs: 64, depth: 32, threads: 256, simdWidth: 32, block: 16,
		why: "12 KB of operands leave room for two threadgroups a core; a weight is unpacked once for 32 rows"}
	if t.MaxThreads < out.threads {
		out.outputs, out.threads, out.why = 32, 128, "the GPU allows no larger threadgroup"
	}
	if t.MaxThreads < out.threads {
		out.rows, out.threads = 16, 64
	}
	return out
}

// alone reports whether one SIMD group makes the whole tile.
func (t tiling) alone() bool { return t.threads == t.simdWidth }

// schedule is the schedule of every kernel built on gemm.
func (t tiling) schedule() kernel.Schedule {
	return kernel.Schedule{Threads: t.threads, SimdWidth: t.simdWidth, Settings: []kernel.Setting{
		{Name: "tile", Value: fmt.Sprintf("%d rows x %d outputs x %d deep", t.rows, t.outputs, t.depth), Why: t.why},
	}}
}

// gemm computes tiles of a product. It owns the operand tiles; results are left
// in out, row-major.
type gemm struct {
	*unit
	tiling
	x, w  kernel.Array
	out   kernel.Array
	spare *kernel.Array // where the next product's results go if out is kept
}

func (u *unit) newGemm() *gemm {
	t := u.in.Target.tiling()
	return &gemm{
		unit: u, tiling: t,
		x:   u.SharedArray("x_tile", kernel.F32, t.rows*t.depth),
		w:   u.SharedArray("w_tile", kernel.F32, t.outputs*t.depth),
		out: u.SharedArray("tile", kernel.F32, t.rows*t.outputs),
	}
}

// fragments are those of a block's sums and of its operands.
type fragments struct {
	sums [][]kernel.Matrix // [row of fragments][column of fragments]
	x, w []kernel.Matrix
}

func (g *gemm) fragments() fragments {
	var f fragments
	n := g.block / fragment
	for i := range n {
		f.sums = append(f.sums, nil)
		for range n {
			f.sums[i] = append(f.sums[i], g.Fragment("acc", kernel.F32))
		}
	}
	for range n {
		f.x = append(f.x, g.Fragment("a", kernel.F32))
	}
	for range n {
		f.w = append(f.w, g.Fragment("b", kernel.F32))
	}
	return f
}

// rowReader reads a row of the tile: element k of it, 0 where the row is none.
type rowReader func(row *kernel.Expr) func(k *kernel.Expr) *kernel.Expr

// multiply fills g.out with rows x outputs of the product, of which the first
// `rows` rows are wanted; weights are rows first.. of o. A row's result depends
// on that row alone.
func (g *gemm) multiply(o *opened, first, rows *kernel.Expr, loadX rowReader) {
	if g.alone() {
		g.multiplyAlone(o, first, rows, loadX)
		return
	}
	f := g.fragments()
	across := g.outputs / g.block
	rowAt := g.Let("row_at", kernel.Simd().Div(i32(across)).Mul(i32(g.block)))
	outAt := g.Let("out_at", kernel.Simd().Rem(i32(across)).Mul(i32(g.block)))
	g.For("k", i32(0), i32(o.cols), i32(g.depth), func(k *kernel.Expr) {
		g.loadInputs(o.cols, i32(g.rows), k, loadX)
		g.loadWeights(o, first, k)
		g.Barrier()
		g.multiplyBlock(f, rowAt, outAt)
		g.Barrier()
	})
	g.storeBlock(f, rowAt, outAt)
	g.Barrier()
}

// multiplyAlone does so by one SIMD group, and leaves out blocks of rows that
// nobody wants.
func (g *gemm) multiplyAlone(o *opened, first, rows *kernel.Expr, loadX rowReader) {
	used := g.Let("used_rows", rows.Add(i32(g.block-1)).Div(i32(g.block)).Mul(i32(g.block)).Min(i32(g.rows)))
	g.For("i", kernel.Thread(), used.Mul(i32(g.outputs)), i32(g.threads), func(i *kernel.Expr) { g.out.Set(i, f32(0)) })
	g.For("k", i32(0), i32(o.cols), i32(g.depth), func(k *kernel.Expr) {
		g.loadInputsAlone(o.cols, used, k, loadX)
		g.loadWeightsAlone(o, first, k)
		g.Barrier()
		g.For("out_at", i32(0), i32(g.outputs), i32(g.block), func(outAt *kernel.Expr) {
			g.For("row_at", i32(0), used, i32(g.block), func(rowAt *kernel.Expr) {
				f := g.fragments()
				for r := range f.sums {
					for c, sum := range f.sums[r] {
						sum.Load(g.out, g.sumAt(rowAt, outAt, r, c), i32(g.outputs), false)
					}
				}
				g.multiplyBlock(f, rowAt, outAt)
				g.storeBlock(f, rowAt, outAt)
			})
		})
		g.Barrier()
	})
}

// multiplyBlock adds the products of the tiles' operands to a block's sums.
func (g *gemm) multiplyBlock(f fragments, rowAt, outAt *kernel.Expr) {
	depth := i32(g.depth)
	for step := 0; step < g.depth; step += fragment {
		for r, x := range f.x {
			x.Load(g.x, rowAt.Add(i32(r*fragment)).Mul(depth).Add(i32(step)), depth, false)
		}
		for c, w := range f.w {
			out := outAt.Add(i32(c * fragment))
			if g.alone() {
				w.Load(g.w, out.Add(i32(step*g.outputs)), i32(g.outputs), false)
			} else {
				w.Load(g.w, out.Mul(depth).Add(i32(step)), depth, true)
			}
		}
		for r := range f.sums {
			for c, sum := range f.sums[r] {
				sum.Accumulate(f.x[r], f.w[c])
			}
		}
	}
}

func (g *gemm) storeBlock(f fragments, rowAt, outAt *kernel.Expr) {
	for r := range f.sums {
		for c, sum := range f.sums[r] {
			sum.Store(g.out, g.sumAt(rowAt, outAt, r, c), i32(g.outputs))
		}
	}
}

// sumAt is where fragment (r, c) of the block at rowAt, outAt lies in the tile.
func (g *gemm) sumAt(rowAt, outAt *kernel.Expr, r, c int) *kernel.Expr {
	return rowAt.Add(i32(r * fragment)).Mul(i32(g.outputs)).Add(outAt.Add(i32(c * fragment)))
}

func (g *gemm) loadInputs(cols int, rows, k *kernel.Expr, loadX rowReader) {
	g.Comment("inputs of this depth")
	g.For("i", kernel.Thread(), rows.Mul(i32(g.depth)), i32(g.threads), func(i *kernel.Expr) {
		column := g.Let("column", k.Add(i.Rem(i32(g.depth))))
		put := func() { g.x.Set(i, loadX(g.Let("tile_row", i.Div(i32(g.depth))))(column)) }
		if cols%g.depth == 0 {
			put()
			return
		}
		g.If(column.Lt(i32(cols)), put, func() { g.x.Set(i, f32(0)) })
	})
}

// loadInputsAlone does so row by row.
func (g *gemm) loadInputsAlone(cols int, rows, k *kernel.Expr, loadX rowReader) {
	g.Comment("inputs of this depth")
	g.For("tile_row", i32(0), rows, i32(1), func(r *kernel.Expr) {
		read, to := loadX(r), g.Let("to", r.Mul(i32(g.depth)))
		for c := 0; c < g.depth; c += g.threads {
			column := g.Let("column", k.Add(i32(c)).Add(kernel.Thread()))
			at := to.Add(i32(c)).Add(kernel.Thread())
			put := func() { g.x.Set(at, read(column)) }
			if cols%g.depth == 0 {
				put()
			} else {
				g.If(column.Lt(i32(cols)), put, func() { g.x.Set(at, f32(0)) })
			}
		}
	})
}

// loadWeights unpacks the tile's rows of weights, depth columns from k on,
// output by output.
func (g *gemm) loadWeights(o *opened, first, k *kernel.Expr) {
	columns := o.blockUnits() * o.unpack.Elements
	blocks := g.depth / columns
	g.Comment("weights of this depth, unpacked")
	g.For("i", kernel.Thread(), i32(g.outputs*blocks), i32(g.threads), func(i *kernel.Expr) {
		out := g.Let("out", i.Div(i32(blocks)))
		block := g.Let("block", i.Rem(i32(blocks)))
		at := g.Let("w_at", out.Mul(i32(g.depth)).Add(block.Mul(i32(columns))))
		n := g.Let("n", first.Add(out))
		column := g.Let("column", k.Add(block.Mul(i32(columns))))
		g.If(n.Lt(i32(o.n)).And(column.Lt(i32(o.cols))), func() { g.unpackBlock(o.row(n), column, at, 1) }, func() { g.clearBlock(columns, at, 1) })
	})
}

// loadWeightsAlone does so column by column: lanes store, and fragments load,
// outputs side by side. A few outputs are read to their end before the next:
// rows are often a power of two apart, and few of their lines fit a cache at once.
func (g *gemm) loadWeightsAlone(o *opened, first, k *kernel.Expr) {
	columns := o.blockUnits() * o.unpack.Elements
	g.Comment("weights of this depth, unpacked")
	g.For("out", kernel.Thread(), i32(g.outputs), i32(g.threads), func(out *kernel.Expr) {
		n := g.Let("n", first.Add(out))
		inside := func() {
			row := o.row(n)
			for block := range g.depth / columns {
				column := g.Let("column", k.Add(i32(block*columns)))
				at := out.Add(i32(block * columns * g.outputs))
				unpack := func() { g.unpackBlock(row, column, at, g.outputs) }
				if o.cols%g.depth == 0 {
					unpack()
				} else {
					g.If(column.Lt(i32(o.cols)), unpack, func() { g.clearBlock(columns, at, g.outputs) })
				}
			}
		}
		if o.n%g.outputs == 0 {
			inside()
			return
		}
		g.If(n.Lt(i32(o.n)), inside, func() { g.clearBlock(g.depth, out, g.outputs) })
	})
}

// unpackBlock stores the block of a row that begins at a column, stride elements
// apart from `at` on.
func (g *gemm) unpackBlock(row rowOf, column, at *kernel.Expr, stride int) {
	unit := g.Let("unit", column.Div(i32(row.unpack.Elements)))
	scale, bias := row.scale(column), row.bias(column)
	for q, v := range row.blockValues(unit) {
		g.w.Set(at.Add(i32(q*stride)), scaled(v, scale, bias))
	}
}

func (g *gemm) clearBlock(columns int, at *kernel.Expr, stride int) {
	for q := range columns {
		g.w.Set(at.Add(i32(q*stride)), f32(0))
	}
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
	g.For("i", kernel.Thread(), i32(g.rows*g.outputs), i32(g.threads), func(i *kernel.Expr) {
		f(g.Let("tile_row", i.Div(i32(g.outputs))), g.Let("out", i.Rem(i32(g.outputs))), g.out.At(i))
	})
}

// kept is an output tile that stays while another one is made.
type kept struct {
	vars []kernel.Variable // of the threads: thread t has elements t, t+threads ...
	tile *kernel.Array     // or the tile itself
}

// keep keeps the output tile: in the threads, or of a SIMD group alone, which
// would have too much to hold, by making the next one elsewhere.
func (g *gemm) keep() *kept {
	if g.alone() {
		k := &kept{tile: &kernel.Array{}}
		*k.tile = g.out
		if g.spare == nil {
			other := g.SharedArray("next_tile", kernel.F32, g.rows*g.outputs)
			g.spare = &other
		}
		g.out, *g.spare = *g.spare, g.out
		return k
	}
	k := &kept{vars: g.Vars("kept", g.rows*g.outputs/g.threads, f32(0))}
	for i, v := range k.vars {
		v.Set(g.out.At(kernel.Thread().Add(i32(i * g.threads))))
	}
	g.Barrier()
	return k
}

// eachKept runs f for every element i of the output tile with the kept one's
// value there; with nothing kept, nil.
func (g *gemm) eachKept(k *kept, f func(i, v, kept *kernel.Expr)) {
	if g.alone() {
		g.For("i", kernel.Thread(), i32(g.rows*g.outputs), i32(g.threads), func(i *kernel.Expr) {
			if k == nil {
				f(i, g.out.At(i), nil)
			} else {
				f(i, g.out.At(i), k.tile.At(i))
			}
		})
		return
	}
	for n := range g.rows * g.outputs / g.threads {
		i := g.Let("i", kernel.Thread().Add(i32(n*g.threads)))
		if k == nil {
			f(i, g.out.At(i), nil)
		} else {
			f(i, g.out.At(i), k.vars[n].Expr)
		}
	}
}
