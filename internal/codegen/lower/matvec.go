package lower

import (
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
)

// input is a vector of a step's row as a product reads it.
type input struct {
	// elements are the n of a block that begins at a unit of the matrix, and at
	// column k.
	elements func(unit, k *kernel.Expr, n int) []*kernel.Expr
	total    func(unit *kernel.Expr) *kernel.Expr // their sum, if it is known
}

// direct is an input that is read anew by each product, in vectors of four.
func direct(read reader) input {
	return input{elements: func(_, k *kernel.Expr, n int) []*kernel.Expr {
		var xs []*kernel.Expr
		for q := 0; q < n; q += 4 {
			xs = append(xs, read(k.Add(i32(q)), 4)...)
		}
		return xs
	}}
}

// directs are n rows read so.
func directs(n int, row func(i int) reader) []input {
	var inputs []input
	for i := range n {
		inputs = append(inputs, direct(row(i)))
	}
	return inputs
}

// matvecRows is how many rows of the matrix a SIMD group works on at once: the
// input is read once for all of them.
const matvecRows = 4

// matvecInputs is how many of a step's rows one threadgroup of a decode kernel
// works on: each weight is unpacked once for all of them.
const matvecInputs = 4

// dot computes the products of some rows of a matrix with some inputs, each
// added up over the lanes of the SIMD group. A product's order of additions
// depends on the encoding and K alone: not on how many rows or inputs there are.
func (u *emitter) dot(rows []rowOf, inputs []input) [][]*kernel.Expr {
	m := rows[0].matrix
	sums := make([][]kernel.Variable, len(rows))
	for j := range sums {
		sums[j] = u.Vars("sum", len(inputs), f32(0))
	}
	if u.stages() {
		u.stagedProducts(rows, inputs, sums)
		return u.addUp(sums)
	}
	block, run := m.blockUnits(), m.blocksPerRun()
	columns := block * m.unpack.Elements
	u.For("run", kernel.Lane(), i32(m.cols/(columns*run)), i32(u.Schedule().SimdWidth), func(i *kernel.Expr) {
		first := u.Let("unit", i.Mul(i32(run*block)))
		k := u.Let("k", i.Mul(i32(run*columns)))
		for part := range run {
			u.blockProducts(rows, inputs, sums, block, first.Add(i32(part*block)), k.Add(i32(part*columns)))
		}
	})
	return u.addUp(sums)
}

// addUp makes products of the lanes' sums.
func (u *emitter) addUp(sums [][]kernel.Variable) [][]*kernel.Expr {
	out := make([][]*kernel.Expr, len(sums))
	for j := range sums {
		for r := range sums[j] {
			out[j] = append(out[j], u.Let("product", sums[j][r].SimdSum()))
		}
	}
	return out
}

// blockUnits is how many units make a block of at least four columns.
func (m *matrix) blockUnits() int { return max(1, 4/m.unpack.Elements) }

// blocksPerRun is how many blocks a lane takes one after another: about 16
// columns, within a row.
func (m *matrix) blocksPerRun() int {
	columns, run := m.blockUnits()*m.unpack.Elements, 1
	for run*2*columns <= 16 && m.cols%(run*2*columns) == 0 {
		run *= 2
	}
	return run
}

// blockValues reads a block's values, before scaling.
func (r rowOf) blockValues(unit *kernel.Expr) []*kernel.Expr {
	return r.unitValues(unit, r.blockUnits())
}

// unitValues reads the values of some units.
func (r rowOf) unitValues(unit *kernel.Expr, n int) []*kernel.Expr {
	var values []*kernel.Expr
	for b := range n {
		for q, code := range r.codes(unit.Add(i32(b))) {
			values = append(values, valueOf(r.unpack, q, code))
		}
	}
	return values
}

// blockProducts adds the products of a block of units, whose columns begin at k,
// to sums.
func (u *emitter) blockProducts(rows []rowOf, inputs []input, sums [][]kernel.Variable, block int, unit, k *kernel.Expr) {
	values := make([][]*kernel.Expr, len(rows))
	for j, r := range rows {
		values[j] = r.unitValues(unit, block)
	}
	xs := make([][]*kernel.Expr, len(inputs))
	var totals []*kernel.Expr
	for i, in := range inputs {
		xs[i] = in.elements(unit, k, len(values[0]))
	}
	if rows[0].biases.Factor != nil {
		for i, in := range inputs {
			if in.total != nil {
				totals = append(totals, in.total(unit))
			} else {
				totals = append(totals, u.Let("inputs", sumOf(xs[i])))
			}
		}
	}
	for j, r := range rows {
		u.accumulate(r, values[j], xs, totals, sums[j], k)
	}
}

// accumulate adds scale * sum(values*x) + bias * sum(x) of one group's columns of
// a row to its sum with each input; totals are sum(x) of each input, with a bias.
func (u *emitter) accumulate(r rowOf, values []*kernel.Expr, xs [][]*kernel.Expr, totals []*kernel.Expr, sums []kernel.Variable, k *kernel.Expr) {
	plain := r.scales.Factor == nil
	scale, bias := r.scale(k), r.bias(k)
	named := make([]*kernel.Expr, len(values))
	for q, v := range values {
		named[q] = u.Let("w", v)
	}
	for i, x := range xs {
		acc := sums[i].Expr
		if plain {
			acc = chain(named, x, acc)
		} else {
			acc = u.inChains(named, x)
			if acc.Type.Lanes == 2 {
				acc = u.Let("pair", acc)
				acc = acc.Lane(0).Add(acc.Lane(1))
			}
			if e := r.unpack.Exponent; u.stages() && e != 0 {
				acc = acc.Mul(f32(math.Ldexp(1, e)))
			}
			acc = u.Let("part", acc).Fma(scale, sums[i].Expr)
		}
		if bias != nil {
			acc = bias.Fma(totals[i], acc)
		}
		sums[i].Set(acc)
	}
}

// chain adds the products of ws and xs to acc one by one; nil is 0.
func chain(ws, xs []*kernel.Expr, acc *kernel.Expr) *kernel.Expr {
	for q, w := range ws {
		if acc == nil {
			acc = w.Mul(xs[q])
		} else {
			acc = w.Fma(xs[q], acc)
		}
	}
	return acc
}

// chainLength is how many multiply-adds wait for each other where lanes are a
// register's: a core looks so far ahead that two chains are worth an addition.
const chainLength = 4

// inChains is the sum of the products of ws and xs.
func (u *emitter) inChains(ws, xs []*kernel.Expr) *kernel.Expr {
	if !u.stages() {
		return chain(ws, xs, nil)
	}
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

func sumOf(x []*kernel.Expr) *kernel.Expr {
	s := x[0]
	for _, v := range x[1:] {
		s = s.Add(v)
	}
	return s
}
