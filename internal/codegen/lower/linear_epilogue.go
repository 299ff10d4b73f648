package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// epilogue handles a product's outputs: it scales them, adds by position, finishes vector
// by vector, and stores or appends.
type epilogue struct {
	p      *fusion.Product
	result kernel.Buffer
	table  *vector
	state  *cacheRows
	tile   kernel.Array // outputs of a threadgroup's vector, row by row, with Finish
}

func (d *linearUnit) epilogue(p *fusion.Product) *epilogue {
	e := &epilogue{p: p}
	if p.Table != "" {
		t := d.vector("by_position", p.Table)
		e.table = &t
	}
	if p.Append != "" {
		e.state = d.cacheRows("log", p.Append, kernel.Write)
		d.accesses(d.l.X.Type.Shape[0].Mul(ir.Const(int64(4 * p.N))))
	} else {
		e.result = d.activation("y", p.Result, kernel.Write)
	}
	if p.Postprocess != nil {
		e.tile = d.SharedArray("vectors", kernel.F32, d.inputsPerGroup*p.N/p.Heads)
	}
	return e
}

// store takes output n of row i of the branch, in group `lead`.
func (e *epilogue) store(d *linearUnit, i int, lead, n, v *kernel.Expr) {
	if e.p.Postprocess != nil {
		width := e.p.N / e.p.Heads
		e.tile.Set(n.Rem(i32(width)).Add(i32(i*width)), v)
		return
	}
	e.put(d.emitter, d.row[i], lead, n, v)
}

// put stores output n of a row, or appends it.
func (e *epilogue) put(u *emitter, row, lead, n, v *kernel.Expr) {
	if e.p.Scale != 1 && e.p.Scale != 0 {
		v = v.Mul(f32(e.p.Scale))
	}
	if e.table != nil {
		phase := u.StepAt("position", row).Rem(i32(e.p.Ratio))
		v = v.Add(e.table.At(phase.Mul(i32(e.p.N)).Add(n)))
	}
	if e.state != nil {
		at := e.state.row(u.StepAt("slot", row), u.StepAt("position", row))
		e.state.setFloat(at, n, v)
		return
	}
	if lead != nil {
		row = row.Mul(i32(e.p.Groups)).Add(lead)
	}
	e.result.Set(row.Mul(i32(e.p.N)).Add(n), v)
}

// postprocess is called by all threads when a vector of every row lies in the tile:
// SIMD group i finishes row i's; if there are fewer, they take turns.
func (e *epilogue) postprocess(d *linearUnit, block *kernel.Expr) {
	width, groups := e.p.N/e.p.Heads, d.Schedule().Threads/d.Schedule().SimdWidth
	for i := range d.row {
		var mine *kernel.Expr
		if groups > 1 {
			mine = kernel.Simd().Eq(i32(i % groups))
		}
		d.guard(mine, d.live[i], d.live[i] != nil, func() {
			v := d.loadVector(width, func(at *kernel.Expr) *kernel.Expr { return e.tile.At(at.Add(i32(i * width))) })
			d.postprocess(v, width, e.p.Postprocess, d.row[i], 0)
			d.storeVector(v, width, func(at, x *kernel.Expr) {
				e.result.Set(d.row[i].Mul(i32(e.p.N)).Add(block.Mul(i32(width))).Add(at), x)
			})
		})
	}
}
