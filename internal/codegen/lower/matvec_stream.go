package lower

import "smelt.example/smelt/internal/codegen/kernel"

// Where SIMD groups are a GPU's, the lanes of one read runs of some bytes that
// lie side by side, each of several rows of the matrix, and what they are multiplied
// with from device memory, where a cache has it.

// streamedProducts adds a share of the products of rows with inputs, of so many shares,
// to sums. Runs of columns go to the lanes of the shares in turn.
func (u *emitter) streamedProducts(rows []rowOf, inputs []input, sums [][]kernel.Variable, share *kernel.Expr, shares int) {
	m, lanes := rows[0].matrix, u.Schedule().SimdWidth
	runs, first := m.cols/m.runColumns(), kernel.Lane()
	if shares > 1 {
		first, lanes = u.Let("first_run", first.Add(share.Mul(i32(lanes)))), lanes*shares
	}
	one := func(run *kernel.Expr) { u.streamedRun(rows, inputs, sums, run) }
	if runs == lanes {
		one(first)
		return
	}
	if runs%lanes != 0 {
		u.For("run", first, i32(runs), i32(lanes), one)
		return
	}
	// As many runs for each lane, some of which stand one after the other: compilers ask for
	// the words of all before they use the first.
	once := m.runsAtOnce()
	for runs/lanes%once != 0 {
		once /= 2
	}
	u.For("i", i32(0), i32(runs/lanes/once), i32(1), func(i *kernel.Expr) {
		for n := range once {
			one(u.Let("run", first.Add(i.Mul(i32(once)).Add(i32(n)).Mul(i32(lanes)))))
		}
	})
}

// runColumns is the number of columns in a run.
func (m *matrix) runColumns() int { return m.blocksPerRun() * m.blockUnits() * m.unpack.Elements }

// streamedRun adds the products of a run of columns, step by step. Steps are alike, so
// that a kernel has them as a loop, which compilers unroll: they ask for all words first.
// Codes go into products as they are: 2^Exponents is in the inputs, where one
// multiplication serves all rows, and 2^Exponent waits for the end of the sums.
func (u *emitter) streamedRun(rows []rowOf, inputs []input, sums [][]kernel.Variable, run *kernel.Expr) {
	m := rows[0].matrix
	units, step := m.blockUnits()*m.blocksPerRun(), m.stepUnits()
	together := units // that have the same factors
	if !m.sameFactors(m.runColumns()) {
		together = step
	}
	for at := 0; at < units; at += together {
		p := u.streamedPart(rows, inputs, sums)
		of := u.factorsOf(rows, m.columnOf(run, at))
		for unit := at; unit < at+together; unit += step {
			p.step(run, unit, step)
		}
		p.end(of)
	}
}

// stepUnits is how many units of a run are read at once: at least a block, and whole
// elements of the plane.
func (m *matrix) stepUnits() int {
	units := m.blockUnits()
	for units*m.unpack.Words%m.wide != 0 {
		units *= 2
	}
	return units
}

// columnOf is the column that a unit of a run begins with.
func (m *matrix) columnOf(run *kernel.Expr, unit int) *kernel.Expr {
	return run.Mul(i32(m.runColumns())).Add(i32(unit * m.unpack.Elements))
}

// streamedPart is the products of some columns with the same factors in the making.
type streamedPart struct {
	*emitter
	*matrix
	rows   []rowOf
	inputs []input
	// parts are sum(code*x) of each row and input so far: the sums themselves if there
	// are no factors.
	parts  [][]kernel.Variable
	sums   [][]kernel.Variable
	totals []kernel.Variable // sum(x) of each input so far, with a bias
}

func (u *emitter) streamedPart(rows []rowOf, inputs []input, sums [][]kernel.Variable) *streamedPart {
	p := &streamedPart{emitter: u, matrix: rows[0].matrix, rows: rows, inputs: inputs, sums: sums, parts: sums}
	if !p.hasFactors() {
		return p
	}
	p.parts = make([][]kernel.Variable, len(rows))
	for j := range rows {
		p.parts[j] = u.Vars("part", len(inputs), f32(0))
	}
	if p.biases.Factor != nil {
		p.totals = u.Vars("inputs", len(inputs), f32(0))
	}
	return p
}

