package lower

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// lowerLinear makes one launch of all products of a region: threadgroups are
// dealt out to the products, one after another along the grid's first axis.
func lowerLinear(in *Input, l *fusion.Linear) ([]program.Launch, error) {
	if in.Phase == program.Prefill {
		return linearPrefill(in, l)
	}
	return linearDecode(in, l)
}

// linearDecode: each team of SIMD groups makes matvecRows outputs for up to matvecInputs
// rows. On a GPU one row has a kernel of its own, with half the registers, so that cores
// hold twice the threads; its sums are the same.
func linearDecode(in *Input, l *fusion.Linear) ([]program.Launch, error) {
	rows, err := rowsSymbol(l.X)
	if err != nil {
		return nil, err
	}
	n, most := ir.Sym(rows), in.inputsAtOnce(2*bytesOfStaged(l.K))
	all := forRows{most: most, groups: ceilDiv(n, most), why: "weights are unpacked once for all of them"}
	cases := []forRows{all}
	if in.Target.Vector == 0 {
		alone := n.Min(ir.Const(1)).Mul(ir.Const(2)).Sub(n.Min(ir.Const(2))) // 1 where there is one row, else 0
		more := all
		more.role, more.groups = "rows", all.groups.Sub(alone)
		cases = []forRows{{role: "row", name: "row", most: 1, groups: alone, why: "alone it takes fewer registers than beside others"}, more}
	}
	var launches []program.Launch
	for _, r := range cases {
		launch, err := linearRows(in, l, rows, r)
		if err != nil {
			return nil, err
		}
		launches = append(launches, launch)
	}
	return launches, nil
}

// forRows says for which rows of a step a launch is.
type forRows struct {
	role, name string
	most       int     // rows of a threadgroup
	groups     ir.Expr // threadgroups for the step's rows
	why        string
}

// linearRows is the launch for some numbers of rows.
func linearRows(in *Input, l *fusion.Linear, rows string, r forRows) (program.Launch, error) {
	shape, err := in.linearShape(l)
	if err != nil {
		return program.Launch{}, err
	}
	s := shape.schedule(in)
	s.Settings = []kernel.Setting{
		{Name: "outputs per SIMD group", Value: fmt.Sprint(matvecRows), Why: "the input is read once for all of them"},
		{Name: "rows per threadgroup", Value: fmt.Sprint(r.most), Why: r.why},
	}
	s.Settings = append(s.Settings, shape.settings(in)...)
	u := in.begin(in.kernelName(r.name), s, in.doc("products of one input, a SIMD group for each few outputs")...)
	d := &linearUnit{emitter: u, l: l, shape: shape, outputsPerGroup: shape.outputs(in), inputsPerGroup: r.most}
	if _, err := d.bindInput(4); err != nil {
		return program.Launch{}, err
	}
	var parts []part
	for i := range l.Products {
		parts = append(parts, d.product(&l.Products[i]))
	}
	tiles, of := 0, 1 // axes of the grid: outputs, and rows
	grid := []ir.Expr{ir.Const(int64(groupsOf(parts))), r.groups}
	if !u.stages() {
		// Those that take longest begin first.
		slices.SortStableFunc(parts, func(a, b part) int { return b.work - a.work })
		if groupsOf(parts) <= mostSecondAxis {
			// Those of the same outputs follow each other: what one reads a cache has for the next.
			tiles, of = 1, 0
			slices.Reverse(grid)
		}
	}
	row0 := u.Let("row0", kernel.Group(of).Mul(i32(r.most)))
	left := u.Let("rows_left", u.StepValue(rows).Sub(row0))
	body := func(n int) { d.inputs(row0, left, n); u.dealFrom(kernel.Group(tiles), 0, parts) }
	if u.stages() {
		u.oneOrMore(left, r.most, body)
	} else {
		body(r.most)
	}
	return u.launch(r.role, grid...)
}

// linearUnit is a decode kernel of a linear region in the making.
type linearUnit struct {
	*emitter
	l      *fusion.Linear
	x      *rowsOf
	norm   *vector
	groups int // of X's second axis, 1 if it has none
	k      int
	shape  decodeShape

	outputsPerGroup, inputsPerGroup int

	// The branch being written:
	row    []*kernel.Expr // clamped to the step's rows
	live   []*kernel.Expr // whether row i is one; nil for always
	left   *kernel.Expr   // how many rows there are from the first on
	factor []*kernel.Expr // 1/rms of the row, with a norm; nil: it waits for the sums
	inv    []*kernel.Expr // 1/rms of the row, for sums in a loop; nil: they stand in none
}

