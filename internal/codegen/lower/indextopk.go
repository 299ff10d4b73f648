package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// lowerIndexTopK makes two launches: one scores the entries a row sees, chunk
// by chunk, and keeps the K best of each; the other picks the K best of those. On a
// GPU a launch between them thins out what many chunks leave.
// Rows that see K entries or fewer need no scores.
func lowerIndexTopK(in *Input, v *fusion.IndexTopK) ([]program.Launch, error) {
	c := chunking{size: decodeChunk, spread: decodeSpread}
	switch {
	case in.Phase == program.Prefill:
		c = chunking{size: prefillChunk}
	case in.Target.Vector == 0:
		c.spread = max(c.spread, spreadOverCores*in.Target.Cores)
		c.thin = thinBlock
	}
	for c.size < 2*v.K {
		c.size *= 2
	}
	for c.thin > 0 && c.thin < 2*v.K {
		c.thin *= 2
	}
	return in.indexTopK(v, c)
}

// chunking says how many entries a threadgroup scores: size, or where entries
// are fewer than spread chunks of that size, about a spread-th of them. With more than
// thin entries, blocks of thin candidates are thinned out (0: never). Which
// entries are chosen does not depend on any of it.
type chunking struct{ size, spread, thin int }

const (
	spreadOverCores = 3    // chunks for each core
	decodeChunk     = 1024 // larger chunks leave fewer candidates, smaller ones share the work better
	decodeSpread    = 64   // one row is to keep all cores busy
	prefillChunk    = 4096 // rows keep them busy, and every chunk of every row leaves K candidates in memory
)

func (in *Input) indexTopK(v *fusion.IndexTopK, c chunking) ([]program.Launch, error) {
	t, err := in.newIndexTopK(v, c)
	if err != nil {
		return nil, err
	}
	var launches []program.Launch
	for _, role := range []func() (program.Launch, error){t.score, t.thinOut, t.merge} {
		l, err := role()
		if err != nil {
			return nil, err
		}
		if l.Kernel != nil {
			launches = append(launches, l)
		}
	}
	return launches, nil
}

// indexTopK is a region with its schedule.
type indexTopK struct {
	*fusion.IndexTopK
	in    *Input
	rows  string // symbol
	reach string // symbol
	chunk chunking
	tile  tilePlan

	// Candidates of the chunks of each row, one after another, each chunk's in
	// ascending order of entries.
	keys   *program.Scratch // orderKey of the score, u32
	places *program.Scratch // of the entry in its chunk, u16

	// What thinned blocks of candidates leave, K each but the last; nil if none are.
	thinKeys, thinEntries *program.Scratch // u32, i32
}

func (in *Input) newIndexTopK(v *fusion.IndexTopK, c chunking) (*indexTopK, error) {
	t := &indexTopK{IndexTopK: v, in: in, chunk: c}
	if v.Dim%4 != 0 {
		return nil, fmt.Errorf("index keys of %d elements; kernels need a multiple of 4", v.Dim)
	}
	var err error
	if t.rows, err = rowsSymbol(v.Q); err != nil {
		return nil, err
	}
	if t.reach, err = in.symbol(ir.Reach); err != nil {
		return nil, err
	}
	if t.tile, err = t.planTile(); err != nil {
		return nil, err
	}
	n := ir.Sym(t.rows).Mul(t.most())
	t.keys = &program.Scratch{Name: "keys", Bytes: n.Mul(ir.Const(4))}
	t.places = &program.Scratch{Name: "places", Bytes: n.Mul(ir.Const(2))}
	if t.thins() {
		n := ir.Sym(t.rows).Mul(t.thinBlocks()).Mul(ir.Const(int64(4 * v.K)))
		t.thinKeys = &program.Scratch{Name: "thin_keys", Bytes: n}
		t.thinEntries = &program.Scratch{Name: "thin_entries", Bytes: n}
	}
	return t, nil
}

// most is how many candidates a row may have. Small chunks leave all their entries.
func (t *indexTopK) most() ir.Expr {
	if t.chunk.thin > 0 {
		return ir.Sym(t.reach).FloorDiv(int64(t.Ratio)).Add(ir.Const(int64(t.chunk.size)))
	}
	return t.chunks().Mul(ir.Const(int64(t.best())))
}

