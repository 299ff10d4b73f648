package lower

import (
	"math"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
)

// Where SIMD groups are programs for vector registers, neighbouring lanes read
// neighbouring words of a matrix, each of several columns; what these are
// multiplied with would have to be gathered. So a row of input is first copied
// into threadgroup memory in the order in which lanes read it, normed on the
// way, once for all outputs of the threadgroup.

// stages reports whether inputs of decode products are copied so.
func (u *emitter) stages() bool { return u.in.Target.Vector > 0 }

// stagingArrays are threadgroup memory for rows of input and, for matrices with
// biases, the sum of each unit's elements.
type stagingArrays struct {
	m                *matrix // in whose order they lie
	lanes            int
	pairs            [][2]int // the matrix's
	elements, totals kernel.Array
}

// stagingFor declares threadgroup memory for n rows of input of products with m.
func (u *emitter) stagingFor(name string, m *matrix, n int) *stagingArrays {
	a := &stagingArrays{m: m, lanes: u.Schedule().SimdWidth, pairs: m.pairs()}
	a.elements = u.SharedArray(name, kernel.F32, n*a.length())
	if m.biases.Factor != nil {
		a.totals = u.SharedArray(name+"_totals", kernel.F32, n*a.units())
	}
	return a
}

// units is how many units of the matrix a row has.
func (a *stagingArrays) units() int { return a.m.cols / a.m.unpack.Elements }

// length is how many elements a row takes, those of the last lanes included.
func (a *stagingArrays) length() int {
	return (a.units() + a.lanes - 1) / a.lanes * a.lanes * a.m.unpack.Elements
}

// fill copies row r of the arrays. All threads call it; a barrier is to follow.
//
// Element q of unit i lies behind element q of the units before, in the run of
// units that the lanes take at once; of a matrix with pairs, a pair behind that of
// the unit before.
func (a *stagingArrays) fill(r *kernel.Expr, read reader) {
	u, e := a.m.u, a.m.unpack.Elements
	row := u.Let("staged_row", r.Mul(i32(a.length())))
	u.For("unit", kernel.Lane(), i32(a.units()), i32(a.lanes), func(i *kernel.Expr) {
		at := u.Let("to", row.Add(a.place(i)))
		var all []*kernel.Expr
		for n := min(4, e); len(all) < e; {
			all = append(all, read(i.Mul(i32(e)).Add(i32(len(all))), n)...)
		}
		if a.m.biases.Factor != nil {
			a.totals.Set(r.Mul(i32(a.units())).Add(i), sumOf(all))
		}
		for q, e := range a.m.unpack.Exponents {
			if e != 0 {
				all[q] = all[q].Mul(f32(math.Ldexp(1, e)))
			}
		}
		for p, pair := range a.pairs {
			for half, q := range pair {
				a.elements.Set(at.Add(i32(2*p*a.lanes+half)), all[q])
			}
		}
		if a.pairs == nil {
			for q, x := range all {
				a.elements.Set(at.Add(i32(q*a.lanes)), x)
			}
		}
	})
}

// place is where unit i, of this lane, begins.
func (a *stagingArrays) place(i *kernel.Expr) *kernel.Expr {
	run := i.Sub(kernel.Lane()).Mul(i32(a.m.unpack.Elements))
	if a.pairs != nil {
		return run.Add(kernel.Lane().Mul(i32(2)))
	}
	return run.Add(kernel.Lane())
}

// input is row r as a product reads it.
func (a *stagingArrays) input(r *kernel.Expr) input {
	in := input{elements: func(unit, _ *kernel.Expr, n int) []*kernel.Expr {
		at := a.m.u.Let("x_at", r.Mul(i32(a.length())).Add(a.place(unit)))
		if a.pairs != nil {
			var xs []*kernel.Expr
			for p := range a.pairs {
				first := at.Add(i32(2 * p * a.lanes))
				xs = append(xs, a.m.u.Let("x2", kernel.Vector(a.elements.At(first), a.elements.At(first.Add(i32(1))))))
			}
			return xs
		}
		xs := make([]*kernel.Expr, n)
		for q := range xs {
			xs[q] = a.m.u.Let("x", a.elements.At(at.Add(i32(q*a.lanes))))
		}
		return xs
	}}
	if a.m.biases.Factor != nil {
		in.total = func(unit *kernel.Expr) *kernel.Expr {
			return a.m.u.Let("inputs", a.totals.At(r.Mul(i32(a.units())).Add(unit)))
		}
	}
	return in
}

