package lower

import (
	"smelt/codegen/kernel"
)

// input is a vector of a step's row as a product reads it: four elements from
// k (a multiple of 4) on.
type input func(k *kernel.Expr) [4]*kernel.Expr

// matvecRows is how many rows of the matrix a SIMD group works on at once: the
// input is read once for all of them.
const matvecRows = 4

// matvecInputs is how many of a step's rows one threadgroup of a decode kernel
// works on: each weight is unpacked once for all of them.
const matvecInputs = 4

// dot computes the products of some rows of a matrix with some inputs, each
// added up over the lanes of the SIMD group. A product's order of additions
// depends on the encoding and K alone: not on how many rows or inputs there are.
func (u *unit) dot(rows []rowOf, inputs []input) [][]*kernel.Expr {
	m := rows[0].matrix
	sums := make([][]kernel.Variable, len(rows))
	for j := range sums {
		sums[j] = u.Vars("sum", len(inputs), f32(0))
	}
	block, run := m.blockUnits(), m.blocksPerRun()
	columns := block * m.unpack.Elements
	u.For("run", kernel.Lane(), i32(m.cols/(columns*run)), i32(u.Schedule().SimdWidth), func(i *kernel.Expr) {
		first := u.Let("unit", i.Mul(i32(run*block)))
		k := u.Let("k", i.Mul(i32(run*columns)))
		for part := range run {
			u.blockProducts(rows, inputs, sums, first.Add(i32(part*block)), k.Add(i32(part*columns)))
		}
	})
	out := make([][]*kernel.Expr, len(rows))
	for j := range rows {
		for r := range inputs {
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
	var values []*kernel.Expr
	for b := range r.blockUnits() {
		values = append(values, r.unit(unit.Add(i32(b)))...)
	}
	return values
}

// blockProducts adds the products of one block, whose columns begin at k, to sums.
func (u *unit) blockProducts(rows []rowOf, inputs []input, sums [][]kernel.Variable, unit, k *kernel.Expr) {
	values := make([][]*kernel.Expr, len(rows))
	for j, r := range rows {
		values[j] = r.blockValues(unit)
	}
	xs := make([][]*kernel.Expr, len(inputs))
	for i, in := range inputs {
		for q := 0; q < len(values[0]); q += 4 {
			x := in(k.Add(i32(q)))
			xs[i] = append(xs[i], x[:]...)
		}
	}
	u.accumulate(rows, values, xs, sums, k)
}

// accumulate adds scale * sum(values*x) + bias * sum(x) of one group's columns.
func (u *unit) accumulate(rows []rowOf, values, xs [][]*kernel.Expr, sums [][]kernel.Variable, k *kernel.Expr) {
	plain := rows[0].scales.Factor == nil
	var total []*kernel.Expr
	if rows[0].biases.Factor != nil {
		for _, x := range xs {
			total = append(total, u.Let("inputs", sumOf(x)))
		}
	}
	for j, r := range rows {
		scale, bias := r.scale(k), r.bias(k)
		named := make([]*kernel.Expr, len(values[j]))
		for q, v := range values[j] {
			named[q] = u.Let("w", v)
		}
		for i, x := range xs {
			var acc *kernel.Expr = sums[j][i].Expr
			if !plain {
				acc = f32(0)
			}
			for q, w := range named {
				if q == 0 && !plain {
					acc = w.Mul(x[0])
					continue
				}
				acc = w.Fma(x[q], acc)
			}
			if !plain {
				acc = u.Let("part", acc).Fma(scale, sums[j][i].Expr)
			}
			if bias != nil {
				acc = bias.Fma(total[i], acc)
			}
			sums[j][i].Set(acc)
		}
	}
}

func sumOf(x []*kernel.Expr) *kernel.Expr {
	s := x[0]
	for _, v := range x[1:] {
		s = s.Add(v)
	}
	return s
}