func (m *matrix) hasFactors() bool { return m.scales.Factor != nil || m.biases.Factor != nil }

// step adds the products of so many units of a run, from one on.
func (p *streamedPart) step(run *kernel.Expr, unit, units int) {
	words := make([][]*kernel.Expr, len(p.rows))
	for j, r := range p.rows {
		words[j] = r.stepWords(run, unit, units)
	}
	w, block := p.unpack.Words, p.blockUnits()
	for first := 0; first < units; first += block {
		xs := p.inputsOf(p.columnOf(run, unit+first), block*p.unpack.Elements)
		for j, r := range p.rows {
			var codes []*kernel.Expr
			for b := first; p.unpack.Block == nil && b < first+block; b++ {
				codes = append(codes, r.codesOf(words[j][b*w:(b+1)*w])...)
			}
			if p.unpack.Block != nil {
				codes = r.blockCodes(run.Mul(i32(p.blocksPerRun() * block)).Add(i32(unit + first)))
			}
			p.row(j, codes, xs)
		}
	}
}

// inputsOf are n columns of each input from column k on.
func (p *streamedPart) inputsOf(k *kernel.Expr, n int) [][]*kernel.Expr {
	xs := make([][]*kernel.Expr, len(p.inputs))
	for i, in := range p.inputs {
		xs[i] = in.elements(nil, k, n)
		if p.totals != nil {
			p.totals[i].Set(p.totals[i].Add(sumOf(xs[i])))
		}
		for q, x := range xs[i] {
			if e := p.unpack.ExponentOf(q % p.unpack.Elements); e != 0 {
				xs[i][q] = p.Let("x", timesPower(x, e))
			}
		}
	}
	return xs
}

// row adds the products of row j's codes with the inputs.
func (p *streamedPart) row(j int, codes []*kernel.Expr, xs [][]*kernel.Expr) {
	for q, c := range codes {
		if c.Op != kernel.OpExtract { // a lane of something with a name
			codes[q] = p.Let("w", c)
		}
	}
	for i, x := range xs {
		p.parts[j][i].Set(chain(codes, x, p.parts[j][i].Expr))
	}
}

// end adds scale * sum(code*x) + bias * sum(x) to the sums.
func (p *streamedPart) end(of []factors) {
	if !p.hasFactors() {
		return
	}
	for j := range p.parts {
		for i, part := range p.parts[j] {
			acc := p.sums[j][i].Add(part.Expr)
			if of[j].scale != nil {
				acc = part.Fma(of[j].scale, p.sums[j][i].Expr)
			}
			if of[j].bias != nil {
				acc = of[j].bias.Fma(p.totals[i].Expr, acc)
			}
			p.sums[j][i].Set(acc)
		}
	}
}

// stepWords are the words of so many units of a run, from one on; nil if units lie in
// blocks.
func (r rowOf) stepWords(run *kernel.Expr, unit, units int) (words []*kernel.Expr) {
	if r.unpack.Block != nil {
		return nil
	}
	w := r.unpack.Words
	ofRun := r.blocksPerRun() * r.blockUnits() * w / r.wide
	at := r.first.Add(run.Mul(i32(ofRun)).Add(i32(unit * w / r.wide)).To(r.index))
	if r.shift != nil {
		base := r.u.Let("at", at)
		return r.shifted(base, []*kernel.Expr{r.u.Let("low", r.plane.At(base))}, units*w)
	}
	for i := range units * w / r.wide {
		v := r.u.Let("word", r.plane.At(at.Add(kernel.C(r.index, float64(i)))))
		for lane := range r.wide {
			if r.wide > 1 {
				words = append(words, v.Lane(lane))
			} else {
				words = append(words, v)
			}
		}
	}
	return words
}
