package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// In decode on a GPU a threadgroup makes a tile of the hidden vectors of all experts that
// the step's rows choose: it routes once, a SIMD group a row, and goes through the rows that
// chose an expert one after another, whose weights are in a cache then. SIMD groups share
// experts and outputs.

// hiddenRows is how many outputs a SIMD group makes at once, of gate and of up each.
const hiddenRows = 2

// hiddenTile is how many outputs of an expert a threadgroup makes at most.
const hiddenTile = 8

// hiddenThreads is the threadgroup. On an H200 one of 512 threads whose SIMD groups share K
// by twos took 4 to 8 % longer.
const hiddenThreads = 256

// expertsTogether is the launch that makes the hidden vectors of all rows.
func expertsTogether(in *Input, e *fusion.Experts, rows string) (program.Launch, error) {
	threads := in.Target.Threads(hiddenThreads)
	d := &expertsTiles{e: e, tile: in.tileOf(e.F, hiddenRows, hiddenTile)}
	for d.tile > hiddenRows && d.sharedBytes(threads/in.Target.SimdWidth) > in.Target.SharedMemory/4*3 {
		d.tile /= 2
	}
	s := kernel.Schedule{Threads: threads, Settings: []kernel.Setting{
		{Name: "outputs per threadgroup", Value: fmt.Sprint(d.tile), Why: "of every chosen expert; some threadgroups for each core"},
		{Name: "outputs per SIMD group", Value: fmt.Sprint(2 * hiddenRows), Why: "of gate and up together: the input is read once for both"},
		{Name: "routing", Value: "once a threadgroup", Why: "a dispatch less; a SIMD group takes a row"},
	}}
	d.emitter = in.begin(in.kernelName(""), s, in.doc("routing, then a tile of the chosen experts' hidden vectors")...)
	d.bind()
	if d.err != nil {
		return program.Launch{}, d.err
	}
	d.rows = d.Let("rows", d.StepValue(rows))
	d.route()
	d.products()
	d.finish()
	return d.launch("", ir.Const(int64((e.F+d.tile-1)/d.tile)))
}

// expertsTiles is that kernel in the making.
type expertsTiles struct {
	*emitter
	e        *fusion.Experts
	tile     int // outputs of a threadgroup
	router   *router
	x        *rowsOf
	gate, up *matrix
	mid      kernel.Buffer
	rows     *kernel.Expr
	ids      kernel.Array // [rows, K]: the experts,
	weights  kernel.Array // and what they count
	sums     kernel.Array // [rows*K, tile, 2]: of gate and up
}

// sharedBytes is what the sums take at most, and the keys of as many rows as there are SIMD
// groups.
func (d *expertsTiles) sharedBytes(simds int) int {
	return 4 * (program.MaxDecodeRows*d.e.K*d.tile*2 + simds*d.e.Experts)
}

func (d *expertsTiles) bind() {
	d.router = d.emitter.router(d.e)
	d.x = d.rowsOf("x", d.e.X, 4)
	d.gate, d.up = d.expertMatrix("gate", d.e.Gate, d.e.IDs), d.expertMatrix("up", d.e.Up, d.e.IDs)
	d.mid = d.activation("mid", d.e.Mid, kernel.Write)
	if d.err != nil {
		return
	}
	most := program.MaxDecodeRows * d.e.K
	d.ids, d.weights = d.SharedArray("chosen", kernel.I32, most), d.SharedArray("counts", kernel.F32, most)
	d.sums = d.SharedArray("sums", kernel.F32, most*d.tile*2)
}

// simds is how many SIMD groups a threadgroup has.
func (d *expertsTiles) simds() int { return d.Schedule().Threads / d.Schedule().SimdWidth }