// bindInput binds X, read as vectors of so many elements.
func (d *linearUnit) bindInput(lanes int) (rows string, err error) {
	v := d.l.X
	d.groups, d.k = d.l.Products[0].Groups, d.l.K
	if d.k%4 != 0 {
		return "", fmt.Errorf("input %s has rows of %d elements; kernels need a multiple of 4", v.Ref(), d.k)
	}
	d.x = d.rowsOf("x", v, lanes)
	if n := d.l.Norm; n != nil && n.Weight != "" {
		w := d.vector("norm", n.Weight)
		d.norm = &w
	}
	return rowsSymbol(v)
}

// inputs prepares n rows from row0 on: their numbers and, with a norm, factors if inputs
// are staged. Else all threads would wait for those before they ask for weights.
func (d *linearUnit) inputs(row0, left *kernel.Expr, n int) {
	d.row, d.live, d.factor, d.left = nil, nil, nil, left
	for i := range n {
		row, live := row0, (*kernel.Expr)(nil)
		if i > 0 {
			live = d.Let("live", left.Gt(i32(i)))
			row = d.Let("row", row0.Add(i32(i).Min(left.Sub(i32(1)))))
		}
		d.row, d.live = append(d.row, row), append(d.live, live)
	}
	if d.l.Norm != nil && d.stages() {
		d.Comment("1/rms of each row")
		for i := range n {
			d.factor = append(d.factor, d.rms(d.x.as(4), d.row[i].Mul(i32(d.k/4)), d.k, d.l.Norm.Eps))
		}
	}
}

// reader reads row i of the branch, of group g.
func (d *linearUnit) reader(i int, group *kernel.Expr) reader {
	first := d.row[i]
	if d.groups > 1 {
		first = first.Mul(i32(d.groups)).Add(group)
	}
	base := d.Let("x_row", first.Mul(i32(d.k/4)))
	read := d.x.reader(base)
	return func(k *kernel.Expr, n int) []*kernel.Expr {
		out := read(k, n)
		var norms []*kernel.Expr
		if d.norm != nil {
			norms = d.norms(k, n)
		}
		for lane := range out {
			if d.factor != nil {
				out[lane] = out[lane].Mul(d.factor[i])
			}
			if d.norm != nil {
				out[lane] = out[lane].Mul(norms[lane])
			}
			if d.factor != nil {
				out[lane] = d.Let("xn", out[lane])
			}
		}
		return out
	}
}

// norms are n of the norm's weights. Where lanes are those of vector registers
// they make one vector, which is loaded as what it is in memory.
func (d *linearUnit) norms(k *kernel.Expr, n int) []*kernel.Expr {
	out := make([]*kernel.Expr, n)
	for lane := range out {
		out[lane] = d.norm.At(k.Add(i32(lane)))
	}
	if d.in.Target.Vector > 0 && n > 1 {
		v := d.Let("norms", kernel.Vector(out...))
		lanes := make([]*kernel.Expr, n)
		for lane := range lanes {
			lanes[lane] = v.Lane(lane)
		}
		return lanes
	}
	return out
}

// product binds what one product needs and returns its part of the launch.
func (d *linearUnit) product(p *fusion.Product) part {
	up := d.matrix("w", p.Weight)
	e := d.epilogue(p)
	var gate *matrix
	if p.Gate != "" {
		gate = d.matrix("gate", p.Gate)
	}
	tile, atOnce, work := d.outputsPerGroup, d.shape.atOnce(), 1
	if p.Postprocess != nil {
		tile = p.N / p.Heads // a multiple of 4
	}
	if gate != nil {
		work = 2
	}
	perGroup := (p.N + tile - 1) / tile
	return part{groups: perGroup * p.Groups, work: work * tile, body: func(group *kernel.Expr) {
		lead, block := (*kernel.Expr)(nil), group
		if p.Groups > 1 {
			lead = d.Let("group", group.Div(i32(perGroup)))
			block = group.Rem(i32(perGroup))
		}
		begin := block.Mul(i32(tile))
		first := d.Let("first", begin.Add(d.shape.team().Mul(i32(matvecRows))))
		staged := d.stage(len(d.row), d.inputsPerGroup, func(i int) reader { return d.reader(i, lead) }, up, gate)
		each := func(at *kernel.Expr) { d.outputs(p, up, gate, lead, at, e, staged) }
		switch {
		case tile == atOnce && (p.N%atOnce == 0 || d.shape.shares > 1): // with shares all threads come along
			each(first)
		case tile == atOnce:
			d.If(first.Lt(i32(p.N)), func() { each(first) }, nil)
		default:
			d.inv = d.inverseNorms() // once for all trips
			d.For("at", first, begin.Add(i32(tile)).Min(i32(p.N)), i32(atOnce), each)
			d.inv = nil
		}
		if p.Postprocess != nil {
			d.Barrier()
			e.postprocess(d, block)
		}
	}}
}

