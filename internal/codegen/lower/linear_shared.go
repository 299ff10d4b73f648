package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/passes/fusion"
)

// sharedOutputs computes a team's outputs from `at` on for the branch's rows, where its
// SIMD groups share the columns: each leaves its sums in threadgroup memory, and a lane of
// the first for each output adds them up and writes it.
func (d *linearUnit) sharedOutputs(p *fusion.Product, matrices []*matrix, lead, at *kernel.Expr, e *epilogue, staged inputsOf) {
	rows := len(d.row)
	outputs := matvecRows * rows
	h := d.shared(d.shape, len(matrices)*outputs)
	for i, m := range matrices {
		h.put(i32(i*outputs), d.share(p, m, lead, at, staged[m]))
	}
	inv := d.inverseNorms()
	d.Comment("a lane of a team's first SIMD group for each output")
	d.Barrier()
	d.If(d.shape.share().Eq(i32(0)).And(kernel.Lane().Lt(i32(outputs))), func() {
		j, i := kernel.Lane(), i32(0)
		if rows > 1 {
			j, i = d.Let("output", kernel.Lane().Div(i32(rows))), d.Let("input", kernel.Lane().Rem(i32(rows)))
		}
		n, row := d.Let("n", at.Add(j)), d.row[0]
		var live *kernel.Expr
		if rows > 1 {
			row, live = d.Let("output_row", row.Add(i)), i.Lt(d.left)
		}
		d.guard(live, n.Lt(i32(p.N)), d.beyond(p.N), func() {
			of := []*kernel.Expr{h.sum(kernel.Lane()), nil}
			if len(matrices) > 1 {
				of[1] = h.sum(kernel.Lane().Add(i32(outputs)))
			}
			var mine []*kernel.Expr
			if inv != nil {
				mine = []*kernel.Expr{d.Let("inv", nth(i, inv))}
			}
			e.put(d.emitter, row, lead, n, d.output(p, of, mine, 0))
		})
	}, nil)
}
