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

// expertsDecode makes tiles of the chosen experts' hidden vectors. A SIMD group alone
// would be at routing for too long, which is a launch of its own then.
func expertsDecode(in *Input, e *fusion.Experts) ([]program.Launch, error) {
	rows, err := rowsSymbol(e.X)
	if err != nil {
		return nil, err
	}
	if in.Target.Vector == 0 {
		l, err := expertsTogether(in, e, rows)
		return []program.Launch{l}, err
	}
	weights := &program.Scratch{Name: "weights", Bytes: ir.Sym(rows).Mul(ir.Const(int64(4 * e.K)))}
	route, err := expertsRoute(in, e, rows, weights)
	if err != nil {
		return nil, err
	}
	s, outputs := in.matvecSchedule()
	s.Settings = []kernel.Setting{{Name: "outputs per threadgroup", Value: fmt.Sprint(outputs), Why: "of one expert and one row"},
		{Name: "routing", Value: "in a launch of its own", Why: "it takes a SIMD group as long as several outputs"}}
	u := in.begin(in.kernelName("hidden"), s, in.doc("routing, then a tile of a chosen expert's hidden vector")...)
	d := &expertsHiddenDecode{emitter: u, e: e, outputs: outputs}
	d.ids, d.weights = u.activation("ids", e.IDs, kernel.Read), u.scratch("choice_weights", weights, kernel.F32, kernel.Read)
	d.bind()
	if u.err != nil {
		return nil, u.err
	}
	d.body(u.Let("row", kernel.Group(2)), u.Let("choice", kernel.Group(1)))
	l, err := u.launch("hidden", ir.Const(int64((e.F+outputs-1)/outputs)), ir.Const(int64(e.K)), ir.Sym(rows))
	return []program.Launch{route, l}, err
}

// expertsHiddenDecode is the kernel of hidden vectors in the making.
type expertsHiddenDecode struct {
	*emitter
	e            *fusion.Experts
	outputs      int // of a threadgroup
	ids, weights kernel.Buffer
	x            *rowsOf
	gate, up     *matrix
	mid          kernel.Buffer
}

func (d *expertsHiddenDecode) bind() {
	d.x = d.rowsOf("x", d.e.X, 4)
	d.gate, d.up = d.expertMatrix("gate", d.e.Gate, d.e.IDs), d.expertMatrix("up", d.e.Up, d.e.IDs)
	d.mid = d.activation("mid", d.e.Mid, kernel.Write)
}

// body makes the threadgroup's outputs of a row's choice.
func (d *expertsHiddenDecode) body(row, choice *kernel.Expr) {
	e := d.e
	chosen := d.Let("chosen", row.Mul(i32(e.K)).Add(choice))
	expert, weight := d.Let("expert", d.ids.At(chosen)), d.Let("weight", d.weights.At(chosen))
	from := kernel.Group(0).Mul(i32(d.outputs))
	first := d.Let("first", from.Add(kernel.Simd().Mul(i32(matvecRows))))
	reader := func(int) reader { return d.x.reader(d.Let("x_row", row.Mul(i32(dim(e.X, 1)/4)))) }
	staged := d.stage(1, 1, reader, d.gate, d.up)
	few := func(first *kernel.Expr) {
		g := d.dot(d.rowsFrom(d.gate.open(expert), first, matvecRows, e.F, e.F%matvecRows != 0), staged[d.gate])
		y := d.dot(d.rowsFrom(d.up.open(expert), first, matvecRows, e.F, e.F%matvecRows != 0), staged[d.up])
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
