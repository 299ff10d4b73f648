package fusion

import (
	"slices"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Hyper is a step of the hyper-connections (docs/model.md#residual-streams): it writes a
// half block's result into the residual streams and reads the next half block's
// input from them:
//
//	after[k] = Post[k]*y + sum_j Comb[j,k] Before[j]
//	Next: z = rms(flatten(after)) . Fn, pre/post/comb from z, x = norm(sum_k pre[k] after[k])
//
// Without a Source, after is given (After): the streams of the rows taken.
type Hyper struct {
	Streams, Width int
	Source         Source
	Before         *ir.Value  // [R, Streams, Width]; nil with Embed or Take
	Post           *ir.Value  // [R, Streams]
	Comb           *ir.Value  // [R, Streams, Streams]
	After          *ir.Value  // [R, Streams, Width]; a result unless Take
	Next           *HyperNext // nil after the last layer's last half block
}

// Source says how y is made; exactly one of its fields is set.
type Source struct {
	Embed   *EmbedSource
	Project *ProjectSource
	Experts *ExpertsSource
	Take    *TakeSource
}

// EmbedSource: every stream is the token's row of Table.
type EmbedSource struct{ Table string }

// ProjectSource: y = X . Weight.
type ProjectSource struct {
	X      *ir.Value
	Weight string
}

// ExpertsSource: y = sum_e Mid[e] . Down[IDs[e]] + Shared . SharedDown.
type ExpertsSource struct {
	Mid, IDs   *ir.Value // [R, E, F], [R, E]
	Down       string    // [experts, Width, F]
	Shared     *ir.Value // [R, F]
	SharedDown string
}

// TakeSource: the streams of the wanted rows of Streams [T, ...].
type TakeSource struct{ Streams, Rows *ir.Value }

// HyperNext reads one vector from the streams. Head: only weights pre, no post
// and comb.
type HyperNext struct {
	Fn, Scale, Base string // parameters
	FnEps           float64
	HCEps           float64
	PostScale       float64
	Iters           int // Sinkhorn; with Head 0
	Head            bool
	Norm            Norm
	X               *ir.Value // [R, Width]
	Post, Comb      *ir.Value // nil with Head
}

// KindHyper is the kind of region that Hyper views.
var KindHyper = &Pattern[Hyper]{
	Row: Row{
		Name: "hyper",
		Pass: "fuse-hyper",
		Doc:  "hyper-connections: write one half block's result, read the next one's input",
		Before: []Order{
			{"fuse-linear", "the norm of a half block's input and the products of streams belong to the hyper-connections"},
		},
	},
	begin: hyperAt, results: hyperResults, name: hyperName,
}

const (
	writeSpec = "tjk,tjd->tkd" // comb, streams: comb acts transposed
	readSpec  = "tk,tkd->td"   // pre, streams
)

func hyperResults(m *Hyper) []*ir.Value {
	var out []*ir.Value
	if m.Source.Take == nil {
		out = append(out, m.After)
	}
	if m.Next != nil {
		out = append(out, m.Next.X, m.Next.Post, m.Next.Comb)
	}
	return out
}

func hyperName(m *Hyper) string {
	s := &m.Source
	switch {
	case s.Embed != nil:
		return regionName("hyper", nil, s.Embed.Table)
	case s.Project != nil:
		return regionName("hyper", s.Project.X, s.Project.Weight)
	case s.Experts != nil:
		return regionName("hyper", nil, s.Experts.Down, s.Experts.SharedDown)
	}
	return regionName("hyper", nil, m.Next.Fn, m.Next.Scale, m.Next.Base)
}

// hyperAt walks from the streams as they are afterwards: the token's row
// repeated, rows taken, or a sum of what is written and what stays.
func hyperAt(w *walk, n *ir.Node) *Hyper {
	if n.Result.Type.Rank() != 3 {
		return nil
	}
	m := &Hyper{After: n.Result}
	switch {
	case n.Op == ops.Broadcast:
		w.take(n)
		m.Source.Embed = w.embed(n)
	case n.Op == ops.TakeRows && !w.is(n.Args[0], ops.Dequantize):
		w.take(n)
		m.Source.Take = &TakeSource{Streams: n.Args[0], Rows: n.Args[1]}
	case n.Op == ops.Add && (w.isWriteBack(n.Args[0]) || w.isWriteBack(n.Args[1])):
		w.take(n)
		w.writeBack(m, n)
	default:
		return nil
	}
	m.Streams, m.Width = w.size(m.After, 1), w.size(m.After, 2)
	m.Next = w.hyperNext(m)
	w.check(m.Next != nil || m.Source.Take == nil, m.After, "rows of streams are taken, but nothing is read from them")
	return m
}

func (w *walk) embed(broadcast *ir.Node) *EmbedSource {
	one := w.def(broadcast.Args[0], ops.Reshape)
	rows := w.def(one.Args[0], ops.TakeRows)
	w.check(w.size(one.Result, 1) == 1, one.Result, "expected one row for each token")
	w.input(rows.Args[1], "token")
	return &EmbedSource{Table: w.weight(rows.Args[0])}
}

func (w *walk) isWriteBack(v *ir.Value) bool { return w.is(v, ops.Einsum) && hasSpec(v.Def, writeSpec) }

// writeBack is after = post y + comb before.
func (w *walk) writeBack(m *Hyper, sum *ir.Node) {
	kept, written := w.operands(sum, w.isWriteBack)
	stay := w.def(kept, ops.Einsum)
	m.Comb, m.Before = stay.Args[0], stay.Args[1]
	w.check(slices.EqualFunc(m.Before.Type.Shape, m.After.Type.Shape, ir.Expr.Equal), m.Before, "expected streams shaped %s", m.After.Type)

	outer := w.def(written, ops.Mul)
	narrow := func(v *ir.Value) bool {
		return v.Type.Rank() == 3 && v.Type.Shape[2].Equal(ir.Const(1))
	}
	post, y := w.operands(outer, narrow)
	m.Post = w.def(post, ops.Reshape).Args[0]
	w.shaped(m.Post, w.size(m.After, 1))
	one := w.def(y, ops.Reshape)
	w.shaped(one.Result, 1, w.size(m.After, 2))
	w.shaped(one.Args[0], w.size(m.After, 2))
	w.source(m, one.Args[0])
}

// source finds what makes y: one product, or the experts' down projections.
func (w *walk) source(m *Hyper, y *ir.Value) {
	if w.is(y, ops.Matmul) {
		n := w.def(y, ops.Matmul)
		m.Source.Project = &ProjectSource{X: n.Args[0], Weight: w.weight(n.Args[1])}
		return
	}
	routed, shared := w.operands(w.def(y, ops.Add), w.isOp(ops.ReduceSum))
	sum := w.def(routed, ops.ReduceSum)
	w.along(sum, 1)
	down := w.def(sum.Args[0], ops.ExpertMatmul)
	w.check(down.Args[0].Type.Rank() == 3, down.Result, "expected a vector for each expert")
	n := w.def(shared, ops.Matmul)
	m.Source.Experts = &ExpertsSource{
		Mid: down.Args[0], IDs: down.Args[1], Down: w.weight(down.Args[2]),
		Shared: n.Args[0], SharedDown: w.weight(n.Args[1]),
	}
}

// hyperNext reads from the streams; nil if nothing in the scope does.
func (w *walk) hyperNext(m *Hyper) *HyperNext {
	var collapse *ir.Node
	for _, u := range w.scope.uses[m.After] {
		if w.scope.in[u] && hasSpec(u, readSpec) && u.Args[1] == m.After {
			collapse = u
		}
	}
	if collapse == nil || w.failed() {
		return nil
	}
	w.take(collapse)
	next := &HyperNext{}
	rms := w.only(collapse.Result, ops.RMSNorm)
	weighed := w.only(rms.Result, ops.Mul)
	factor, _ := w.operands(weighed, w.isWeight)
	next.X = weighed.Result
	next.Norm = Norm{Eps: rms.Attr.(ops.RMSNormAttr).Eps, Weight: w.vector(factor, m.Width)}

	pre := w.def(collapse.Args[0], ops.Offset)
	next.HCEps = pre.Attr.(ops.ByAttr).By
	first := w.def(pre.Args[0], ops.Sigmoid).Args[0]
	var z *ir.Value
	if next.Head = w.isWhole(first); next.Head {
		z = w.wholeLogits(next, first)
	} else {
		z = w.splitLogits(m, next, first)
	}
	w.flattened(m, next, z)
	return next
}

// flattened is z = rms(flatten(streams)) . fn.
func (w *walk) flattened(m *Hyper, next *HyperNext, z *ir.Value) {
	product := w.def(z, ops.Matmul)
	next.Fn = w.weight(product.Args[1])
	rms := w.def(product.Args[0], ops.RMSNorm)
	next.FnEps = rms.Attr.(ops.RMSNormAttr).Eps
	flat := w.def(rms.Args[0], ops.Reshape)
	w.check(flat.Args[0] == m.After, flat.Result, "expected the streams %s in one row", m.After.Ref())
	w.shaped(flat.Result, m.Streams*m.Width)
	width := m.Streams
	if !next.Head {
		width *= 2 + m.Streams
	}
	w.shaped(z, width)
}

// isWhole reports whether a linear form is of a whole product: z*scale + base
// with no slices.
func (w *walk) isWhole(v *ir.Value) bool {
	whole := false
	trial := &walk{scope: w.scope, taken: map[*ir.Node]bool{}}
	trial.try(func() {
		z, _, _ := trial.affine(v)
		whole = !trial.failed() && trial.is(z, ops.Matmul)
	})
	return whole
}

// affine is z*scale + base; each operation's operands may be swapped.
func (w *walk) affine(v *ir.Value) (z, scale, base *ir.Value) {
	scaled, base := w.operands(w.def(v, ops.Add), w.isOp(ops.Mul))
	scale, z = w.operands(w.def(scaled, ops.Mul), w.isWeight)
	return z, scale, base
}

// wholeLogits reads the head's form.
func (w *walk) wholeLogits(next *HyperNext, v *ir.Value) (z *ir.Value) {
	z, scale, base := w.affine(v)
	next.Scale, next.Base = w.vector(scale, 1), w.vector(base, w.size(z, -1))
	return z
}

// splitLogits reads the three parts of z; first is pre's.
func (w *walk) splitLogits(m *Hyper, next *HyperNext, first *ir.Value) (z *ir.Value) {
	n := m.Streams
	z = w.part(next, first, 0, 0, n)
	for _, u := range w.scope.uses[z] {
		if w.failed() || u.Op != ops.Slice || !w.scope.in[u] {
			continue
		}
		switch u.Attr.(ops.SliceAttr).From {
		case n:
			scale := w.chain(u.Result, ops.Mul, ops.Add, ops.Sigmoid, ops.Scale)
			next.PostScale, next.Post = scale.Attr.(ops.ByAttr).By, scale.Result
		case 2 * n:
			square := w.chain(u.Result, ops.Mul, ops.Add, ops.Reshape)
			w.shaped(square.Result, n, n)
			sink := w.only(square.Result, ops.Sinkhorn)
			next.Iters, next.Comb = sink.Attr.(ops.SinkhornAttr).Iters, sink.Result
			eps := sink.Attr.(ops.SinkhornAttr).Eps
			w.check(eps == next.HCEps, sink.Result, "expected the eps of pre, %v, is %v", next.HCEps, eps)
		}
	}
	w.check(next.Post != nil && next.Comb != nil, z, "expected parts for pre, post and comb")
	if w.failed() {
		return z
	}
	sigmoid := next.Post.Def.Args[0].Def
	square := next.Comb.Def.Args[0].Def
	for i, v := range []*ir.Value{sigmoid.Args[0], square.Args[0]} {
		of := w.part(next, v, i+1, (i+1)*n, []int{n, n * n}[i])
		w.check(of == z, v, "expected a part of %s", z.Ref())
	}
	return z
}

// part is slice(z) * slice(scale) + slice(base): scale's element i, and count
// elements of z and base. It returns z.
func (w *walk) part(next *HyperNext, v *ir.Value, i, from, count int) *ir.Value {
	z, scale, base := w.affine(v)
	cut := func(v *ir.Value, from, count int) *ir.Value {
		s := w.def(v, ops.Slice)
		a := s.Attr.(ops.SliceAttr)
		last := a.Axis == -1 || a.Axis == s.Args[0].Type.Rank()-1
		w.check(last && a.From == from && a.Count == count, s.Result, "expected elements [%d, %d)", from, from+count)
		return s.Args[0]
	}
	w.sameName(&next.Scale, scale, w.weight(cut(scale, i, 1)))
	w.sameName(&next.Base, base, w.weight(cut(base, from, count)))
	return cut(z, from, count)
}

// sameName sets a parameter's name, or requires it to be the one set before.
func (w *walk) sameName(name *string, v *ir.Value, got string) {
	w.check(*name == "" || *name == got, v, "expected parameter @%s, is @%s", *name, got)
	*name = got
}
