package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/passes/fusion"
)

// On a GPU a block's tokens are shared out to SIMD groups: one that took 128 of
// them one after the other would wait for memory as often. A share has a softmax of its
// own, with the largest score it saw; shares are put together in ascending order.

// poolPlan is how a vector is pooled by several SIMD groups: for each share of the
// tokens as many as its channels fill.
type poolPlan struct {
	parts  int // of the channels
	shares int // of the tokens; 0: one SIMD group takes all tokens
}

// Bounds of schedules.
const (
	poolGroups   = 16 // SIMD groups of a threadgroup
	poolTogether = 2  // tokens that are asked for before the first is looked at
	lowest       = -3.4028234663852886e38
)

// groups is how many SIMD groups have one vector.
func (p poolPlan) groups() int { return max(1, p.parts*p.shares) }

// planPool: as many shares as there are tokens, SIMD groups and threadgroup memory for.
func (in *Input) planPool(e *fusion.Entry) poolPlan {
	if in.Target.Vector > 0 {
		return poolPlan{}
	}
	most, p := in.Target.Groups(poolGroups), poolPlan{parts: 1, shares: 1}
	for 2*p.parts <= most && p.parts*4*in.Target.SimdWidth < e.Width {
		p.parts *= 2
	}
	for 2*p.groups() <= most && 2*p.shares*poolTogether <= pooledTokens(e.Pool) && 4*(2*p.shares*poolValues+1)*e.Width <= in.Target.SharedMemory {
		p.shares *= 2
	}
	return p
}

// cacheGroups is the SIMD groups of a launch: what a pooled vector takes, and four at least.
func (in *Input) cacheGroups(c *fusion.Cache) int {
	n := in.Target.Groups(cacheGroups)
	for i := range c.Entries {
		if e := &c.Entries[i]; e.Pool != nil {
			n = max(n, in.planPool(e).groups())
		}
	}
	return n
}

func (in *Input) poolSettings(c *fusion.Cache) (out []kernel.Setting) {
	if in.Target.Vector > 0 {
		return []kernel.Setting{{Name: "channels per SIMD group that pools", Value: fmt.Sprint(4 * in.Target.SimdWidth), Why: "a block is long: the SIMD groups of a threadgroup share one vector's channels"}}
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		if e.Pool == nil {
			continue
		}
		p := in.planPool(e)
		out = append(out, kernel.Setting{Name: fmt.Sprintf("SIMD groups that pool a block of %d", e.Pool.Ratio), Value: fmt.Sprintf("%d by channels, %d by tokens", p.parts, p.shares),
			Why: "a token's row is far away: tokens are asked for beside each other"})
	}
	return out
}

// poolValues is what a share leaves of each channel: the largest score, the sum of
// exp(score-largest), and that of values by it.
const poolValues = 3

// pooler holds a kernel's values while it pools.
type pooler struct {
	*cacheEntry
	block  tokenBlock
	left   kernel.Array // [jobs, shares, poolValues, width]
	at     *kernel.Expr // the job's first element of left
	share  *kernel.Expr
	chunks func(body func(chunk *kernel.Expr)) // of the SIMD group's part of the channels
}

// workByTokens pools each vector by shares of its tokens.
func (e *cacheEntry) workByTokens(job, live *kernel.Expr) {
	u, lanes, plan := e.u, e.u.Schedule().SimdWidth, e.pool
	size := plan.shares * poolValues * e.Width
	p := &pooler{cacheEntry: e, left: u.SharedArray("shares", kernel.F32, e.jobs()*size)}
	pooled := u.SharedArray("pooled", kernel.F32, e.jobs()*e.Width)
	own := u.Let("vector", kernel.Simd().Div(i32(plan.groups())))
	part := u.Let("part", kernel.Simd().Rem(i32(plan.parts)))
	p.share = u.Let("share", kernel.Simd().Rem(i32(plan.groups())).Div(i32(plan.parts)))
	p.at = u.Let("shares_at", own.Mul(i32(size)))
	p.chunks = func(body func(chunk *kernel.Expr)) {
		u.For("chunk", part.Mul(i32(lanes)).Add(kernel.Lane()), i32(e.Width/4), i32(plan.parts*lanes), body)
	}
	u.If(live, func() {
		p.block = e.block(job)
		p.chunks(p.pool)
	}, nil)
	u.Barrier()
	first := u.Let("pooled_at", own.Mul(i32(e.Width)))
	u.If(live.And(p.share.Eq(i32(0))), func() {
		p.chunks(func(chunk *kernel.Expr) { e.keep(pooled, first, chunk, p.mean(chunk)) })
	}, nil)
	u.Barrier()
	e.finish(pooled, first, job, live.And(kernel.Simd().Rem(i32(plan.groups())).Eq(i32(0))))
}

