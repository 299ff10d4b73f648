package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
)

// tiling says how a prefill product is cut. A threadgroup makes a tile of rows x
// outputs, in blocks of fragments; inputs and unpacked weights pass through
// threadgroup memory depth columns at a time.
type tiling struct {
	rows, outputs, depth int
	threads, simdWidth   int
	// A SIMD group's block. With several SIMD groups it is made of fragments, 8 x
	// 8 each; of a SIMD group alone it is one fragment.
	blockRows, blockOutputs int
	// The rows that a weight is multiplied with from a register, where a product
	// has few; 0: it is stored for them.
	fewRows int
	why     string
}

// tiling is the target's. With several SIMD groups each keeps one block's sums
// to itself. SIMD groups of 32 take two at least.
func (in *Input) tiling() tiling {
	if in.Target.Vector > 0 {
		return in.tilingAlone()
	}
	out := tiling{rows: 32, outputs: 64, depth: 32, threads: 256, simdWidth: 32, blockRows: 16, blockOutputs: 16,
		why: "12 KB of operands leave room for two threadgroups a core; a weight is unpacked once for 32 rows"}
	if in.Target.MaxThreads < out.threads {
		out.outputs, out.threads, out.why = 32, 128, "the GPU allows no larger threadgroup"
	}
	if in.Target.MaxThreads < out.threads {
		out.rows, out.threads = 16, 64
	}
	return out
}

// outputsAtOnce is how many rows of weights are unpacked at a time.
func (t tiling) outputsAtOnce() int {
	if t.oneSIMDGroup() {
		return t.blockOutputs
	}
	return t.outputs
}

// oneSIMDGroup reports whether one SIMD group makes the whole tile.
func (t tiling) oneSIMDGroup() bool { return t.threads == t.simdWidth }

// schedule is the schedule of every kernel built on gemm.
func (t tiling) schedule() kernel.Schedule {
	return kernel.Schedule{Threads: t.threads, SimdWidth: t.simdWidth, Settings: []kernel.Setting{
		{Name: "tile", Value: fmt.Sprintf("%d rows x %d outputs x %d deep", t.rows, t.outputs, t.depth), Why: t.why},
	}}
}

// listSchedule is the schedule of kernels that go through lists of rows.
func (t tiling) listSchedule() kernel.Schedule {
	s := t.schedule()
	if t.fewRows > 0 {
		s.Settings[0].Why = "the second level of the cache holds it"
		s.Settings = append(s.Settings, kernel.Setting{Name: "rows at once", Value: fmt.Sprintf("up to %d", t.fewRows),
			Why: "a list is short: a weight is unpacked into a register and multiplied with all of them"})
	}
	return s
}

// gemm computes tiles of a product. It owns the operand tiles; results are left
// in out, row-major.
type gemm struct {
	*emitter
	tiling
	x, w  kernel.Array
	out   kernel.Array
	spare *kernel.Array // where the next product's results go if out is kept
	used  *kernel.Expr  // rows of out that there are
	// exponent: results are 2^exponent times what out has.
	exponent int
}

func (u *emitter) newGemm() *gemm { return u.gemmFor(false) }

// gemmFor is newGemm, or for few rows alone.
func (u *emitter) gemmFor(few bool) *gemm {
	t := u.in.tiling()
	g := &gemm{emitter: u, tiling: t, used: i32(t.rows)}
	g.x = u.SharedArray("x_tile", kernel.F32, t.rows*t.depth)
	if !few {
		g.w = u.SharedArray("w_tile", kernel.F32, t.outputsAtOnce()*t.depth)
	}
	g.out = u.SharedArray("tile", kernel.F32, t.rows*t.outputs)
	return g
}

// fragments are those of a block's sums and of its operands.
type fragments struct {
	sums [][]kernel.Matrix // [row of fragments][column of fragments]
	x, w []kernel.Matrix
}

func (g *gemm) fragments() fragments {
	var f fragments
	for i := range g.blockRows / fragment {
		f.sums = append(f.sums, nil)
		for range g.blockOutputs / fragment {
			f.sums[i] = append(f.sums[i], g.Fragment("acc", kernel.F32, fragment, fragment))
		}
	}
	for range f.sums {
		f.x = append(f.x, g.Fragment("a", kernel.F32, fragment, fragment))
	}
	for range f.sums[0] {
		f.w = append(f.w, g.Fragment("b", kernel.F32, fragment, fragment))
	}
	return f
}

// rowReader finds a row of the tile.
type rowReader func(row *kernel.Expr) tileRow

// tileRow is a row of a tile's inputs.
type tileRow struct {
	value func(k *kernel.Expr) *kernel.Expr // element k, 0 where the row is none
	ahead func(k *kernel.Expr)              // hints that the elements from k on are going to be read
}

