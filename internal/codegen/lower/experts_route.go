package lower

import (
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// router chooses a row's experts within one SIMD group: each lane holds the
// keys of experts lane, lane+32 ...
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

// chosen are a row's experts, ascending, and their weights: lane l of every SIMD group
// that chooses holds choice l, and l+32 ... if there are more. Lanes beyond the last hold
// what nobody reads.
type chosen struct {
	k            int
	ids, weights []*kernel.Expr
}

// each calls f in the lane that holds it with each choice.
func (r *router) each(c chosen, f func(k, id, weight *kernel.Expr)) {
	lanes := r.Schedule().SimdWidth
	for j := range c.ids {
		k := kernel.Lane().Add(i32(j * lanes))
		r.guard(nil, k.Lt(i32(c.k)), (j+1)*lanes > c.k, func() { f(k, c.ids[j], c.weights[j]) })
	}
}

// route chooses a row's experts by the keys that keyOf gives, which key made.
func (r *router) route(row *kernel.Expr, keyOf func(id *kernel.Expr) *kernel.Expr) chosen {
	var ids []*kernel.Expr
	if r.table != nil {
		token := r.token(row)
		for k := range r.e.K {
			ids = append(ids, r.Let("id", r.table(token.Mul(i32(r.e.K)).Add(i32(k)))))
		}
	} else {
		ids = r.byKey(keyOf)
	}
	return r.weigh(row, r.ascending(ids))
}

// weigh makes the weights of experts that every lane has: scores without the bias, made to
// add up to the scale.
func (r *router) weigh(row *kernel.Expr, ids []*kernel.Expr) chosen {
	c, lanes := chosen{k: len(ids)}, r.Schedule().SimdWidth
	r.Comment("their weights: scores without the bias, made to add up to %v; a lane has one", r.e.Scale)
	var scores []*kernel.Expr
	for first := 0; first < c.k; first += lanes {
		id := r.Let("choice", nth(kernel.Lane(), ids[first:min(first+lanes, c.k)]))
		c.ids = append(c.ids, id)
		scores = append(scores, r.Let("score", score(r.logits.At(row.Mul(i32(r.e.Experts)).Add(id)))))
	}
	total := scores[0].Shuffle(i32(0))
	for k := 1; k < c.k; k++ {
		total = total.Add(scores[k/lanes].Shuffle(i32(k % lanes)))
	}
	sum := r.Let("score_sum", total)
	for _, s := range scores {
		c.weights = append(c.weights, r.Let("weight", s.Div(sum).Mul(f32(r.e.Scale))))
	}
	return c
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

// key orders a row's experts by score plus bias: a better one has a larger key, NaN the
// least. It is 1 or more, so that 0 is none.
func (r *router) key(row, id *kernel.Expr) *kernel.Expr {
	s := score(r.logits.At(row.Mul(i32(r.e.Experts)).Add(id)))
	if r.bias != nil {
		s = s.Add(r.bias.At(id))
	}
	return r.Let("key", r.orderKey(r.Let("biased", s)).Add(kernel.U(1)))
}

// byKey picks the K best: K rounds of the largest over the lanes, the lower id first
// among equals.
func (r *router) byKey(keyOf func(id *kernel.Expr) *kernel.Expr) []*kernel.Expr {
	lanes := r.Schedule().SimdWidth
	keys := r.Vars("key", (r.e.Experts+lanes-1)/lanes, kernel.U(0))
	for j, key := range keys {
		id := kernel.Lane().Add(i32(j * lanes))
		r.guard(nil, id.Lt(i32(r.e.Experts)), (j+1)*lanes > r.e.Experts, func() { key.Set(keyOf(id)) })
	}
	var ids []*kernel.Expr
	for range r.e.K {
		ids = append(ids, r.best(keys))
	}
	return ids
}

// best takes the largest key that is left.
func (r *router) best(keys []kernel.Variable) *kernel.Expr {
	lanes := r.Schedule().SimdWidth
	top, at := keys[0].Expr, kernel.Lane()
	for j, key := range keys[1:] {
		better := r.Let("better", key.Gt(top))
		top, at = r.Let("top", better.Select(key.Expr, top)), r.Let("at", better.Select(kernel.Lane().Add(i32((j+1)*lanes)), at))
	}
	most := r.Let("most", top.SimdMax())
	id := r.Let("id", top.Eq(most).Select(at, i32(math.MaxInt32)).SimdMin())
	for j, key := range keys {
		key.Set(id.Eq(kernel.Lane().Add(i32(j*lanes))).Select(kernel.U(0), key.Expr))
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

// store writes ids and weights where others need them.
func (r *router) store(row *kernel.Expr, c chosen) {
	if r.ids == nil && r.weights == nil {
		return
	}
	r.each(c, func(k, id, weight *kernel.Expr) {
		at := row.Mul(i32(r.e.K)).Add(k)
		if r.ids != nil {
			r.ids.Set(at, id)
		}
		if r.weights != nil {
			r.weights.Set(at, weight)
		}
	})
}
