package lower

import (
	"fmt"

	"smelt/codegen/kernel"
	"smelt/codegen/program"
	"smelt/ir"
	"smelt/passes/fusion"
)

// lowerLinear makes one launch of all products of a region: threadgroups are
// dealt out to the products, one after another along the grid's first axis.
func lowerLinear(in *Input, l *fusion.Linear) ([]program.Launch, error) {
	if in.Phase == program.Prefill {
		return linearPrefill(in, l)
	}
	return linearDecode(in, l)
}

// part is a run of threadgroups along the grid's first axis that do one job.
type part struct {
	groups int
	body   func(group *kernel.Expr) // group counts from 0 within the part
}

// deal emits the parts as branches on the threadgroup's number.
func (u *unit) deal(parts []part) {
	u.dealFrom(kernel.Group(0), 0, parts)
}

func (u *unit) dealFrom(group *kernel.Expr, first int, parts []part) {
	p := parts[0]
	body := func() { p.body(group.Sub(i32(first))) }
	if len(parts) == 1 {
		body()
		return
	}
	u.If(group.Lt(i32(first+p.groups)), body, func() { u.dealFrom(group, first+p.groups, parts[1:]) })
}

func groupsOf(parts []part) int {
	n := 0
	for _, p := range parts {
		n += p.groups
	}
	return n
}

// linearDecodeThreads are eight SIMD groups, where the target has as many: enough
// to hide the latency of the weights' loads, few enough that small products make
// many threadgroups.
const linearDecodeThreads = 256

// linearDecode: each SIMD group makes matvecRows outputs for matvecInputs rows.
func linearDecode(in *Input, l *fusion.Linear) ([]program.Launch, error) {
	s, outputs := in.matvecSchedule()
	inputs := in.inputsAtOnce(2 * bytesOfStaged(l.K))
	s.Settings = []kernel.Setting{
		{Name: "outputs per SIMD group", Value: fmt.Sprint(matvecRows), Why: "the input is read once for all of them"},
		{Name: "rows per threadgroup", Value: fmt.Sprint(inputs), Why: "weights are unpacked once for all of them"},
	}
	u := in.begin(in.kernelName(""), s, in.doc("products of one input, a SIMD group for each few outputs")...)
	d := &linearUnit{unit: u, l: l, outputsPerGroup: outputs, inputsPerGroup: inputs}
	rows, err := d.bindInput(4)
	if err != nil {
		return nil, err
	}
	var parts []part
	for i := range l.Products {
		parts = append(parts, d.product(&l.Products[i]))
	}
	row0 := u.Let("row0", kernel.Group(1).Mul(i32(inputs)))
	left := u.Let("rows_left", u.StepValue(rows).Sub(row0))
	u.oneOrMore(left, inputs, func(n int) { d.inputs(row0, left, n); u.deal(parts) })
	launch, err := u.launch("", ir.Const(int64(groupsOf(parts))), ceilDiv(ir.Sym(rows), inputs))
	return []program.Launch{launch}, err
}

// oneOrMore runs body for up to most rows: one row is the common case; its sums
// are the same either way. A SIMD group alone also has two by themselves: what
// other threads would do beside them it does after them.
func (u *unit) oneOrMore(left *kernel.Expr, most int, body func(n int)) {
	if most == 1 {
		body(1)
		return
	}
	more := func() { body(most) }
	if most > 2 && u.stages() {
		more = func() { u.If(left.Eq(i32(2)), func() { body(2) }, func() { body(most) }) }
	}
	u.If(left.Eq(i32(1)), func() { body(1) }, more)
}