// multiply fills g.out with rows x outputs of the product, of which the first
// `rows` rows are wanted; weights are rows first.. of o. A row's result depends
// on that row alone.
func (g *gemm) multiply(o *opened, first, rows *kernel.Expr, loadX rowReader) {
	if g.oneSIMDGroup() {
		g.multiplyAlone(o, first, rows, loadX)
		return
	}
	g.exponent = o.unpack.Exponent
	f := g.fragments()
	across := g.outputs / g.blockOutputs
	rowAt := g.Let("row_at", kernel.Simd().Div(i32(across)).Mul(i32(g.blockRows)))
	outAt := g.Let("out_at", kernel.Simd().Rem(i32(across)).Mul(i32(g.blockOutputs)))
	g.For("k", i32(0), i32(o.cols), i32(g.depth), func(k *kernel.Expr) {
		g.loadInputs(o.cols, k, loadX)
		g.loadWeights(o, first, k)
		g.Barrier()
		g.multiplyBlock(f, rowAt, outAt)
		g.Barrier()
	})
	g.storeBlock(f, rowAt, outAt)
	g.Barrier()
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
			w.Load(g.w, out.Mul(depth).Add(i32(step)), depth, true)
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

func (g *gemm) loadInputs(cols int, k *kernel.Expr, loadX rowReader) {
	g.Comment("inputs of this depth")
	g.For("i", kernel.Thread(), i32(g.rows*g.depth), i32(g.threads), func(i *kernel.Expr) {
		column := g.Let("column", k.Add(i.Rem(i32(g.depth))))
		put := func() { g.x.Set(i, loadX(g.Let("tile_row", i.Div(i32(g.depth)))).value(column)) }
		if cols%g.depth == 0 {
			put()
			return
		}
		g.If(column.Lt(i32(cols)), put, func() { g.x.Set(i, f32(0)) })
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

// unpackBlock stores the block of a row that begins at a column, stride elements
// apart from `at` on, but for 2^exponent, which results get.
func (g *gemm) unpackBlock(row rowOf, column, at *kernel.Expr, stride int) {
	unit := g.Let("unit", column.Div(i32(row.unpack.Elements)))
	scale, bias := row.scale(column), row.bias(column)
	for q, v := range row.blockValues(unit) {
		g.w.Set(at.Add(i32(q*stride)), scaled(timesPower(v, row.unpack.Exponent-g.exponent), scale, bias))
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

// each runs f for every element of the output tile's rows, with its value.
func (g *gemm) each(f func(row, out, v *kernel.Expr)) {
	g.For("i", kernel.Thread(), g.used.Mul(i32(g.outputs)), i32(g.threads), func(i *kernel.Expr) {
		f(g.Let("tile_row", i.Div(i32(g.outputs))), g.Let("out", i.Rem(i32(g.outputs))), g.result(i))
	})
}

// result is element i of the output tile.
func (g *gemm) result(i *kernel.Expr) *kernel.Expr { return timesPower(g.out.At(i), g.exponent) }

// savedTile is an output tile that stays while another one is made.
type savedTile struct {
	vars []kernel.Variable // of the threads: thread t has elements t, t+threads ...
	tile *kernel.Array     // or the tile itself
}

// saveTile keeps the output tile: in the threads, or of a SIMD group alone, which
// would have too much to hold, by making the next one elsewhere.
func (g *gemm) saveTile() *savedTile {
	if g.oneSIMDGroup() {
		k := &savedTile{tile: &kernel.Array{}}
		*k.tile = g.out
		if g.spare == nil {
			other := g.SharedArray("next_tile", kernel.F32, g.rows*g.outputs)
			g.spare = &other
		}
		g.out, *g.spare = *g.spare, g.out
		return k
	}
	k := &savedTile{vars: g.Vars("kept", g.rows*g.outputs/g.threads, f32(0))}
	for i, v := range k.vars {
		v.Set(g.result(kernel.Thread().Add(i32(i * g.threads))))
	}
	g.Barrier()
	return k
}

// eachKept runs f for every element i of the output tile's rows with the kept one's
// value there; with nothing kept, nil.
func (g *gemm) eachKept(k *savedTile, f func(i, v, kept *kernel.Expr)) {
	if g.oneSIMDGroup() {
		g.For("i", kernel.Thread(), g.used.Mul(i32(g.outputs)), i32(g.threads), func(i *kernel.Expr) {
			if k == nil {
				f(i, g.result(i), nil)
			} else {
				f(i, g.out.At(i), k.tile.At(i))
			}
		})
		return
	}
	for n := range g.rows * g.outputs / g.threads {
		i := g.Let("i", kernel.Thread().Add(i32(n*g.threads)))
		if k == nil {
			f(i, g.result(i), nil)
		} else {
			f(i, g.result(i), k.vars[n].Expr)
		}
	}
}