// entries is how many a step scores: decode rows are of different slots,
// prefill rows mostly of one.
func (t *indexTopK) entries() ir.Expr {
	longest := ir.Sym(t.reach).FloorDiv(int64(t.Ratio))
	if t.in.Phase == program.Prefill {
		return longest
	}
	return longest.Mul(ir.Sym(t.rows))
}

// scored is how many chunks there are of the step's longest row: none if it sees K entries or
// fewer.
func (t *indexTopK) scored() ir.Expr {
	longest := ir.Sym(t.reach).FloorDiv(int64(t.Ratio))
	chunks := ceilDiv(longest, t.chunk.size)
	if t.chunk.spread > 0 {
		chunks = atMost(ceilDiv(longest, t.tile.entries), t.chunk.spread).Add(longest.FloorDiv(int64(t.chunk.size)))
	}
	return atLeast(longest, t.K+1).Mul(chunks)
}

// best is the most candidates a chunk leaves.
func (t *indexTopK) best() int { return min(t.K, t.chunk.size) }

// chunks is the most that rows can have: spread of them, or more of the full size.
func (t *indexTopK) chunks() ir.Expr {
	return ir.Sym(t.reach).FloorDiv(int64(t.Ratio * t.chunk.size)).Add(ir.Const(int64(t.chunk.spread + 1)))
}

// indexRow holds a kernel's values for one row.
type indexRow struct {
	row, visible *kernel.Expr
	longest      *kernel.Expr // entries that the step's longest row sees
	chunk        *kernel.Expr // entries of a chunk
	best         *kernel.Expr // candidates that all chunks but the last leave
	candidates   *kernel.Expr // index of the row's first one
}

func (t *indexTopK) row(u *emitter, row *kernel.Expr) indexRow {
	r := indexRow{row: u.Let("row", row), chunk: i32(t.chunk.size), best: i32(t.best())}
	r.visible = u.Let("visible", u.StepAt("position", r.row).Add(i32(1)).Div(i32(t.Ratio)))
	longest := u.Let("longest", u.StepValue(t.reach).Div(i32(t.Ratio)))
	if t.chunk.spread > 0 {
		tile := t.tile.entries
		tiles := longest.Div(i32(t.chunk.spread * tile)).Add(i32(1))
		r.chunk = u.Let("chunk_size", tiles.Mul(i32(tile)).Min(i32(t.chunk.size)))
		r.best = u.Let("best", r.chunk.Min(i32(t.K)))
	}
	r.longest = longest
	if t.chunk.thin > 0 {
		r.candidates = u.Let("candidates", r.row.Mul(longest.Add(i32(t.chunk.size))))
		return r
	}
	chunks := longest.Div(i32(t.chunk.size)).Add(i32(t.chunk.spread + 1))
	r.candidates = u.Let("candidates", r.row.Mul(chunks).Mul(i32(t.best())))
	return r
}

// count is how many candidates a row has that sees more than K entries.
func (t *indexTopK) count(u *emitter, r indexRow) *kernel.Expr {
	full := u.Let("full_chunks", r.visible.Div(r.chunk))
	rest := r.visible.Rem(r.chunk).Min(r.best)
	return u.Let("candidates", full.Mul(r.best).Add(rest))
}

// entry is the entry of a row's candidate.
func (r indexRow) entry(places kernel.Buffer, i *kernel.Expr) *kernel.Expr {
	return i.Div(r.best).Mul(r.chunk).Add(places.At(r.candidates.Add(i)).To(kernel.I32))
}