// element is the index in left of element n of a chunk of a share's value.
func (p *pooler) element(share *kernel.Expr, value int, chunk *kernel.Expr, n int) *kernel.Expr {
	return p.at.Add(share.Mul(i32(poolValues)).Add(i32(value)).Mul(i32(p.Width))).Add(i32(n * p.Width / 4)).Add(chunk)
}

// pool goes through the share's tokens, some at a time.
func (p *pooler) pool(chunk *kernel.Expr) {
	u, b := p.u, p.block
	top, sum, acc := u.Var("top", splat(f32(lowest))), u.Var("sum", splat(f32(0))), u.Var("accs", splat(f32(0)))
	u.For("token", b.first.Add(p.share.Mul(i32(poolTogether))), b.after, i32(p.cacheEntry.pool.shares*poolTogether), func(first *kernel.Expr) {
		var there, scores, values []*kernel.Expr
		for n := range poolTogether {
			token := first.Add(i32(n))
			there = append(there, token.Lt(b.after))
			token = u.Let("token", token.Min(b.after.Sub(i32(1))))
			scores = append(scores, b.read(p.scores, token, chunk))
			values = append(values, b.read(p.values, token, chunk))
		}
		highest := top.Expr
		for n := range poolTogether {
			highest = highest.Max(scores[n])
		}
		highest = u.Let("highest", highest)
		shrink := u.Let("shrink", top.Sub(highest).Exp())
		sum.Set(sum.Mul(shrink))
		acc.Set(acc.Mul(shrink))
		top.Set(highest)
		for n := range poolTogether {
			weight := u.Let("weight", there[n].Select(scores[n].Sub(highest).Exp(), splat(f32(0))))
			sum.Set(sum.Add(weight))
			acc.Set(weight.Fma(values[n], acc.Expr))
		}
	})
	for value, v := range []kernel.Variable{top, sum, acc} {
		for n, x := range lanesOf(v.Expr) {
			p.left.Set(p.element(p.share, value, chunk, n), x)
		}
	}
}

// mean puts a chunk's shares together. One without a token has the lowest number as
// its largest score and sums of 0, which change no bit.
func (p *pooler) mean(chunk *kernel.Expr) *kernel.Expr {
	u := p.u
	each := func(body func(read func(value int) *kernel.Expr)) {
		u.For("of", i32(0), i32(p.cacheEntry.pool.shares), i32(1), func(share *kernel.Expr) {
			body(func(value int) *kernel.Expr {
				var x []*kernel.Expr
				for n := range 4 {
					x = append(x, p.left.At(p.element(share, value, chunk, n)))
				}
				return kernel.Vector(x...)
			})
		})
	}
	top, sum, acc := u.Var("top", splat(f32(lowest))), u.Var("sum", splat(f32(0))), u.Var("accs", splat(f32(0)))
	each(func(read func(value int) *kernel.Expr) { top.Set(top.Max(read(0))) })
	each(func(read func(value int) *kernel.Expr) {
		weight := u.Let("weight", read(0).Sub(top.Expr).Exp())
		sum.Set(weight.Fma(read(1), sum.Expr))
		acc.Set(weight.Fma(read(2), acc.Expr))
	})
	return acc.Div(sum.Expr)
}
