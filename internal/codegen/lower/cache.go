package lower

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// cacheGroups is how many vectors a threadgroup finishes, a SIMD group each.
const cacheGroups = 4

// cacheEntry is an entry with what its part of the launch binds. Its
// threadgroups follow those of the entries before it; a job is one vector.
type cacheEntry struct {
	*fusion.Entry
	u      *emitter
	number int
	symbol string // number of jobs
	groups int    // SIMD groups of the launch
	share  int    // of them have one vector, which the first finishes
	pool   poolPlan
	x      kernel.Buffer
	values *cacheRows
	scores *cacheRows
	state  *cacheRows
}

// lowerCache makes one launch of all entries of a region.
func lowerCache(in *Input, c *fusion.Cache) ([]program.Launch, error) {
	groups := in.cacheGroups(c)
	s := kernel.Schedule{Threads: groups * in.Target.SimdWidth, Settings: []kernel.Setting{
		{Name: "vectors per threadgroup", Value: fmt.Sprint(in.Target.Groups(cacheGroups)), Why: "a SIMD group holds one in registers; norm, rotation and rounding need no threadgroup memory"},
	}}
	s.Settings = append(s.Settings, in.poolSettings(c)...)
	u := in.begin(in.kernelName(""), s, in.doc("finishes vectors and appends them to caches, a SIMD group each")...)
	var entries []*cacheEntry
	grid := ir.Const(0)
	for i := range c.Entries {
		e, err := u.cacheEntry(&c.Entries[i], i, groups)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
		grid = grid.Add(ceilDiv(ir.Sym(e.symbol), e.jobs()))
	}
	u.dealEntries(kernel.Group(0), entries)
	launch, err := u.launch("", grid)
	return []program.Launch{launch}, err
}

// cacheEntry binds what an entry needs.
func (u *emitter) cacheEntry(e *fusion.Entry, number, groups int) (*cacheEntry, error) {
	out := &cacheEntry{Entry: e, u: u, number: number, groups: groups, share: groups / min(groups, u.in.Target.Groups(cacheGroups))}
	if e.Width < 4 || e.Width%4 != 0 {
		return nil, fmt.Errorf("entries of %d elements for state @%s; kernels need a multiple of 4", e.Width, e.State)
	}
	var err error
	if p := e.Pool; p != nil {
		if out.symbol, err = u.in.closingSymbol(p.Ratio); err != nil {
			return nil, err
		}
		out.pool = u.in.planPool(e)
		out.share = out.pool.groups()
		pooled := ir.Sym(out.symbol).Mul(ir.Const(int64(pooledTokens(p) * e.Width * 4)))
		out.values = u.cacheRows("values", p.Values, kernel.Read)
		u.accesses(pooled)
		out.scores = u.cacheRows("scores", p.Scores, kernel.Read)
		u.accesses(pooled)
	} else {
		if out.symbol, err = rowsSymbol(e.X); err != nil {
			return nil, err
		}
		out.x = u.activation4("x", e.X, kernel.Read)
	}
	out.state = u.cacheRows("cache", e.State, kernel.Write)
	u.accesses(ir.Sym(out.symbol).Mul(ir.Const(int64(out.state.cache.Row.Bytes))))
	if n := out.state.cache.Row.Width; n != e.Width && u.err == nil {
		return nil, fmt.Errorf("entries of %d elements for state @%s, whose rows have %d", e.Width, e.State, n)
	}
	return out, nil
}

// closingSymbol is the symbol of the number of rows that close a block.
func (in *Input) closingSymbol(ratio int) (string, error) {
	for _, s := range in.Module.Symbols {
		if s.Def == ir.Closing && int(s.Arg) == ratio {
			return s.Name, nil
		}
	}
	return "", fmt.Errorf("the module declares no symbol closing(%d)", ratio)
}

// jobs is how many vectors a threadgroup makes.
func (e *cacheEntry) jobs() int { return e.groups / e.share }

// pooledTokens is how many a pooled vector is made of, at most.
func pooledTokens(p *fusion.Pool) int {
	if p.Overlap {
		return 2 * p.Ratio
	}
	return p.Ratio
}

// dealEntries deals threadgroups out to the entries.
func (u *emitter) dealEntries(group *kernel.Expr, entries []*cacheEntry) {
	e := entries[0]
	if len(entries) == 1 {
		e.work(group)
		return
	}
	groups := u.Let("groups", u.StepValue(e.symbol).Add(i32(e.jobs()-1)).Div(i32(e.jobs())))
	u.If(group.Lt(groups), func() { e.work(group) }, func() {
		u.dealEntries(u.Let("group", group.Sub(groups)), entries[1:])
	})
}

// work makes the vectors of one threadgroup.
func (e *cacheEntry) work(group *kernel.Expr) {
	u := e.u
	kind := "each row's vector"
	if e.Pool != nil {
		kind = fmt.Sprintf("a vector for each row that closes a block of %d", e.Pool.Ratio)
	}
	u.Comment("entry %d: %s", e.number, kind)
	job := u.Let("job", group.Mul(i32(e.jobs())).Add(kernel.Simd().Div(i32(e.share))))
	live := job.Lt(u.StepValue(e.symbol))
	switch {
	case e.Pool == nil:
		if e.share > 1 {
			live = live.And(kernel.Simd().Rem(i32(e.share)).Eq(i32(0)))
		}
		u.If(live, func() {
			v := u.loadChunks(e.Width, func(chunk *kernel.Expr) *kernel.Expr {
				return e.x.At(job.Mul(i32(e.Width / 4)).Add(chunk))
			})
			e.postprocess(v, job, job)
		}, nil)
	case e.pool.shares > 0:
		e.workByTokens(job, live)
	case !e.chunkByChunk():
		u.If(live, func() {
			b := e.block(job)
			v := u.loadChunks(e.Width, b.pool)
			e.postprocess(v, job, b.row)
		}, nil)
	default:
		e.workByChunks(job, live)
	}
}

