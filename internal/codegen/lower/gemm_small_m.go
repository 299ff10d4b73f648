package lower

import "smelt.example/smelt/internal/codegen/kernel"

// An expert of a prefill step has a few rows only, for which unpacked weights are
// not worth storing: lanes take outputs side by side, and a weight that was unpacked
// in a register is multiplied with the inputs of as many rows as there are
// registers for sums. What is stored are the words, once they are turned so that
// lanes read theirs side by side.

// few is a product of few rows.
type few struct {
	*gemm
	o     *opened
	words kernel.Array // [words of a depth, threads]
	scale staged
	bias  staged
}

// staged are factors of one depth: [groups, threads].
type staged struct {
	*kernel.Array
	group int // columns of a factor
}

// factorsPerDepth makes the place of factors; there may be none.
func (g *gemm) factorsPerDepth(name string, f factorPlane) staged {
	if f.Factor == nil {
		return staged{group: g.depth}
	}
	group := min(f.Group, g.depth)
	a := g.SharedArray(name, kernel.F32, g.depth/group*g.threads)
	return staged{&a, group}
}

// multiplyFew is multiply for few rows.
func (g *gemm) multiplyFew(o *opened, first, rows *kernel.Expr, loadX rowReader) {
	f := &few{gemm: g, o: o,
		words: g.SharedArray("words", kernel.U32, g.depth/o.unpack.Elements*o.unpack.Words*g.threads),
		scale: g.factorsPerDepth("scales", o.scales), bias: g.factorsPerDepth("biases", o.biases)}
	g.used = g.Let("used_rows", roundUp(rows.Min(i32(g.rows)), g.blockRows))
	g.clearUsed()
	g.For("k", i32(0), i32(o.cols), i32(g.depth), func(k *kernel.Expr) {
		g.Barrier()
		g.loadInputsAlone(o.cols, k, loadX)
		g.Barrier()
		end := i32(g.depth)
		if o.cols%g.depth != 0 {
			end = g.Let("end", i32(o.cols).Sub(k).Min(end))
		}
		g.For("out_at", i32(0), i32(g.outputs), i32(g.threads), func(outAt *kernel.Expr) {
			out := g.Let("out", outAt.Add(kernel.Thread()))
			n := g.Let("n", first.Add(out))
			g.guard(nil, n.Lt(i32(o.n)), o.n%g.outputs != 0, func() {
				f.stage(o.row(n), k, end)
				f.eachRows(func(at *kernel.Expr, rows int) { f.rows(at, rows, out, end) })
			})
			g.If(k.Lt(i32(o.cols-g.depth)), func() { f.prefetch(first, outAt, k.Add(i32(g.depth)), loadX) }, nil)
		})
	})
	g.Barrier()
}

// stage stores the words of a row's depth from k on and the factors, a lane's own
// each: nobody else reads them.
func (f *few) stage(row rowOf, k, end *kernel.Expr) {
	u := row.unpack
	f.Comment("words of this depth")
	columns := f.columnsAtOnce(f.o)
	f.For("c", i32(0), end, i32(columns), func(c *kernel.Expr) {
		unit := f.Let("unit", k.Add(c).Div(i32(u.Elements)))
		var words []*kernel.Expr
		if n := columns / u.Elements; row.inFours(n) {
			words = row.wordsInFours(unit, n*u.Words)
		} else {
			for i := range columns / u.Elements {
				words = append(words, row.unitWords(unit.Add(i32(i)))...)
			}
		}
		for i, w := range words {
			f.words.Set(f.wordAt(c).Add(i32(i*f.threads)), w)
		}
	})
	put := func(s staged, factor func(k *kernel.Expr) *kernel.Expr) {
		if s.Array != nil {
			f.For("group", i32(0), end, i32(s.group), func(c *kernel.Expr) { s.Set(f.factorAt(s, c), factor(k.Add(c))) })
		}
	}
	put(f.scale, row.scale)
	put(f.bias, row.bias)
}

