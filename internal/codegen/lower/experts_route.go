package lower

import (
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// router chooses a row's experts within one SIMD group: each lane holds the
// scores of experts lane, lane+32 ...
type router struct {
	*emitter
	e       *fusion.Experts
	logits  kernel.Buffer
	bias    *vector
	table   func(i *kernel.Expr) *kernel.Expr // hash routing: expert ids by token
	ids     *kernel.Buffer
	weights *kernel.Buffer
}

// router binds what routing reads, and writes where others need it.
func (u *emitter) router(e *fusion.Experts) *router {
	r := &router{emitter: u, e: e, logits: u.activation("logits", e.Logits, kernel.Read)}
	switch {
	case e.Table != "":
		r.table = u.integers("experts_of", e.Table, e.Logits.Type.Shape[0])
	case e.Bias != "":
		b := u.vector("bias", e.Bias)
		r.bias = &b
	}
	if u.in.yields(e.IDs) {
		b := u.activation("ids", e.IDs, kernel.Write)
		r.ids = &b
	}
	if u.in.yields(e.Weights) {
		b := u.activation("weights", e.Weights, kernel.Write)
		r.weights = &b
	}
	return r
}

// integers reads a parameter of integers, row-major, as i32: the low four
// bytes of each. A step needs so many of its rows.
func (u *emitter) integers(name, param string, rows ir.Expr) func(i *kernel.Expr) *kernel.Expr {
	zero := func(*kernel.Expr) *kernel.Expr { return i32(0) }
	p, err := u.in.Params.Get(param)
	if err != nil {
		u.fail("%w", err)
		return zero
	}
	size, ok := p.Integer.Size()
	if p.Encoding != nil || !ok || len(p.Pieces) != 1 || !u.wholeRows(p) {
		u.fail("parameter @%s: kernels read it as integers in one piece", param)
		return zero
	}
	first := p.Pieces[0].StoredFirst * p.Cols
	plane := u.weightPlane(name, param, encoding.Weight, kernel.Of(kernel.U8))
	u.accesses(rows.Mul(ir.Const(int64(size * p.Cols))))
	return func(i *kernel.Expr) *kernel.Expr {
		var bits *kernel.Expr
		at := i.Add(i32(first)).Mul(i32(size))
		for b := range min(size, 4) {
			part := plane.At(at.Add(i32(b))).To(kernel.U32).Shl(kernel.U(uint32(8 * b)))
			if bits == nil {
				bits = part
			} else {
				bits = bits.Or(part)
			}
		}
		return bits.As(kernel.I32)
	}
}

// route returns the row's experts, ascending, and their weights; every lane of
// every SIMD group has them.
func (r *router) route(row *kernel.Expr) (ids, weights []*kernel.Expr) {
	chosen := r.byScore(row)
	if r.table != nil {
		chosen = nil
		token := r.token(row)
		for k := range r.e.K {
			chosen = append(chosen, r.Let("id", r.table(token.Mul(i32(r.e.K)).Add(i32(k)))))
		}
	}
	ids = r.ascending(chosen)
	r.Comment("their weights: scores without the bias, made to add up to %v", r.e.Scale)
	var scores []*kernel.Expr
	total := f32(0)
	for k, id := range ids {
		s := r.Let("score", score(r.logits.At(row.Mul(i32(r.e.Experts)).Add(id))))
		scores = append(scores, s)
		if k == 0 {
			total = s
		} else {
			total = total.Add(s)
		}
	}
	sum := r.Let("score_sum", total)
	for _, s := range scores {
		weights = append(weights, r.Let("weight", s.Div(sum).Mul(f32(r.e.Scale))))
	}
	return ids, weights
}

// score is sqrt(softplus(x)).
func score(x *kernel.Expr) *kernel.Expr {
	e := x.Abs().Neg().Exp()
	return x.Max(f32(0)).Add(log1p(e)).Sqrt()
}

// log1p is log(1+e) for e of 0 to 1: where 1+e would lose e's digits, the
// quotient puts them back.
func log1p(e *kernel.Expr) *kernel.Expr {
	one := f32(1).Add(e)
	return one.Eq(f32(1)).Select(e, one.Log().Mul(e.Div(one.Sub(f32(1)))))
}

// byScore picks the K best by score plus bias: K rounds of the largest over
// the lanes, the lower id first among equals. Hash routing needs none.
func (r *router) byScore(row *kernel.Expr) []*kernel.Expr {
	if r.table != nil {
		return nil
	}
	lanes := r.Schedule().SimdWidth
	each := (r.e.Experts + lanes - 1) / lanes
	key := make([]kernel.Variable, each)
	for j := range key {
		id := kernel.Lane().Add(i32(j * lanes))
		key[j] = r.Var("key", f32(math.Inf(-1)))
		load := func() {
			s := score(r.logits.At(row.Mul(i32(r.e.Experts)).Add(id)))
			if r.bias != nil {
				s = s.Add(r.bias.At(id))
			}
			key[j].Set(s)
		}
		if (j+1)*lanes <= r.e.Experts {
			load()
		} else {
			r.If(id.Lt(i32(r.e.Experts)), load, nil)
		}
	}
	taken := r.Vars("taken", each, kernel.C(kernel.Bool, 0))
	var chosen []*kernel.Expr
	for range r.e.K {
		chosen = append(chosen, r.best(key, taken))
	}
	return chosen
}

// best takes the largest key that is left. NaN counts as the smallest.
func (r *router) best(key, taken []kernel.Variable) *kernel.Expr {
	lanes := r.Schedule().SimdWidth
	none := i32(math.MaxInt32)
	top, at := r.Var("top", f32(math.Inf(-1))), r.Var("at", none)
	for j := range key {
		id := kernel.Lane().Add(i32(j * lanes))
		free := taken[j].Not().And(id.Lt(i32(r.e.Experts)))
		better := free.And(key[j].Gt(top.Expr).Or(at.Eq(none)))
		r.If(better, func() {
			top.Set(key[j].Eq(key[j].Expr).Select(key[j].Expr, f32(math.Inf(-1))))
			at.Set(id)
		}, nil)
	}
	most := r.Let("most", at.Eq(none).Select(f32(math.Inf(-1)), top.Expr).SimdMax())
	id := r.Let("id", at.Eq(none).Or(top.Lt(most)).Select(none, at.Expr).SimdMin())
	for j := range taken {
		taken[j].Set(taken[j].Or(id.Eq(kernel.Lane().Add(i32(j * lanes)))))
	}
	return id
}

// ascending sorts a few ids that every lane has, by counting.
func (r *router) ascending(ids []*kernel.Expr) []*kernel.Expr {
	rank := make([]*kernel.Expr, len(ids))
	for i, a := range ids {
		n := i32(0)
		for j, b := range ids {
			switch {
			case j < i:
				n = n.Add(b.Le(a).Select(i32(1), i32(0)))
			case j > i:
				n = n.Add(b.Lt(a).Select(i32(1), i32(0)))
			}
		}
		rank[i] = r.Let("rank", n)
	}
	sorted := make([]*kernel.Expr, len(ids))
	for k := range sorted {
		v := ids[len(ids)-1]
		for i := len(ids) - 2; i >= 0; i-- {
			v = rank[i].Eq(i32(k)).Select(ids[i], v)
		}
		sorted[k] = r.Let("sorted", v)
	}
	return sorted
}

// store writes ids and weights where others need them; one thread calls it.
func (r *router) store(row *kernel.Expr, ids, weights []*kernel.Expr) {
	for k := range ids {
		at := row.Mul(i32(r.e.K)).Add(i32(k))
		if r.ids != nil {
			r.ids.Set(at, ids[k])
		}
		if r.weights != nil {
			r.weights.Set(at, weights[k])
		}
	}
}
