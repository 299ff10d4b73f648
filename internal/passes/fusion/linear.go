package fusion

import (
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Linear is a set of products that share the input X and have nothing else in
// common: one launch. X's rows have K elements, or, with a product in groups
// (then it is the only one), Groups*K of any shape: attention's result
// [R, Heads, Dim] goes into a grouped product as it lies in memory.
type Linear struct {
	X        *ir.Value
	K        int   // elements that one output sums over
	Norm     *Norm // of X's rows before the products; nil if none
	Products []Product
}

// Product is X times the transpose of the parameter Weight [N, K] (with Groups > 1: of
// Weight [Groups, N, K], group by group), and what follows:
// result = Scale * (product), or silu(min(gate, Limit)) * clamp(product, -Limit, Limit)
// with Gate, then + Table[position mod Ratio], then Heads vectors finished each.
type Product struct {
	Weight      string
	Groups      int // 1 if not grouped
	N           int // outputs (of each group)
	Gate        string
	Limit       float64 // of Gate's clamp; 0: none
	Scale       float64 // 1 if none
	Table       string  // parameter [Ratio, N] added by position; empty if none
	Ratio       int
	Heads       int          // with Finish: N/Heads elements each are one vector
	Postprocess *Postprocess // nil if none
	Append      string       // state the result is appended to at its position; else empty
	Result      *ir.Value    // [R, N], [R, Groups*N], [R, Heads, N/Heads]; with Append the state's new version
}

// KindLinear is the kind of region that Linear views.
var KindLinear = &Pattern[Linear]{
	Row: Row{
		Name: "linear",
		Pass: "fuse-linear",
		Doc:  "products that share an input",
		After: []Order{
			{"cache-formats", "the indexer's queries are rounded where they are made"},
		},
	},
	begin: linearAt, results: linearResults, name: linearName,
}

const groupedSpec = "tgi,goi->tgo"

func linearResults(l *Linear) []*ir.Value {
	var out []*ir.Value
	for i := range l.Products {
		out = append(out, l.Products[i].Result)
	}
	return out
}

// linearName tells the roles apart that products of one input have in a
// transformer: from a low rank after a norm, of groups, with a gate.
func linearName(l *Linear) string {
	var names []string
	role := "qkv_a"
	if len(l.Products) == 1 {
		role = "" // it is called after its weight
	}
	if l.Norm != nil {
		role = "q"
		names = append(names, l.Norm.Weight)
	}
	for _, p := range l.Products {
		names = append(names, p.Weight, p.Gate)
		switch {
		case p.Groups > 1:
			role = "out_a"
		case p.Gate != "":
			role = "router"
		}
	}
	return regionName(role, l.X, names...)
}

// isProduct reports whether n multiplies by a parameter.
func (w *walk) isProduct(n *ir.Node) bool {
	plain := n.Op == ops.Matmul || hasSpec(n, groupedSpec)
	return plain && w.scope.in[n] && w.is(n.Args[1], ops.Dequantize)
}

// linearAt walks from the first product of an input.
func linearAt(w *walk, n *ir.Node) *Linear {
	if !w.isProduct(n) {
		return nil
	}
	l := &Linear{X: n.Args[0]}
	products := w.productsOf(l.X)
	if n.Op == ops.Einsum { // of its own: no other product has its input in groups
		products = []*ir.Node{n}
	}
	done := map[*ir.Node]bool{}
	for _, p := range products {
		if !done[p] {
			l.Products = append(l.Products, w.product(p, done))
		}
	}
	l.K = w.size(l.X, -1)
	if n.Op == ops.Einsum {
		if w.is(l.X, ops.Reshape) {
			l.X = w.def(l.X, ops.Reshape).Args[0]
			w.check(sameRows(l.X, n.Result), l.X, "expected the rows of %s", n.Result.Type)
		}
		return l
	}
	w.shaped(l.X, l.K)
	if w.isNormed(l.X) && !w.scope.escapes[l.X] && len(w.scope.uses[l.X]) == len(products) {
		l.Norm, l.X = w.norm(l.X)
	}
	return l
}

func (w *walk) productsOf(x *ir.Value) (out []*ir.Node) {
	for _, u := range w.scope.uses[x] {
		if w.isProduct(u) && u.Args[0] == x {
			out = append(out, u)
		}
	}
	return out
}

// product walks forward from one product, or from the gate and the product of a
// pair, over everything that only it feeds.
func (w *walk) product(n *ir.Node, done map[*ir.Node]bool) Product {
	done[n] = true
	p := Product{Groups: 1, Scale: 1}
	var v *ir.Value
	if mul := w.gated(n); mul != nil {
		gate, up, limit := w.swiglu(mul.Result)
		g, u := w.def(gate, ops.Matmul), w.def(up, ops.Matmul)
		w.check(g.Args[0] == u.Args[0], u.Result, "gate and product must have one input")
		w.check((g == n || !done[g]) && (u == n || !done[u]), u.Result, "gate and product must be of no other use")
		done[g], done[u] = true, true
		p.Gate, p.Weight, p.Limit, v = w.weight(g.Args[1]), w.weight(u.Args[1]), limit, mul.Result
		p.N = w.size(v, -1)
	} else {
		w.take(n)
		p.Weight, v = w.weight(n.Args[1]), n.Result
		p.N = w.size(v, -1)
		if n.Op == ops.Einsum {
			p.Groups = w.size(v, 1)
			if flat := w.next(v, ops.Reshape); flat != nil {
				v = flat.Result
				w.shaped(v, p.Groups*p.N)
			}
		}
	}
	p.Result = w.epilogue(&p, v)
	return p
}

// gated returns the product of gate and value that a matmul ends in, if it does.
func (w *walk) gated(n *ir.Node) (mul *ir.Node) {
	look := &walk{scope: w.scope, taken: map[*ir.Node]bool{}}
	v := n.Result
	for _, op := range []*ir.Op{ops.Clamp, ops.Silu} {
		if next := look.next(v, op); next != nil {
			v = next.Result
		}
	}
	mul = look.next(v, ops.Mul)
	if mul == nil || !w.is(mul.Args[0], ops.Silu) && !w.is(mul.Args[1], ops.Silu) {
		return nil
	}
	return mul
}

// epilogue follows a product's value as far as one thing alone is done with it.
func (w *walk) epilogue(p *Product, v *ir.Value) *ir.Value {
	if n := w.next(v, ops.Scale); n != nil {
		p.Scale, v = n.Attr.(ops.ByAttr).By, n.Result
	}
	w.try(func() {
		sum := w.only(v, ops.Add)
		entry, _ := w.operands(sum, w.isOp(ops.TakeRows))
		rows := w.def(entry, ops.TakeRows)
		phase := w.def(rows.Args[1], ops.IndexMap)
		w.input(phase.Args[0], "position")
		table := w.weight(rows.Args[0])
		ratio := w.size(rows.Args[0], 0)
		w.shaped(rows.Args[0], p.N)
		if w.failed() {
			return
		}
		w.formula(phase.Result, phase.Attr.(ops.IndexMapAttr).To, ir.Sym("i").Mod(int64(ratio)))
		if !w.failed() {
			p.Table, p.Ratio, v = table, ratio, sum.Result
		}
	})
	v = w.finishOf(p, v)
	w.try(func() {
		n := w.only(v, ops.Append)
		opened := w.def(n.Args[0], ops.State)
		w.input(n.Args[1], "slot")
		w.input(n.Args[2], "position")
		if !w.failed() {
			p.Append, v = opened.Symbol, n.Result
		}
	})
	return v
}

// finishOf follows a product into vectors that are rotated, transformed or
// rounded. A norm of the product is not among it: it would need all of a row
// before any of the result.
func (w *walk) finishOf(p *Product, v *ir.Value) *ir.Value {
	result := v
	w.try(func() {
		end, heads := v, 1
		if n := w.next(v, ops.Reshape); n != nil {
			end, heads = n.Result, w.size(n.Result, 1)
			w.shaped(end, heads, p.N/max(heads, 1))
		}
		cut := end
		for {
			n := w.next(end, ops.Rope, ops.Hadamard, ops.RoundTo)
			if n == nil {
				break
			}
			end = n.Result
		}
		f, x, positions := w.postprocess(end)
		w.check(end != cut && x == cut, end, "expected a finished vector")
		w.check(positions == nil || isInput(positions, "position"), end, "expected the rows' position")
		if !w.failed() {
			p.Heads, p.Postprocess, result = heads, &f, end
		}
	})
	return result
}