// linearUnit is a decode kernel of a linear region in the making.
type linearUnit struct {
	*unit
	l      *fusion.Linear
	x      *rowsOf
	norm   *vector
	groups int // of X's second axis, 1 if it has none
	k      int

	outputsPerGroup, inputsPerGroup int

	// Of the branch being written:
	row    []*kernel.Expr // clamped to the step's rows
	live   []*kernel.Expr // whether row i is one; nil for always
	factor []*kernel.Expr // 1/rms of the row, with a norm
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

// inputs prepares n rows from row0 on: their numbers and, with a norm, factors.
func (d *linearUnit) inputs(row0, left *kernel.Expr, n int) {
	d.row, d.live, d.factor = nil, nil, nil
	for i := range n {
		row, live := row0, (*kernel.Expr)(nil)
		if i > 0 {
			live = d.Let("live", left.Gt(i32(i)))
			row = d.Let("row", row0.Add(i32(i).Min(left.Sub(i32(1)))))
		}
		d.row, d.live = append(d.row, row), append(d.live, live)
	}
	if d.l.Norm != nil {
		d.Comment("1/rms of each row")
		for i := range n {
			d.factor = append(d.factor, d.rms(d.x.as(4), d.row[i].Mul(i32(d.k/4)), d.k, d.l.Norm.Eps))
		}
	}
}

// rms is 1/sqrt(mean(x^2)+eps) of k elements, from vector `first` on, added up
// by the whole threadgroup; every thread gets it.
func (u *unit) rms(x kernel.Buffer, first *kernel.Expr, k int, eps float64) *kernel.Expr {
	sum := u.Var("squares", f32(0))
	u.For("i", kernel.Thread(), i32(k/4), i32(u.Schedule().Threads), func(i *kernel.Expr) {
		v := u.Let("v", x.At(first.Add(i)))
		acc := sum.Expr
		for lane := range 4 {
			acc = v.Lane(lane).Fma(v.Lane(lane), acc)
		}
		sum.Set(acc)
	})
	total := u.threadgroupSum(sum.Expr)
	return u.Let("inv_rms", total.Mul(f32(1/float64(k))).Add(f32(eps)).Rsqrt())
}

// threadgroupSum adds a value up over all threads, SIMD groups in ascending order.
func (u *unit) threadgroupSum(v *kernel.Expr) *kernel.Expr {
	s := u.Schedule()
	n := s.Threads / s.SimdWidth
	part := u.Let("part", v.SimdSum())
	if n == 1 {
		return part
	}
	parts := u.SharedArray("partial", kernel.F32, n)
	u.Barrier()
	u.If(kernel.Lane().Eq(i32(0)), func() { parts.Set(kernel.Simd(), part) }, nil)
	u.Barrier()
	total := parts.At(i32(0))
	for i := 1; i < n; i++ {
		total = total.Add(parts.At(i32(i)))
	}
	return u.Let("total", total)
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
	outputs := d.Schedule().Threads / d.Schedule().SimdWidth * matvecRows
	tile := d.outputsPerGroup
	if p.Finish != nil {
		tile = p.N / p.Heads
	}
	perGroup := (p.N + tile - 1) / tile
	return part{perGroup * p.Groups, func(group *kernel.Expr) {
		lead, block := (*kernel.Expr)(nil), group
		if p.Groups > 1 {
			lead = d.Let("group", group.Div(i32(perGroup)))
			block = group.Rem(i32(perGroup))
		}
		first := d.Let("first", block.Mul(i32(tile)).Add(kernel.Simd().Mul(i32(matvecRows))))
		staged := d.stage(len(d.row), d.inputsPerGroup, func(i int) reader { return d.reader(i, lead) }, up, gate)
		each := func(at *kernel.Expr) { d.outputs(p, up, gate, lead, at, e, staged) }
		if tile == outputs && p.N%outputs == 0 {
			each(first)
		} else if tile == outputs {
			d.If(first.Lt(i32(p.N)), func() { each(first) }, nil)
		} else {
			end := block.Mul(i32(tile)).Add(i32(tile))
			d.For("at", first, end.Min(i32(p.N)), i32(outputs), each)
		}
		if p.Finish != nil {
			d.Barrier()
			e.finish(d, block)
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
	y := d.dot(d.rowsFrom(up.open(lead), at, p.N), staged[up])
	if gate != nil {
		g := d.dot(d.rowsFrom(gate.open(lead), at, p.N), staged[gate])
		for j := range y {
			for i := range y[j] {
				y[j][i] = swiglu(g[j][i], y[j][i], p.Limit)
			}
		}
	}
	d.Comment("every lane has the sums; lane 0 writes")
	d.If(kernel.Lane().Eq(i32(0)), func() {
		for j := range y {
			n := at.Add(i32(j))
			for i := range y[j] {
				d.guard(d.live[i], n.Lt(i32(p.N)), (p.N%matvecRows != 0), func() { e.store(d, i, lead, n, y[j][i]) })
			}
		}
	}, nil)
}

// guard runs f where live (unless nil) and, if it may fail, inside hold.
func (u *unit) guard(live, inside *kernel.Expr, mayFail bool, f func()) {
	cond := live
	if mayFail {
		cond = inside
		if live != nil {
			cond = live.And(inside)
		}
	}
	if cond == nil {
		f()
		return
	}
	u.If(cond, f, nil)
}

// rowsFrom names matvecRows rows from `at` on, the last repeated at the edge.
func (u *unit) rowsFrom(o *opened, at *kernel.Expr, n int) []rowOf {
	rows := make([]rowOf, matvecRows)
	for j := range rows {
		r := at.Add(i32(j))
		if n%matvecRows != 0 {
			r = r.Min(i32(n - 1))
		}
		rows[j] = o.row(r)
	}
	return rows
}

// swiglu is silu(min(gate, limit)) * clamp(up, -limit, limit); limit 0: no clamps.
func swiglu(gate, up *kernel.Expr, limit float64) *kernel.Expr {
	if limit > 0 {
		gate = gate.Min(f32(limit))
		up = up.Min(f32(limit)).Max(f32(-limit))
	}
	return gate.Div(f32(1).Add(gate.Neg().Exp())).Mul(up)
}
