package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// Bounds of schedules.
const (
	mergeGroups   = 8 // SIMD groups that share a vector's splits
	mergeTogether = 4 // splits that a SIMD group asks for before it looks at the first
)

// mergeStaged combines the splits of each head: a threadgroup for the elements that
// the lanes of a SIMD group hold. Its SIMD groups take the splits in turns of a few,
// and their sums are added up in ascending order: by the row's own splits alone.
func (a *attention) mergeStaged() (program.Launch, error) {
	width := a.in.Target.SimdWidth
	groups, runs := a.in.Target.Groups(mergeGroups), a.staged.vectors
	u := a.in.begin(a.in.kernelName("merge"), kernel.Schedule{Threads: groups * width, Settings: []kernel.Setting{
		{Name: "SIMD groups", Value: fmt.Sprint(groups), Why: "they share a head's splits, of which long texts have many"},
		{Name: "splits at once", Value: fmt.Sprint(mergeTogether), Why: "they are under way before the first is looked at"},
	}}, a.in.doc("merges what attention got from each split of the keys, adds the sink and rotates back; a threadgroup for each head and run of elements")...)
	m := &merger{emitter: u, a: a, groups: groups}
	partials := u.vectors("partials", program.Arg{Scratch: a.partials}, kernel.Read)
	a.partialBytes(u)
	m.stats = u.scratch("stats", a.stats, kernel.F32, kernel.Read)
	sink := u.vector("sink", a.Sink)
	result := u.activation4("result", a.Result, kernel.Write)

	m.head = u.Let("head", kernel.Group(0).Div(i32(runs)))
	chunk := u.Let("chunk", kernel.Group(0).Rem(i32(runs)).Mul(i32(width)).Add(kernel.Lane()))
	m.k = a.rowKeys(u, u.Let("row", kernel.Group(1)))
	m.splits = a.splitCount(u)
	m.from = u.Let("from", m.k.first.Div(m.k.split))
	m.to = u.Let("to", m.k.end.Add(m.k.split).Sub(i32(1)).Div(m.k.split))
	m.weigh(u.Let("own", sink.At(m.head)))
	acc := m.add(partials, chunk)
	u.If(kernel.Simd().Eq(i32(0)).And(chunk.Lt(i32(a.Dim/4))), func() {
		v := u.Var("mean", acc().Div(splat(m.sum)))
		m.rotateBack(chunk, v)
		result.Set(a.vectorAt(m.k.row, m.head).Add(chunk), v.Expr)
	}, nil)
	return u.launch("merge", ir.Const(int64(a.Heads*runs)), ir.Sym(a.rows))
}

// merger is the kernel that merges splits.
type merger struct {
	*emitter
	a        *attention
	groups   int
	stats    kernel.Buffer
	head     *kernel.Expr
	k        rowKeys
	splits   *kernel.Expr
	from, to *kernel.Expr // splits that have a key of the row
	top, sum *kernel.Expr // over all splits and the sink
}

func (m *merger) part(split *kernel.Expr) *kernel.Expr {
	return m.a.part(m.k.row, m.splits, split, m.head)
}

// weigh finds the largest score and the sum of all weights; a lane looks at some
// splits. One without a key has top -inf and sum 0, which change no bit.
func (m *merger) weigh(own *kernel.Expr) {
	each := func(body func(part *kernel.Expr)) {
		m.For("split", m.from.Add(kernel.Lane()), m.to, i32(m.Schedule().SimdWidth), func(split *kernel.Expr) {
			body(m.Let("part", m.part(split).Mul(i32(2))))
		})
	}
	top := m.Var("top_of_lane", own)
	each(func(part *kernel.Expr) { top.Set(top.Max(m.stats.At(part))) })
	m.top = m.Let("top", top.SimdMax())
	sum := m.Var("sum_of_lane", f32(0))
	each(func(part *kernel.Expr) {
		sum.Set(m.stats.At(part).Sub(m.top).Exp().Fma(m.stats.At(part.Add(i32(1))), sum.Expr))
	})
	m.sum = m.Let("sum", sum.SimdSum().Add(own.Sub(m.top).Exp()))
}

// add sums the lane's elements of all splits up. The first SIMD group gets the sum.
func (m *merger) add(partials kernel.Buffer, chunk *kernel.Expr) func() *kernel.Expr {
	width := m.Schedule().SimdWidth
	mine := m.Let("mine", chunk.Min(i32(m.a.Dim/4-1)))
	acc := m.Var("acc", splat(f32(0)))
	m.For("split_at", m.from.Add(kernel.Simd().Mul(i32(mergeTogether))), m.to, i32(m.groups*mergeTogether), func(at *kernel.Expr) {
		var vs, weights []*kernel.Expr
		for n := range mergeTogether {
			split := at.Add(i32(n))
			part := m.Let("part", m.part(split.Min(m.to.Sub(i32(1)))))
			vs = append(vs, m.Let("values", partials.At(part.Mul(i32(m.a.Dim/4)).Add(mine))))
			weight := m.stats.At(part.Mul(i32(2))).Sub(m.top).Exp()
			if n > 0 {
				weight = split.Lt(m.to).Select(weight, f32(0))
			}
			weights = append(weights, m.Let("weight", weight))
		}
		for n := range vs {
			acc.Set(splat(weights[n]).Fma(vs[n], acc.Expr))
		}
	})
	if m.groups == 1 {
		return func() *kernel.Expr { return acc.Expr }
	}
	sums := m.SharedArray("sums", kernel.F32, m.groups*4*width)
	at := func(group *kernel.Expr, n int) *kernel.Expr {
		return group.Mul(i32(4 * width)).Add(i32(n * width)).Add(kernel.Lane())
	}
	for n, x := range lanesOf(acc.Expr) {
		sums.Set(at(kernel.Simd(), n), x)
	}
	m.Barrier()
	return func() *kernel.Expr {
		var x []*kernel.Expr
		for n := range 4 {
			sum := sums.At(at(i32(0), n))
			for g := 1; g < m.groups; g++ {
				sum = sum.Add(sums.At(at(i32(g), n)))
			}
			x = append(x, sum)
		}
		return kernel.Vector(x...)
	}
}

// rotateBack rotates the lane's chunk, if it is one of those that were rotated.
func (m *merger) rotateBack(chunk *kernel.Expr, v kernel.Variable) {
	rope := m.a.Rope
	if rope.Dims == 0 {
		return
	}
	m.Comment("rotary embedding")
	r := chunkRotation{u: m.emitter, table: m.rotation(rope, 0), at: m.Let("rope_at", m.k.row.Mul(i32(rope.Dims))), first: m.a.Dim - rope.Dims, back: !rope.Inverse}
	m.guard(nil, chunk.Ge(i32(r.first/4)), r.first >= 4, func() { r.apply(chunk, v) })
}
