package lower

import "smelt.example/smelt/internal/codegen/kernel"

// A SIMD group alone, which is a program for vector registers, goes through the
// blocks of its tile in turn. A block's sums fill the registers for one depth and
// lie in threadgroup memory in between, so a depth is many multiply-adds for each
// sum that is moved.

// tilingAlone: few rows make a block, since few may be left of an expert's list,
// and a row of weights serves them all from registers. A block's weights of one
// depth stay in the first level of the cache for all rows of the tile.
func (in *Input) tilingAlone() tiling {
	const rows = 4
	side, lanes := max(64, 8*in.Target.Vector), max(in.Target.Vector, fragment)
	few := in.registersOfSums() * in.Target.Vector / lanes
	if in.Target.Vector == avx2 {
		few = 0 // beside unpacking there are too few registers
	}
	return tiling{rows: side, outputs: side, depth: side, threads: lanes, simdWidth: lanes,
		blockRows: rows, blockOutputs: in.registersOfSums() / rows * in.Target.Vector, fewRows: few,
		why: "a block's sums fill half the vector registers, its weights the first level of the cache, the tile the second"}
}

// multiplyAlone is multiply by one SIMD group; it leaves out blocks of rows that
// nobody wants. A block's weights lie in g.w column by column; the next block's take
// their place, which is in the first level of the cache.
func (g *gemm) multiplyAlone(o *opened, first, rows *kernel.Expr, loadX rowReader) {
	g.used = g.Let("used_rows", roundUp(rows.Min(i32(g.rows)), g.blockRows))
	g.clearUsed()
	g.For("k", i32(0), i32(o.cols), i32(g.depth), func(k *kernel.Expr) {
		deep := i32(g.depth)
		if o.cols%g.depth != 0 {
			deep = g.Let("deep", roundUp(i32(o.cols).Sub(k).Min(deep), fragment))
		}
		g.loadInputsAlone(o.cols, k, loadX)
		g.For("out_at", i32(0), i32(g.outputs), i32(g.blockOutputs), func(outAt *kernel.Expr) {
			g.loadWeightsAlone(o, first.Add(outAt), k)
			g.Barrier()
			g.For("row_at", i32(0), g.used, i32(g.blockRows), func(rowAt *kernel.Expr) {
				g.blockAlone(rowAt, outAt, deep)
				g.If(k.Lt(i32(o.cols-g.depth)), func() { g.prefetchNext(o, first, loadX, rowAt, outAt, k.Add(i32(g.depth))) }, nil)
			})
			g.Barrier()
		})
	})
}

// blockAlone adds a depth's products to the sums of the block at rowAt, outAt.
func (g *gemm) blockAlone(rowAt, outAt, deep *kernel.Expr) {
	sums := g.Fragment("acc", kernel.F32, g.blockRows, g.blockOutputs)
	x, w := g.Fragment("a", kernel.F32, g.blockRows, fragment), g.Fragment("b", kernel.F32, fragment, g.blockOutputs)
	at := g.Let("block_at", rowAt.Mul(i32(g.outputs)).Add(outAt))
	xAt := g.Let("x_at", rowAt.Mul(i32(g.depth)))
	sums.Load(g.out, at, i32(g.outputs), false)
	g.For("depth", i32(0), deep, i32(fragment), func(step *kernel.Expr) {
		x.Load(g.x, xAt.Add(step), i32(g.depth), false)
		w.Load(g.w, step.Mul(i32(g.blockOutputs)), i32(g.blockOutputs), false)
		sums.Accumulate(x, w)
	})
	sums.Store(g.out, at, i32(g.outputs))
}

// prefetchNext asks for what the next depth, from k on, reads: each block for its
// share, so that memory is read while the core multiplies.
func (g *gemm) prefetchNext(o *opened, first *kernel.Expr, loadX rowReader, rowAt, outAt, k *kernel.Expr) {
	from := k.Add(outAt.Div(i32(g.blockOutputs)).Mul(i32(g.depth * g.blockOutputs / g.outputs)))
	for r := range g.blockRows {
		row := loadX(g.Let("row_ahead", rowAt.Add(i32(r))))
		for c := 0; c < g.depth*g.blockOutputs/g.outputs; c += cacheLine {
			row.ahead(from.Add(i32(c)))
		}
	}
	share := func(rowAt *kernel.Expr) *kernel.Expr {
		return outAt.Add(rowAt.Mul(i32(g.blockOutputs)).Div(g.used))
	}
	g.For("ahead", g.Let("from", share(rowAt)), g.Let("to", share(rowAt.Add(i32(g.blockRows)))), i32(1), func(out *kernel.Expr) {
		g.prefetchWords(o, o.row(first.Add(out)), k)
	})
}