// route chooses the rows' experts, for the threadgroup; the first stores them for others.
// All threads make keys, of as many rows as there are SIMD groups, each of which then takes
// one.
func (d *expertsTiles) route() {
	if d.router.table != nil {
		d.For("row", kernel.Simd(), d.rows, i32(d.simds()), func(row *kernel.Expr) { d.choose(row, nil) })
		d.Barrier()
		return
	}
	experts := d.e.Experts
	keys := d.SharedArray("keys", kernel.U32, d.simds()*experts)
	d.For("first", i32(0), d.rows, i32(d.simds()), func(first *kernel.Expr) {
		n := d.Let("some", d.rows.Sub(first).Min(i32(d.simds())))
		d.For("at", kernel.Thread(), n.Mul(i32(experts)), i32(d.Schedule().Threads), func(at *kernel.Expr) {
			keys.Set(at, d.router.key(first.Add(at.Div(i32(experts))), d.Let("expert", at.Rem(i32(experts)))))
		})
		d.Barrier()
		d.If(kernel.Simd().Lt(n), func() {
			own := d.Let("own", kernel.Simd().Mul(i32(experts)))
			d.choose(d.Let("row", first.Add(kernel.Simd())), func(id *kernel.Expr) *kernel.Expr { return keys.At(own.Add(id)) })
		}, nil)
		d.Barrier()
	})
}

// choose chooses a row's experts by a SIMD group.
func (d *expertsTiles) choose(row *kernel.Expr, keyOf func(id *kernel.Expr) *kernel.Expr) {
	c := d.router.route(row, keyOf)
	d.router.each(c, func(k, id, weight *kernel.Expr) {
		at := row.Mul(i32(d.e.K)).Add(k)
		d.ids.Set(at, id)
		d.weights.Set(at, weight)
	})
	d.If(kernel.Group(0).Eq(i32(0)), func() { d.router.store(row, c) }, nil)
}

// products makes the sums of gate and up.
func (d *expertsTiles) products() {
	few := d.tile / hiddenRows
	jobs := d.rows.Mul(i32(d.e.K * few))
	x := &choices{emitter: d.emitter, k: d.e.K, count: d.rows, id: d.ids.At}
	d.For("job", kernel.Simd(), jobs, i32(d.simds()), func(job *kernel.Expr) {
		c, out := d.Let("c", job.Div(i32(few))), d.Let("out", job.Rem(i32(few)).Mul(i32(hiddenRows)))
		expert := d.Let("expert", x.id(c))
		x.each(c, expert, func(c *kernel.Expr) {
			sums := d.gateAndUp(expert, d.Let("first", kernel.Group(0).Mul(i32(d.tile)).Add(out)), c)
			d.If(kernel.Lane().Eq(i32(0)), func() {
				to := d.Let("to", c.Mul(i32(d.tile)).Add(out).Mul(i32(2)))
				for j := range hiddenRows {
					for half := range 2 {
						d.sums.Set(to.Add(i32(2*j+half)), sums[half*hiddenRows+j][0])
					}
				}
			}, nil)
		})
	})
	d.Barrier()
}

// gateAndUp makes a few outputs of gate, then of up, from `first` on, for choice c of the
// expert.
func (d *expertsTiles) gateAndUp(expert, first, c *kernel.Expr) [][]*kernel.Expr {
	inputs := []input{direct(d.x.reader(d.Let("x_row", c.Div(i32(d.e.K)).Mul(i32(dim(d.e.X, 1)/4)))))}
	beyond := d.e.F%d.tile != 0 // the last threadgroup's tile is not full
	gate := d.rowsFrom(d.gate.open(expert), first, hiddenRows, d.e.F, beyond)
	up := d.rowsFrom(d.up.open(expert), first, hiddenRows, d.e.F, beyond)
	if d.gate.alike(d.up) {
		return d.dot(append(gate, up...), inputs)
	}
	return append(d.dot(gate, inputs), d.dot(up, inputs)...)
}

// finish makes the hidden vectors of the sums.
func (d *expertsTiles) finish() {
	e := d.e
	d.For("at", kernel.Thread(), d.rows.Mul(i32(e.K*d.tile)), i32(d.Schedule().Threads), func(at *kernel.Expr) {
		c, out := d.Let("c", at.Div(i32(d.tile))), d.Let("out", at.Rem(i32(d.tile)))
		n := d.Let("n", kernel.Group(0).Mul(i32(d.tile)).Add(out))
		d.guard(nil, n.Lt(i32(e.F)), e.F%d.tile != 0, func() {
			from := d.Let("from", at.Mul(i32(2)))
			gate, up := d.sums.At(from), d.sums.At(from.Add(i32(1)))
			d.mid.Set(c.Mul(i32(e.F)).Add(n), swiglu(d.Let("gate", gate), d.Let("up", up), e.Limit).Mul(d.weights.At(c)))
		})
	})
}