// chunkByChunk reports whether a SIMD group pools one chunk of its lanes after the
// other. Registers that are vectors hold no more than that, and a loop takes
// a quarter of the code.
func (e *cacheEntry) chunkByChunk() bool { return e.Width/4 > e.u.Schedule().SimdWidth }

// workByChunks pools each vector by chunks.
func (e *cacheEntry) workByChunks(job, live *kernel.Expr) {
	u, lanes := e.u, e.u.Schedule().SimdWidth
	chunks := e.Width / 4
	pooled := u.SharedArray("pooled", kernel.F32, e.jobs()*e.Width)
	part := u.Let("part", kernel.Simd().Rem(i32(e.share)))
	first := u.Let("pooled_at", kernel.Simd().Div(i32(e.share)).Mul(i32(e.Width)))
	u.If(live, func() {
		b := e.block(job)
		u.For("chunk", part.Mul(i32(lanes)).Add(kernel.Lane()), i32(chunks), i32(e.share*lanes), func(chunk *kernel.Expr) {
			e.keep(pooled, first, chunk, b.pool(chunk))
		})
	}, nil)
	u.Barrier()
	e.finish(pooled, first, job, live.And(part.Eq(i32(0))))
}

// keep stores a pooled chunk.
func (e *cacheEntry) keep(pooled kernel.Array, first, chunk, mean *kernel.Expr) {
	x := lanesOf(e.u.Let("mean", mean))
	at := e.u.Let("to", first.Add(chunk.Mul(i32(4))))
	for n := range x {
		pooled.Set(at.Add(i32(n)), x[n])
	}
}

// finish makes entries of pooled vectors.
func (e *cacheEntry) finish(pooled kernel.Array, first, job, live *kernel.Expr) {
	u := e.u
	u.If(live, func() {
		v := u.loadVector(e.Width, func(i *kernel.Expr) *kernel.Expr { return pooled.At(first.Add(i)) })
		e.postprocess(v, job, u.Let("closing_row", u.StepAt(program.ClosingField(e.Pool.Ratio), job)))
	}, nil)
}

// postprocess makes the vector of a job and appends it; row is the step's row it
// belongs to.
func (e *cacheEntry) postprocess(v laneVector, job, row *kernel.Expr) {
	u, ratio := e.u, 0
	index := u.StepAt("position", row)
	if e.Pool != nil {
		ratio = e.Pool.Ratio
		index = index.Div(i32(ratio))
	}
	f := e.Postprocess
	if e.state.rounds(f.Round) {
		f.Round = nil
	}
	u.postprocess(v, e.Width, &f, job, ratio)
	u.Comment("append")
	e.state.store(e.state.row(u.StepAt("slot", row), index), v)
}

// tokenBlock is the tokens that one pooled vector is made of.
type tokenBlock struct {
	e            *cacheEntry
	row          *kernel.Expr // of the step, that closes the block
	slot         *kernel.Expr
	first, after *kernel.Expr // positions
}

func (e *cacheEntry) block(job *kernel.Expr) tokenBlock {
	u := e.u
	b := tokenBlock{e: e, row: u.Let("row", u.StepAt(program.ClosingField(e.Pool.Ratio), job))}
	b.slot = u.Let("slot", u.StepAt("slot", b.row))
	b.after = u.Let("after", u.StepAt("position", b.row).Add(i32(1)))
	first := b.after.Sub(i32(pooledTokens(e.Pool)))
	if e.Pool.Overlap {
		first = first.Max(i32(0)) // the first block has none before it
	}
	b.first = u.Let("first", first)
	return b
}

// pool is a chunk of the tokens' values, each channel weighted by the softmax
// of its scores over the tokens, which are taken in ascending order.
func (b tokenBlock) pool(chunk *kernel.Expr) *kernel.Expr {
	u := b.e.u
	top := u.Var("top", splat(f32(math.Inf(-1))))
	u.For("token", b.first, b.after, i32(1), func(token *kernel.Expr) {
		top.Set(top.Max(b.read(b.e.scores, token, chunk)))
	})
	sum, acc := u.Var("sum", splat(f32(0))), u.Var("accs", splat(f32(0)))
	u.For("token", b.first, b.after, i32(1), func(token *kernel.Expr) {
		weight := u.Let("weight", b.read(b.e.scores, token, chunk).Sub(top.Expr).Exp())
		sum.Set(sum.Add(weight))
		acc.Set(weight.Fma(b.read(b.e.values, token, chunk), acc.Expr))
	})
	return acc.Div(sum.Expr)
}

// read is a chunk of a token's row. With overlap the block's own tokens give
// the second half of their channels, those before it the first.
func (b tokenBlock) read(rows *cacheRows, token, chunk *kernel.Expr) *kernel.Expr {
	if b.e.Pool.Overlap {
		own := token.Ge(b.after.Sub(i32(b.e.Pool.Ratio)))
		chunk = b.e.u.Let("chunk", chunk.Add(own.Select(i32(b.e.Width/4), i32(0))))
	}
	return rows.load(rows.row(b.slot, token), chunk.Mul(i32(4)))
}