// stagedProducts adds the products of rows with staged inputs to sums. Lanes take
// units side by side; where all of them lie in one group, several one after
// another, and the group's scale is applied once.
func (u *emitter) stagedProducts(rows []rowOf, inputs []input, sums [][]kernel.Variable) {
	m := rows[0].matrix
	pairs := m.pairs()
	lanes, e, run := u.Schedule().SimdWidth, m.unpack.Elements, m.unitsPerGroup()
	u.For("run", kernel.Lane(), i32(m.cols/(e*run)), i32(lanes), func(i *kernel.Expr) {
		first := i
		if run > 1 {
			first = u.Let("unit", i.Sub(kernel.Lane()).Mul(i32(run)).Add(kernel.Lane()))
		}
		u.prefetchRows(rows, first, run)
		xs, totals := make([][]*kernel.Expr, len(inputs)), []*kernel.Expr(nil)
		for n := range run {
			unit := first.Add(i32(n * lanes))
			for x, in := range inputs {
				xs[x] = append(xs[x], in.elements(unit, nil, e)...)
				if in.total != nil {
					totals = append(totals, in.total(unit))
				}
			}
		}
		k := u.Let("k", first.Mul(i32(e)))
		for j, r := range rows {
			// One row after the other: few registers hold what is unpacked.
			var values []*kernel.Expr
			for n := range run {
				words := r.unitWords(first.Add(i32(n * lanes)))
				if pairs != nil {
					values = append(values, u.unpackedPairs(m.unpack, pairs, words)...)
				} else {
					values = append(values, r.codesOf(words)...)
				}
			}
			u.accumulate(factors{r.scale(k), r.bias(k)}, values, xs, totals, sums[j])
		}
	})
}

// accumulate adds scale * sum(values*x) + bias * sum(x) of one group's columns of
// a row to its sum with each input; totals are sum(x) of each input, with a bias.
func (u *emitter) accumulate(of factors, values []*kernel.Expr, xs [][]*kernel.Expr, totals []*kernel.Expr, sums []kernel.Variable) {
	named := make([]*kernel.Expr, len(values))
	for q, v := range values {
		if named[q] = v; v.Op != kernel.OpExtract { // a lane of something with a name
			named[q] = u.Let("w", v)
		}
	}
	for i, x := range xs {
		acc := sums[i].Expr
		if of.scale == nil {
			acc = chain(named, x, acc)
		} else {
			acc = inChains(named, x)
			if acc.Type.Lanes == 2 {
				acc = u.Let("pair", acc)
				acc = acc.Lane(0).Add(acc.Lane(1))
			}
			acc = u.Let("part", acc).Fma(of.scale, sums[i].Expr)
		}
		if of.bias != nil {
			acc = of.bias.Fma(totals[i], acc)
		}
		sums[i].Set(acc)
	}
}

// chainLength is how many multiply-adds wait for each other: a core looks so far ahead that two chains are worth an addition.
const chainLength = 4

// inChains is the sum of the products of ws and xs.
func inChains(ws, xs []*kernel.Expr) *kernel.Expr {
	var sum *kernel.Expr
	for at := 0; at < len(ws); at += chainLength {
		end := min(at+chainLength, len(ws))
		part := chain(ws[at:end], xs[at:end], nil)
		if sum == nil {
			sum = part
		} else {
			sum = sum.Add(part)
		}
	}
	return sum
}

// prefetchRows asks for what the lanes take n units of from unit on, of the rows
// after these. Several rows are read side by side, each a few kilobytes long: too
// short for a machine to see in time where they go on.
func (u *emitter) prefetchRows(rows []rowOf, unit *kernel.Expr, n int) {
	elements := rows[0].elementsOf(n * u.Schedule().SimdWidth)
	for _, r := range rows {
		first := r.place(unit)
		for at := 0; at < elements; at += 4 * cacheLine / r.elem.Bytes() {
			r.plane.Prefetch(first.Add(kernel.C(r.index, float64(len(rows)*r.rowElements+at))))
		}
	}
}

// unitsPerGroup is how many units a lane takes in one group of columns, all
// lanes' side by side; 1 where lanes reach into several, or where the encoding
// has biases, for which sums of each unit's input are at hand.
func (m *matrix) unitsPerGroup() int {
	together := m.u.Schedule().SimdWidth * m.unpack.Elements
	if m.scales.Factor == nil || m.biases.Factor != nil || m.cols%m.scales.Group != 0 {
		return 1
	}
	return max(1, m.scales.Group/together)
}

// inputsOf are the rows of input, for products with each of some matrices.
type inputsOf map[*matrix][]input

// stage copies n rows (of which a kernel has `most` at most) for products with
// some matrices, nil ones aside. It is nil where inputs are read as they are.
func (u *emitter) stage(n, most int, row func(i int) reader, matrices ...*matrix) inputsOf {
	if !u.stages() || u.err != nil {
		return nil
	}
	u.Comment("the input, in the order in which lanes read it")
	out := inputsOf{}
	var arrays []*stagingArrays
	for _, m := range matrices {
		if m == nil {
			continue
		}
		at := slices.IndexFunc(arrays, func(a *stagingArrays) bool { return a.serves(m) })
		if at < 0 {
			at = len(arrays)
			arrays = append(arrays, u.stagingFor([]string{"staged", "staged_too"}[at], m, most))
			for i := range n {
				arrays[at].fill(i32(i), row(i))
			}
		}
		for i := range n {
			out[m] = append(out[m], arrays[at].input(i32(i)))
		}
	}
	u.Barrier()
	return out
}

// serves reports whether products with m find their input in a.
func (a *stagingArrays) serves(m *matrix) bool {
	return a.m.unpack.Elements == m.unpack.Elements && slices.Equal(a.pairs, m.pairs()) && slices.Equal(a.m.unpack.Exponents, m.unpack.Exponents) &&
		(m.biases.Factor == nil || a.m.biases.Factor != nil)
}
