package lower

import (
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/encoding"
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
	return u.dotShare(rows, inputs, nil, 1)
}

// dotShare is a share of the products, of so many that the columns are dealt out to:
// runs of columns go to the shares' lanes in turn. Shares are added up by who asks.
func (u *emitter) dotShare(rows []rowOf, inputs []input, share *kernel.Expr, shares int) [][]*kernel.Expr {
	m := rows[0].matrix
	sums := make([][]kernel.Variable, len(rows))
	for j := range sums {
		sums[j] = u.Vars("sum", len(inputs), f32(0))
	}
	if u.stages() {
		u.stagedProducts(rows, inputs, sums)
	} else {
		u.streamedProducts(rows, inputs, sums, share, shares)
	}
	return u.addUp(sums, m.unpack.Exponent)
}

// addUp makes products of the lanes' sums, in which 2^exponent is left out.
func (u *emitter) addUp(sums [][]kernel.Variable, exponent int) [][]*kernel.Expr {
	out := make([][]*kernel.Expr, len(sums))
	for j := range sums {
		for r := range sums[j] {
			out[j] = append(out[j], u.Let("product", timesPower(sums[j][r].SimdSum(), exponent)))
		}
	}
	return out
}

// blockUnits is how many units make a block of at least four columns.
func (m *matrix) blockUnits() int { return max(1, 4/m.unpack.Elements) }

// runBytes is what a run of blocks takes, at most. The lanes of a SIMD group read runs that
// lie side by side, and what they are multiplied with: with runs of 16 bytes, of 16 or 32
// columns, each such load of inputs took four or eight times the cycles of a GPU's cache
// that its bytes do, which was more than all else that the kernel did.
const runBytes = 4

// laneBytes is what a lane asks for of each row before it uses the first: a few runs.
const laneBytes = 16

// runsAtOnce is how many runs those are.
func (m *matrix) runsAtOnce() int {
	return max(1, laneBytes/(4*m.blockUnits()*m.unpack.Words*m.blocksPerRun()))
}

// blocksPerRun is how many blocks a lane takes one after another, within a row.
func (m *matrix) blocksPerRun() int {
	columns, bytes, run := m.blockUnits()*m.unpack.Elements, 4*m.blockUnits()*m.unpack.Words, 1
	for run*2*bytes <= runBytes && m.cols%(run*2*columns) == 0 {
		run *= 2
	}
	return run
}

// blockCodes reads the codes of a block that begins at a unit.
func (r rowOf) blockCodes(unit *kernel.Expr) (codes []*kernel.Expr) {
	for b := range r.blockUnits() {
		codes = append(codes, r.codes(unit.Add(i32(b)))...)
	}
	return codes
}

// blockValues are its values, before scaling and but for 2^Exponent.
func (r rowOf) blockValues(unit *kernel.Expr) []*kernel.Expr {
	values := r.blockCodes(unit)
	for i, code := range values {
		values[i] = timesPower(code, r.unpack.ExponentOf(i%r.unpack.Elements))
	}
	return values
}

// factors are a row's scale and bias of a group of columns; nil: it has none.
type factors struct{ scale, bias *kernel.Expr }

// factorsOf are the rows' factors of the group that column k lies in, read once
// for all rows if they have them together.
func (u *emitter) factorsOf(rows []rowOf, k *kernel.Expr) []factors {
	out := make([]factors, len(rows))
	for j, r := range rows {
		if j > 0 && r.together && r.sharesFactors() {
			out[j] = out[0]
			continue
		}
		out[j] = factors{r.scale(k), r.bias(k)}
	}
	return out
}

// sameFactors reports whether columns, from a multiple of their number on, have
// the same factors.
func (m *matrix) sameFactors(columns int) bool {
	for _, f := range []*encoding.Factor{m.scales.Factor, m.biases.Factor} {
		if f != nil && f.Group%columns != 0 {
			return false
		}
	}
	return true
}

// sharesFactors reports whether rows of the matrix that a SIMD group works on at
// once, from a multiple of their number on, have the same factors.
func (m *matrix) sharesFactors() bool {
	for _, f := range []*encoding.Factor{m.scales.Factor, m.biases.Factor} {
		if f != nil && f.GroupRows%matvecRows != 0 {
			return false
		}
	}
	inStep := m.n%matvecRows == 0 || m.p.Lead == 1 || m.pieces > 1
	return inStep && (m.pieces > 1 || m.p.Pieces[0].StoredFirst%matvecRows == 0)
}

// timesPower is x * 2^e, exactly.
func timesPower(x *kernel.Expr, e int) *kernel.Expr {
	if e == 0 {
		return x
	}
	return x.Mul(f32(math.Ldexp(1, e)))
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

func sumOf(x []*kernel.Expr) *kernel.Expr {
	s := x[0]
	for _, v := range x[1:] {
		s = s.Add(v)
	}
	return s
}
