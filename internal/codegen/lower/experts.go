package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// lowerExperts routes rows and makes the chosen experts' hidden vectors.
func lowerExperts(in *Input, e *fusion.Experts) ([]program.Launch, error) {
	if in.Phase == program.Prefill {
		return expertsPrefill(in, e)
	}
	return expertsDecode(in, e)
}

// expertsDecode makes tiles of the chosen experts' hidden vectors. Where a
// threadgroup is large, it routes its row again (a few hundred scores), which
// saves a launch; a SIMD group alone would be at that for too long.
func expertsDecode(in *Input, e *fusion.Experts) ([]program.Launch, error) {
	rows, err := rowsSymbol(e.X)
	if err != nil {
		return nil, err
	}
	routing := kernel.Setting{Name: "routing", Value: "in every threadgroup", Why: "a dispatch less; scores are few"}
	var launches []program.Launch
	var weights *program.Scratch
	role := ""
	if in.Target.Vector > 0 {
		routing.Value, routing.Why = "in a launch of its own", "it takes a SIMD group as long as several outputs"
		weights = &program.Scratch{Name: "weights", Bytes: ir.Sym(rows).Mul(ir.Const(int64(4 * e.K)))}
		route, err := expertsRoute(in, e, rows, weights)
		if err != nil {
			return nil, err
		}
		launches, role = []program.Launch{route}, "hidden"
	}
	s, outputs := in.matvecSchedule()
	s.Settings = []kernel.Setting{{Name: "outputs per threadgroup", Value: fmt.Sprint(outputs), Why: "of one expert and one row"}, routing}
	u := in.begin(in.kernelName(role), s, in.doc("routing, then a tile of a chosen expert's hidden vector")...)
	d := &expertsHiddenDecode{emitter: u, e: e, outputs: outputs, choose: u.chooser(e, weights)}
	d.bind()
	if u.err != nil {
		return nil, u.err
	}
	d.body(u.Let("row", kernel.Group(2)), u.Let("choice", kernel.Group(1)))
	l, err := u.launch(role, ir.Const(int64((e.F+outputs-1)/outputs)), ir.Const(int64(e.K)), ir.Sym(rows))
	return append(launches, l), err
}

// chooser gives a row's choice and its weight: by routing, or with weights by
// what an earlier launch left.
func (u *emitter) chooser(e *fusion.Experts, weights *program.Scratch) func(row, choice *kernel.Expr) (expert, weight *kernel.Expr) {
	if weights == nil {
		r := u.router(e)
		return func(row, choice *kernel.Expr) (expert, weight *kernel.Expr) {
			ids, ws := r.route(row)
			u.If(kernel.Group(0).Add(choice).Add(kernel.Thread()).Eq(i32(0)), func() { r.store(row, ids, ws) }, nil)
			return nth(choice, ids), nth(choice, ws)
		}
	}
	ids, ws := u.activation("ids", e.IDs, kernel.Read), u.scratch("choice_weights", weights, kernel.F32, kernel.Read)
	return func(row, choice *kernel.Expr) (expert, weight *kernel.Expr) {
		at := u.Let("chosen", row.Mul(i32(e.K)).Add(choice))
		return ids.At(at), ws.At(at)
	}
}

// expertsHiddenDecode is the kernel of hidden vectors in the making.
type expertsHiddenDecode struct {
	*emitter
	e        *fusion.Experts
	outputs  int // of a threadgroup
	choose   func(row, choice *kernel.Expr) (expert, weight *kernel.Expr)
	x        *rowsOf
	gate, up *matrix
	mid      kernel.Buffer
}

func (d *expertsHiddenDecode) bind() {
	d.x = d.rowsOf("x", d.e.X, 4)
	d.gate, d.up = d.expertMatrix("gate", d.e.Gate, d.e.IDs), d.expertMatrix("up", d.e.Up, d.e.IDs)
	d.mid = d.activation("mid", d.e.Mid, kernel.Write)
}

// body makes the threadgroup's outputs of a row's choice.
func (d *expertsHiddenDecode) body(row, choice *kernel.Expr) {
	e := d.e
	chosen, itsWeight := d.choose(row, choice)
	expert, weight := d.Let("expert", chosen), d.Let("weight", itsWeight)
	from := kernel.Group(0).Mul(i32(d.outputs))
	first := d.Let("first", from.Add(kernel.Simd().Mul(i32(matvecRows))))
	reader := func(int) reader { return d.x.reader(d.Let("x_row", row.Mul(i32(dim(e.X, 1)/4)))) }
	staged := d.stage(1, 1, reader, d.gate, d.up)
	few := func(first *kernel.Expr) {
		in := staged
		if in == nil {
			x := directs(1, reader)
			in = inputsOf{d.gate: x, d.up: x}
		}
		g := d.dot(d.rowsFrom(d.gate.open(expert), first, e.F), in[d.gate])
		y := d.dot(d.rowsFrom(d.up.open(expert), first, e.F), in[d.up])
		d.If(kernel.Lane().Eq(i32(0)), func() {
			for j := range y {
				n := first.Add(i32(j))
				d.guard(nil, n.Lt(i32(e.F)), e.F%matvecRows != 0, func() {
					at := row.Mul(i32(e.K)).Add(choice).Mul(i32(e.F)).Add(n)
					d.mid.Set(at, swiglu(g[j][0], y[j][0], e.Limit).Mul(weight))
				})
			}
		}, nil)
	}
	if together := d.Schedule().Threads / d.Schedule().SimdWidth * matvecRows; together < d.outputs {
		d.For("at", first, from.Add(i32(d.outputs)).Min(i32(e.F)), i32(together), few)
		return
	}
	d.If(first.Lt(i32(e.F)), func() { few(first) }, nil)
}