// outputs computes matvecRows outputs from `at` on for the branch's rows.
func (d *linearUnit) outputs(p *fusion.Product, up, gate *matrix, lead, at *kernel.Expr, e *epilogue, staged inputsOf) {
	if d.err != nil {
		return
	}
	if staged == nil {
		inputs := directs(len(d.row), func(i int) reader { return d.reader(i, lead) })
		staged = inputsOf{up: inputs, gate: inputs}
	}
	matrices := []*matrix{up}
	if gate != nil {
		matrices = append(matrices, gate)
	}
	if d.shape.shares > 1 {
		d.sharedOutputs(p, matrices, lead, at, e, staged)
		return
	}
	d.ownOutputs(p, matrices, lead, at, e, staged)
}

// ownOutputs computes matvecRows outputs from `at` on, of which the SIMD group has all columns.
func (d *linearUnit) ownOutputs(p *fusion.Product, matrices []*matrix, lead, at *kernel.Expr, e *epilogue, staged inputsOf) {
	var products [][][]*kernel.Expr
	for _, m := range matrices {
		products = append(products, d.share(p, m, lead, at, staged[m]))
	}
	inv := d.inverseNorms()
	d.Comment("every lane has the sums; lane 0 writes")
	d.If(kernel.Lane().Eq(i32(0)), func() {
		for j := range products[0] {
			n := at.Add(i32(j))
			for i := range products[0][j] {
				of := []*kernel.Expr{products[0][j][i], nil}
				if len(matrices) > 1 {
					of[1] = products[1][j][i]
				}
				v := d.output(p, of, inv, i)
				d.guard(d.live[i], n.Lt(i32(p.N)), d.beyond(p.N), func() { e.store(d, i, lead, n, v) })
			}
		}
	}, nil)
}

// output is an output of row i, of its products with up and, if there is one, gate.
func (d *linearUnit) output(p *fusion.Product, of, inv []*kernel.Expr, i int) *kernel.Expr {
	if inv != nil {
		for q, y := range of {
			if y != nil {
				of[q] = y.Mul(inv[i])
			}
		}
	}
	if of[1] == nil {
		return of[0]
	}
	return swiglu(of[1], of[0], p.Limit)
}

// beyond reports whether a SIMD group may come to outputs beyond the last of n.
func (d *linearUnit) beyond(n int) bool {
	return n%matvecRows != 0 || d.shape.shares > 1 && n%d.shape.atOnce() != 0
}

// share is this SIMD group's share of the products with a few of a matrix's rows, from
// `at` on.
func (d *linearUnit) share(p *fusion.Product, m *matrix, lead, at *kernel.Expr, inputs []input) [][]*kernel.Expr {
	rows := d.rowsFrom(m.open(lead), at, matvecRows, p.N, d.beyond(p.N))
	return d.dotShare(rows, inputs, d.shape.share(), d.shape.shares)
}

// inverseNorms are 1/rms of the rows, for products of which it is left out; nil: inputs
// were multiplied with it. Each SIMD group adds its rows' squares up when the weights are
// read, so that none waits for others before; in a loop over outputs before that.
func (d *linearUnit) inverseNorms() (inv []*kernel.Expr) {
	if d.l.Norm == nil || d.factor != nil || d.inv != nil {
		return d.inv
	}
	d.Comment("1/rms of each row")
	for i := range d.row {
		inv = append(inv, d.rmsOfSimd(d.x.as(4), d.row[i].Mul(i32(d.k/4)), d.k, d.l.Norm.Eps))
	}
	return inv
}
