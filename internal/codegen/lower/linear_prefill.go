package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// linearPrefill: a threadgroup makes a tile of rows by outputs. Vectors that
// are to be finished are finished by a second launch: they are wider than a
// tile.
func linearPrefill(in *Input, l *fusion.Linear) ([]program.Launch, error) {
	u := in.begin(in.kernelName(""), in.tiling().schedule(), in.doc("products of one input, in tiles")...)
	p := &linearTiles{linearUnit: linearUnit{emitter: u, l: l}, gemm: u.newGemm()}
	rows, err := p.bindInput(1)
	if err != nil {
		return nil, err
	}
	p.rows = u.StepValue(rows)
	var parts []part
	for i := range l.Products {
		parts = append(parts, p.product(&l.Products[i]))
	}
	p.row0 = u.Let("row0", kernel.Group(1).Mul(i32(p.gemm.rows)))
	p.rowFactors()
	u.deal(parts)
	first, err := u.launch("", ir.Const(int64(groupsOf(parts))), ceilDiv(ir.Sym(rows), p.gemm.rows))
	if err != nil {
		return nil, err
	}
	launches := []program.Launch{first}
	for i := range l.Products {
		if l.Products[i].Postprocess == nil {
			continue
		}
		finish, err := linearFinish(in, &l.Products[i], p.raw[i], rows)
		if err != nil {
			return nil, err
		}
		launches = append(launches, finish)
	}
	return launches, nil
}

// linearTiles is a prefill kernel of a linear region in the making.
type linearTiles struct {
	linearUnit
	gemm    *gemm
	rows    *kernel.Expr
	row0    *kernel.Expr
	factors kernel.Array             // 1/rms of the tile's rows, with a norm
	raw     map[int]*program.Scratch // products that a second launch finishes
}

// rowFactors computes 1/rms of each of the tile's rows, a SIMD group a row.
func (p *linearTiles) rowFactors() {
	if p.l.Norm == nil {
		return
	}
	p.factors = p.SharedArray("inv_rms", kernel.F32, p.gemm.rows)
	p.Comment("1/rms of each row of the tile")
	lanes := p.gemm.simdWidth
	p.For("r", kernel.Simd(), i32(p.gemm.rows), i32(p.gemm.threads/lanes), func(r *kernel.Expr) {
		row := p.Let("row", p.row0.Add(r).Min(p.rows.Sub(i32(1))))
		sum := p.Var("squares", f32(0))
		p.For("i", kernel.Lane(), i32(p.k), i32(lanes), func(i *kernel.Expr) {
			v := p.Let("v", p.x.as(1).At(row.Mul(i32(p.k)).Add(i)))
			sum.Set(v.Fma(v, sum.Expr))
		})
		total := p.Let("total", sum.SimdSum())
		p.If(kernel.Lane().Eq(i32(0)), func() {
			p.factors.Set(r, total.Mul(f32(1/float64(p.k))).Add(f32(p.l.Norm.Eps)).Rsqrt())
		}, nil)
	})
	p.Barrier()
}

func (p *linearTiles) product(pr *fusion.Product) part {
	up := p.matrix("w", pr.Weight)
	e := p.tileEpilogue(pr)
	var gate *matrix
	if pr.Gate != "" {
		gate = p.matrix("gate", pr.Gate)
	}
	outputs := p.gemm.outputs
	perGroup := (pr.N + outputs - 1) / outputs
	return part{groups: perGroup * pr.Groups, body: func(group *kernel.Expr) {
		if p.err != nil {
			return
		}
		lead, block := (*kernel.Expr)(nil), group
		if pr.Groups > 1 {
			lead = p.Let("group", group.Div(i32(perGroup)))
			block = group.Rem(i32(perGroup))
		}
		first := p.Let("first", block.Mul(i32(outputs)))
		loadX, rows := p.loadX(lead), p.rows.Sub(p.row0)
		var gates *savedTile
		if gate != nil {
			p.gemm.multiply(gate.open(lead), first, rows, loadX)
			gates = p.gemm.saveTile()
		}
		p.gemm.multiply(up.open(lead), first, rows, loadX)
		p.store(pr, e, lead, first, gates)
	}}
}