// score leaves the candidates of a chunk, a threadgroup for each.
func (t *indexTopK) score() (program.Launch, error) {
	s := kernel.Schedule{Threads: t.tile.groups * t.in.Target.SimdWidth, Settings: t.settings()}
	u := t.in.begin(t.in.kernelName("score"), s, t.in.doc(fmt.Sprintf("scores a chunk of up to %d entries and keeps the %d best", t.chunk.size, t.best()))...)
	sc := t.scorer(u)
	keys := u.scratch("keys", t.keys, kernel.U32, kernel.Write)
	places := u.scratch("places", t.places, kernel.U16, kernel.Write)
	scores := u.SharedArray("scores", kernel.U32, t.chunk.size)
	chunk := u.Let("chunk", kernel.Group(0))
	r := t.row(u, kernel.Group(1))
	first := u.Let("first_entry", chunk.Mul(r.chunk))
	u.Comment("Rows that see %d entries or fewer take them all, without scores.", t.K)
	u.If(r.visible.Gt(i32(t.K)).And(first.Lt(r.visible)), func() {
		n := u.Let("entries", r.visible.Sub(first).Min(r.chunk))
		sc.run(r, first, n, func(i, score *kernel.Expr) { scores.Set(i, u.orderKey(score)) })
		u.Barrier()
		to := u.Let("to", r.candidates.Add(chunk.Mul(r.best)))
		emit := func(position, i, key *kernel.Expr) {
			keys.Set(to.Add(position), key)
			places.Set(to.Add(position), i.To(kernel.U16))
		}
		u.If(n.Le(i32(t.K)), func() {
			u.For("i", kernel.Thread(), n, i32(s.Threads), func(i *kernel.Expr) { emit(i, i, scores.At(i)) })
		}, func() {
			pick := &selection{u: u, n: n, most: t.chunk.size, k: i32(t.K), key: scores.At, emit: emit}
			pick.run()
		})
	}, nil)
	return u.launch("score", t.scored(), ir.Sym(t.rows))
}

func (t *indexTopK) settings() []kernel.Setting {
	chunk := kernel.Setting{Name: "chunk", Value: fmt.Sprintf("%d entries", t.chunk.size), Why: fmt.Sprintf("rows keep the machine busy; a chunk leaves %d candidates in memory", t.best())}
	if t.chunk.spread > 0 {
		chunk.Value += fmt.Sprintf(", less where they make fewer than %d chunks", t.chunk.spread)
		chunk.Why = "one row has to keep the machine busy"
	}
	return append([]kernel.Setting{chunk}, t.tile.settings()...)
}

// merge picks the K best of a row's candidates, one threadgroup for each row.
func (t *indexTopK) merge() (program.Launch, error) {
	width := t.in.Target.SimdWidth
	s := kernel.Schedule{Threads: min(t.in.Target.MaxThreads, width*width), Settings: []kernel.Setting{
		{Name: "threads", Value: "as many as go", Why: "one threadgroup counts all candidates of a row, several times"},
	}}
	if t.chunk.thin > 0 {
		s = t.thinSchedule()
	}
	u := t.in.begin(t.in.kernelName("merge"), s, t.in.doc(fmt.Sprintf("picks the %d best of the chunks' candidates, one threadgroup for each row", t.K))...)
	keys := u.scratch("keys", t.keys, kernel.U32, kernel.Read)
	places := u.scratch("places", t.places, kernel.U16, kernel.Read)
	thinned := t.bindThinned(u, kernel.Read)
	result := u.activation("result", t.Result, kernel.Write)
	r := t.row(u, kernel.Group(0))
	to := u.Let("to", r.row.Mul(i32(t.K)))
	u.If(r.visible.Le(i32(t.K)), func() {
		u.For("i", kernel.Thread(), i32(t.K), i32(s.Threads), func(i *kernel.Expr) {
			result.Set(to.Add(i), i.Lt(r.visible).Select(i, i32(-1)))
		})
	}, func() {
		c := candidates{count: t.count(u, r), key: func(i *kernel.Expr) *kernel.Expr { return keys.At(r.candidates.Add(i)) },
			entry: func(i *kernel.Expr) *kernel.Expr { return r.entry(places, i) }}
		thinned.pick(r, c, func(position, entry *kernel.Expr) { result.Set(to.Add(position), entry) })
	})
	return u.launch("merge", ir.Sym(t.rows))
}

// candidates are the entries that a selection chooses among.
type candidates struct {
	count *kernel.Expr
	key   func(i *kernel.Expr) *kernel.Expr // orderKey of the score
	entry func(i *kernel.Expr) *kernel.Expr
}