// wordAt is the lane's first word of the unit at column c of the depth.
func (f *few) wordAt(c *kernel.Expr) *kernel.Expr {
	u := f.o.unpack
	return c.Div(i32(u.Elements)).Mul(i32(u.Words * f.threads)).Add(kernel.Thread())
}

// factorAt is the lane's factor of column c of the depth.
func (f *few) factorAt(s staged, c *kernel.Expr) *kernel.Expr {
	return c.Div(i32(s.group)).Mul(i32(f.threads)).Add(kernel.Thread())
}

// eachRows runs body for the tile's rows, as many at a time as it can.
func (f *few) eachRows(body func(at *kernel.Expr, rows int)) {
	whole := f.Let("whole", f.used.Div(i32(f.fewRows)).Mul(i32(f.fewRows)))
	f.For("row_at", i32(0), whole, i32(f.fewRows), func(at *kernel.Expr) { body(at, f.fewRows) })
	rest := f.Let("rest", f.used.Sub(whole))
	for n := f.fewRows - f.blockRows; n > 0; n -= f.blockRows {
		f.If(rest.Eq(i32(n)), func() { body(whole, n) }, nil)
	}
}

// rows adds a depth's products with rows from `at` on to the sums of output `out`.
func (f *few) rows(at *kernel.Expr, rows int, out, end *kernel.Expr) {
	var sums []kernel.Variable
	sumAt := func(r int) *kernel.Expr { return at.Add(i32(r)).Mul(i32(f.outputs)).Add(out) }
	for r := range rows {
		sums = append(sums, f.Var("sum", f.out.At(sumAt(r))))
	}
	group := min(f.scale.group, f.bias.group)
	f.For("group", i32(0), end, i32(group), func(c *kernel.Expr) {
		factor := func(s staged) *kernel.Expr {
			if s.Array == nil {
				return nil
			}
			return f.Let("factor", s.At(f.factorAt(s, c)))
		}
		scale, bias := factor(f.scale), factor(f.bias)
		last := c.Add(i32(group))
		if f.o.cols%group != 0 {
			last = last.Min(end)
		}
		f.For("column", c, last, i32(f.o.blockUnits()*f.o.unpack.Elements), func(c *kernel.Expr) {
			x := f.Let("x_at", at.Mul(i32(f.depth)).Add(c))
			for q, v := range f.values(c) {
				w := f.Let("w", scaled(v, scale, bias))
				for r, sum := range sums {
					sum.Set(w.Fma(f.x.At(x.Add(i32(r*f.depth+q))), sum.Expr))
				}
			}
		})
	})
	for r, sum := range sums {
		f.out.Set(sumAt(r), sum.Expr)
	}
}

// values are those of the block of units at column c, before scaling.
func (f *few) values(c *kernel.Expr) (values []*kernel.Expr) {
	u, at := f.o.unpack, f.Let("word_at", f.wordAt(c))
	for b := range f.o.blockUnits() {
		words := make([]*kernel.Expr, u.Words)
		for i := range words {
			words[i] = f.Let("word", f.words.At(at.Add(i32((b*u.Words+i)*f.threads))))
		}
		for q, code := range f.unpacked(u, words) {
			values = append(values, valueOf(u, q, code))
		}
	}
	return values
}

// prefetch asks for what the next depth, from k on, reads: the words of the outputs
// whose turn it is, and their share of the inputs.
func (f *few) prefetch(first, outAt, k *kernel.Expr, loadX rowReader) {
	f.For("ahead", i32(0), i32(f.threads), i32(1), func(i *kernel.Expr) { f.prefetchWords(f.o, f.o.row(first.Add(outAt).Add(i)), k) })
	f.For("row_ahead", outAt.Div(i32(f.threads)), f.used, i32(f.outputs/f.threads), func(r *kernel.Expr) {
		row := loadX(r)
		for c := 0; c < f.depth; c += cacheLine {
			row.ahead(k.Add(i32(c)))
		}
	})
}