// tileEpilogue is the product's epilogue; one that finishes vectors stores
// them raw, for the second launch.
func (p *linearTiles) tileEpilogue(pr *fusion.Product) *epilogue {
	if pr.Postprocess == nil {
		return p.epilogue(pr)
	}
	s := &program.Scratch{Name: "raw_" + pr.Weight, Bytes: pr.Result.Type.Shape[0].Mul(ir.Const(int64(4 * pr.N * pr.Groups)))}
	if p.raw == nil {
		p.raw = map[int]*program.Scratch{}
	}
	for i := range p.l.Products {
		if &p.l.Products[i] == pr {
			p.raw[i] = s
		}
	}
	bare := *pr
	bare.Postprocess = nil
	return &epilogue{p: &bare, result: p.scratch("y", s, kernel.F32, kernel.Write)}
}

// loadX reads a row of the tile; rows beyond the step are 0.
func (p *linearTiles) loadX(lead *kernel.Expr) rowReader {
	return func(r *kernel.Expr) tileRow {
		row := p.Let("row", p.row0.Add(r).Min(p.rows.Sub(i32(1))))
		at := row
		if p.groups > 1 {
			at = row.Mul(i32(p.groups)).Add(lead)
		}
		value := func(k *kernel.Expr) *kernel.Expr {
			v := p.x.as(1).At(at.Mul(i32(p.k)).Add(k))
			if p.l.Norm != nil {
				v = v.Mul(p.factors.At(r))
				if p.norm != nil {
					v = v.Mul(p.norm.At(k))
				}
			}
			return p.row0.Add(r).Lt(p.rows).Select(v, f32(0))
		}
		return tileRow{value, func(k *kernel.Expr) { p.x.as(1).Prefetch(at.Mul(i32(p.k)).Add(k)) }}
	}
}

func (p *linearTiles) store(pr *fusion.Product, e *epilogue, lead, first *kernel.Expr, gates *savedTile) {
	p.gemm.eachKept(gates, func(at, v, gate *kernel.Expr) {
		row := p.Let("row", p.row0.Add(at.Div(i32(p.gemm.outputs))))
		n := p.Let("n", first.Add(at.Rem(i32(p.gemm.outputs))))
		p.If(row.Lt(p.rows).And(n.Lt(i32(pr.N))), func() {
			if gate != nil {
				v = swiglu(gate, v, pr.Limit)
			}
			e.put(p.emitter, row, lead, n, v)
		}, nil)
	})
}

// linearFinish finishes the vectors of a product, a SIMD group each.
func linearFinish(in *Input, pr *fusion.Product, raw *program.Scratch, rows string) (program.Launch, error) {
	groups := in.Target.Groups(4)
	u := in.begin(in.kernelName("postprocess"), kernel.Schedule{Threads: groups * in.Target.SimdWidth}, in.doc("norm, rotation and rounding of a product's vectors, a SIMD group each")...)
	x := u.scratch("x", raw, kernel.F32, kernel.Read)
	y := u.activation("y", pr.Result, kernel.Write)
	width := pr.N / pr.Heads
	head := u.Let("head", kernel.Group(0).Mul(i32(groups)).Add(kernel.Simd()))
	row := u.Let("row", kernel.Group(1))
	u.If(head.Lt(i32(pr.Heads)), func() {
		at := u.Let("at", row.Mul(i32(pr.N)).Add(head.Mul(i32(width))))
		v := u.loadVector(width, func(i *kernel.Expr) *kernel.Expr { return x.At(at.Add(i)) })
		u.postprocess(v, width, pr.Postprocess, row, 0)
		u.storeVector(v, width, func(i, value *kernel.Expr) { y.Set(at.Add(i), value) })
	}, nil)
	return u.launch("postprocess", ir.Const(int64((pr.Heads+groups-1)/groups)), ir.Sym(rows))
}