// prefetchWords asks for a row's words of the depth from column k on.
func (g *gemm) prefetchWords(o *opened, row rowOf, k *kernel.Expr) {
	elements := o.elementsOf(g.depth / o.unpack.Elements)
	at := g.Let("at", row.place(k.Div(i32(o.unpack.Elements))))
	for e := 0; e < elements; e += 4 * cacheLine / o.elem.Bytes() {
		o.plane.Prefetch(at.Add(kernel.C(o.index, float64(e))))
	}
}

// clearUsed sets the sums of the rows that there are to 0.
func (g *gemm) clearUsed() {
	g.For("i", kernel.Thread(), g.used.Mul(i32(g.outputs)), i32(g.threads), func(i *kernel.Expr) { g.out.Set(i, f32(0)) })
}

// loadInputsAlone is loadInputs row by row.
func (g *gemm) loadInputsAlone(cols int, k *kernel.Expr, loadX rowReader) {
	g.Comment("inputs of this depth")
	g.For("tile_row", i32(0), g.used, i32(1), func(r *kernel.Expr) {
		row, to := loadX(r), g.Let("to", r.Mul(i32(g.depth)))
		for c := 0; c < g.depth; c += g.threads {
			column := g.Let("column", k.Add(i32(c)).Add(kernel.Thread()))
			at := to.Add(i32(c)).Add(kernel.Thread())
			put := func() { g.x.Set(at, row.value(column)) }
			if cols%g.depth == 0 {
				put()
			} else {
				g.If(column.Lt(i32(cols)), put, func() { g.x.Set(at, f32(0)) })
			}
		}
	})
}

// loadWeightsAlone unpacks a block's rows of weights, those from `first` on, depth
// columns from k on: lanes take outputs side by side. A few outputs are read to their end before the
// next: rows are often a power of two apart, and few of their lines fit a cache
// at once.
func (g *gemm) loadWeightsAlone(o *opened, first, k *kernel.Expr) {
	g.Comment("weights of this depth, unpacked")
	columns := g.columnsAtOnce(o)
	g.For("out", kernel.Thread(), i32(g.blockOutputs), i32(g.threads), func(to *kernel.Expr) {
		n := g.Let("n", first.Add(to))
		inside := func() {
			row := o.row(n)
			end := i32(g.depth)
			if o.cols%g.depth != 0 {
				end = i32(o.cols).Sub(k).Min(end)
			}
			g.For("c", i32(0), end, i32(columns), func(c *kernel.Expr) {
				g.unpackColumns(row, k.Add(c), to.Add(c.Mul(i32(g.blockOutputs))), columns)
			})
			if rest := o.cols % fragment; rest != 0 { // the last fragment reaches beyond the row
				past := i32(o.cols).Sub(k)
				g.If(past.Lt(i32(g.depth)), func() {
					g.clearBlock(fragment-rest, g.Let("past", to.Add(past.Mul(i32(g.blockOutputs)))), g.blockOutputs)
				}, nil)
			}
		}
		if o.n%g.outputs == 0 {
			inside()
			return
		}
		g.If(n.Lt(i32(o.n)), inside, func() { g.clearBlock(g.depth, to, g.blockOutputs) })
	})
}

// leastGroup is the columns of the smallest groups.
const leastGroup = 32

// columnsAtOnce is how many columns a lane unpacks at once: up to what four words
// hold and a factor is for, as far as rows and depths are made of that.
func (g *gemm) columnsAtOnce(o *opened) int {
	n, most := o.blockUnits()*o.unpack.Elements, leastGroup
	if s := o.scales.Factor; s != nil {
		most = min(most, s.Group)
	}
	for 2*n <= most && 2*n/o.unpack.Elements*o.unpack.Words <= 4 && o.cols%(2*n) == 0 && g.depth%(2*n) == 0 {
		n *= 2
	}
	return n
}

// unpackColumns stores columns of a row from a column on, a row of g.w apart from
// `at` on. They have one scale.
func (g *gemm) unpackColumns(row rowOf, column, at *kernel.Expr, columns int) {
	u := row.unpack
	if !row.inFours(columns / u.Elements) {
		block := row.blockUnits() * u.Elements
		for c := 0; c < columns; c += block {
			g.unpackBlock(row, column.Add(i32(c)), at.Add(i32(c*g.blockOutputs)), g.blockOutputs)
		}
		return
	}
	scale, bias := row.scale(column), row.bias(column)
	all := row.wordsInFours(g.Let("unit", column.Div(i32(u.Elements))), columns/u.Elements*u.Words)
	for c := 0; len(all) > 0; all = all[u.Words:] {
		for q, code := range row.codesOf(all[:u.Words]) {
			g.w.Set(at.Add(i32(c*g.blockOutputs)), scaled(valueOf(u, q, code), scale, bias))
			c++
		}
	}
}
