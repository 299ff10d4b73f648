package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// Keys a decode threadgroup goes through. A row's keys are numbered alike
// whatever the step's other rows are, so a split holds the same keys always.
const (
	keysPerSplit    = 64  // with a list of entries: some hundred keys in all
	keysPerSplitAll = 128 // of window and all visible entries, which may be thousands: fewer partial results
)

// lowerAttention makes one launch, or where a decode step's keys are split, one
// that sums the values of each split and one that merges the partial sums (flash
// decoding, split-K).
func lowerAttention(in *Input, v *fusion.Attention) ([]program.Launch, error) {
	a, err := in.newAttention(v)
	if err != nil {
		return nil, err
	}
	attend, err := a.attend()
	if err != nil || a.keys == 0 {
		return []program.Launch{attend}, err
	}
	merge := a.merge
	if a.staged.keys > 0 {
		merge = a.mergeStaged
	}
	sum, err := merge()
	return []program.Launch{attend, sum}, err
}

// attention is a region with its schedule.
type attention struct {
	*fusion.Attention
	in       *Input
	rows     string // symbol
	reach    string // symbol; with all visible entries
	heads    int    // that a SIMD group works on: a key is decoded once for them
	groups   int    // SIMD groups of a threadgroup
	keys     int    // a split has, of staged tiles one tile; 0: not split
	span     int    // of the window in numbers of keys: its size, or the splits that it takes
	tile     tileBlocks
	staged   stagedTile
	partials *program.Scratch
	stats    *program.Scratch // largest score and sum of a split's weights, for each head
}

func (in *Input) newAttention(v *fusion.Attention) (*attention, error) {
	a := &attention{Attention: v, in: in}
	if v.Dim%4 != 0 || v.Rope.Dims > v.Dim {
		return nil, fmt.Errorf("vectors of %d elements, %d of them rotated; kernels need a multiple of 4", v.Dim, v.Rope.Dims)
	}
	var err error
	if a.rows, err = rowsSymbol(v.Q); err != nil {
		return nil, err
	}
	if a.allVisible() {
		if a.reach, err = in.symbol(ir.Reach); err != nil {
			return nil, err
		}
	}
	a.schedule()
	if a.keys > 0 {
		splits := a.splits()
		if a.staged.tiles > 1 {
			splits = a.splitRoom()
		}
		parts := ir.Sym(a.rows).Mul(splits).Mul(ir.Const(int64(v.Heads)))
		a.partials = &program.Scratch{Name: "partials", Bytes: parts.Mul(ir.Const(int64(4 * v.Dim)))}
		a.stats = &program.Scratch{Name: "stats", Bytes: parts.Mul(ir.Const(8))}
	}
	return a, nil
}

func (a *attention) allVisible() bool { return a.Entries != "" && a.Selected == nil }

// Bounds of schedules.
const (
	maxGroups = 4   // SIMD groups of a threadgroup, if the target has as many
	wide      = 512 // elements of a vector; of wider ones a SIMD group holds one head's
)

// attentionHeads is how many heads a SIMD group works on, for which it holds
// queries and accumulators: in registers, or in a core's first level of cache.
func (in *Input) attentionHeads() int {
	if in.Target.Vector > 0 {
		return 4
	}
	return 2
}

func (a *attention) schedule() {
	a.span = a.Size
	if a.in.Phase == program.Decode && a.in.Target.Vector == 0 {
		a.stage()
		return
	}
	a.cutHeads()
	if a.in.Phase == program.Prefill {
		return
	}
	switch {
	case a.allVisible():
		a.keys = keysPerSplitAll
	case a.Entries != "":
		a.keys = keysPerSplit
	case a.Size > keysPerSplitAll:
		a.keys = keysPerSplit
	}
}

func (a *attention) cutHeads() {
	if a.tile = a.tileBlocks(); a.tile.heads > 0 {
		a.heads, a.groups = a.tile.heads, 1
		return
	}
	a.heads = divisor(a.Heads, a.in.attentionHeads())
	if a.Dim > wide {
		a.heads = 1
	}
	a.groups = divisor(a.Heads/a.heads, a.in.Target.Groups(maxGroups))
}

func (a *attention) settings() []kernel.Setting {
	keys := kernel.Setting{Name: "keys", Value: "not split", Why: "a prefill step has rows enough to fill the machine"}
	switch {
	case a.keys > 0:
		keys.Value, keys.Why = fmt.Sprintf("%d a split", a.keys), "one row's heads make few threadgroups"
	case a.in.Phase == program.Decode:
		keys.Why = "they fit one split"
	}
	heads := kernel.Setting{Name: "heads per SIMD group", Value: fmt.Sprint(a.heads)}
	if a.staged.keys > 0 {
		return a.stagedSettings(heads)
	}
	if a.tile.heads > 0 {
		heads.Why = "a tile of keys is unpacked once for them; their queries and accumulators fill the second level of the cache"
		return []kernel.Setting{heads, {Name: "tile", Value: fmt.Sprintf("%d keys", keysAtOnce), Why: "a block's columns of them stay in the first level of the cache"}, keys}
	}
	heads.Why = "a key is read and decoded once for them; more need too many registers"
	return []kernel.Setting{
		heads,
		{Name: "SIMD groups", Value: fmt.Sprint(a.groups), Why: "they read the same keys at about the same time"},
		keys,
	}
}

// listed is the number of entries a row looks at, if it is fixed.
func (a *attention) listed() int {
	if a.Selected == nil {
		return 0
	}
	return dim(a.Selected, 1)
}

// most is how many keys the step's longest row has.
func (a *attention) most() ir.Expr {
	n := ir.Const(int64(a.span + a.listed()))
	if a.allVisible() {
		n = n.Add(ir.Sym(a.reach).FloorDiv(int64(a.Ratio)))
	}
	return n
}

// splits is their number for the step's longest row, if splits have as few keys as they
// may.
func (a *attention) splits() ir.Expr { return ceilDiv(a.most(), a.keys) }

// rowKeys holds a kernel's values for the keys of one row. Key k below span is position
// p-(span-1)+k, the others are entries.
type rowKeys struct {
	row, position *kernel.Expr
	entries       *kernel.Expr // how many, nil if there are none
	first, end    *kernel.Expr // numbers of keys: those before first lie before the sequence
	split         *kernel.Expr // keys of a split
}

func (a *attention) rowKeys(u *emitter, row *kernel.Expr) rowKeys {
	k := rowKeys{row: row}
	k.position = u.Let("position", u.StepAt("position", row))
	k.first = u.Let("first_key", i32(a.span-1).Sub(k.position).Max(i32(a.span-a.Size)))
	switch {
	case a.allVisible():
		k.entries = u.Let("visible", k.position.Add(i32(1)).Div(i32(a.Ratio)))
	case a.Selected != nil:
		k.entries = i32(a.listed())
	}
	k.end = i32(a.span)
	if k.entries != nil {
		k.end = u.Let("end_key", i32(a.span).Add(k.entries))
	}
	k.split = i32(a.keys)
	if a.staged.tiles > 1 {
		k.split = u.Let("split_keys", a.tilesOfSplit(k.end).Mul(k.split))
	}
	return k
}

// splitCount is splits, in a kernel, or as many as there is room for.
func (a *attention) splitCount(u *emitter) *kernel.Expr {
	if a.staged.tiles > 1 {
		return a.splitRoomOf(u)
	}
	n := i32(a.span + a.listed())
	if a.allVisible() {
		n = n.Add(u.StepValue(a.reach).Div(i32(a.Ratio)))
	}
	return u.Let("splits", n.Add(i32(a.keys-1)).Div(i32(a.keys)))
}

// part is the index of a head's partial result.
func (a *attention) part(row, splits, split, head *kernel.Expr) *kernel.Expr {
	return row.Mul(splits).Add(split).Mul(i32(a.Heads)).Add(head)
}

// vectorAt is the first chunk of a head's vector in the queries and the result.
func (a *attention) vectorAt(row, head *kernel.Expr) *kernel.Expr {
	return row.Mul(i32(a.Heads)).Add(head).Mul(i32(a.Dim / 4))
}

// write divides a head's accumulator by the sum, rotates it back and stores it.
func (a *attention) write(u *emitter, result kernel.Buffer, row, head *kernel.Expr, s headState) {
	for _, m := range s.acc {
		m.Set(m.Div(splat(s.sum.Expr)))
	}
	back := a.Rope
	back.Inverse = !back.Inverse
	u.rotateVector(s.acc, a.Dim, &back, row, 0)
	at := u.Let("to", a.vectorAt(row, head))
	u.eachChunkIn(s.acc, part4{0, a.Dim}, func(j int, c *kernel.Expr) { result.Set(at.Add(c), s.acc[j].Expr) })
}

// merge combines the splits of each head, a SIMD group for one head of a row.
// Splits are taken in ascending order, so that the bits depend on the row alone.
func (a *attention) merge() (program.Launch, error) {
	groups := divisor(a.Heads, a.in.Target.Groups(maxGroups))
	u := a.in.begin(a.in.kernelName("merge"), kernel.Schedule{Threads: groups * a.in.Target.SimdWidth},
		a.in.doc("merges what attention got from each split of the keys, adds the sink and rotates back; a SIMD group for each head")...)
	partials := u.vectors("partials", program.Arg{Scratch: a.partials}, kernel.Read)
	stats := u.scratch("stats", a.stats, kernel.F32, kernel.Read)
	sink := u.vector("sink", a.Sink)
	result := u.activation4("result", a.Result, kernel.Write)

	head := u.Let("head", kernel.Group(0).Mul(i32(groups)).Add(kernel.Simd()))
	k := a.rowKeys(u, u.Let("row", kernel.Group(1)))
	splits := a.splitCount(u)
	from := u.Let("from", k.first.Div(i32(a.keys)))
	to := u.Let("to", k.end.Add(i32(a.keys-1)).Div(i32(a.keys)))
	each := func(body func(part, top *kernel.Expr)) {
		u.For("split", from, to, i32(1), func(split *kernel.Expr) {
			part := u.Let("part", a.part(k.row, splits, split, head))
			body(part, u.Let("split_top", stats.At(part.Mul(i32(2)))))
		})
	}
	own := u.Let("own", sink.At(head))
	top := u.Var("top", own)
	each(func(_, splitTop *kernel.Expr) { top.Set(top.Max(splitTop)) })
	s := headState{sum: u.Var("sum", own.Sub(top.Expr).Exp()), acc: u.newLaneVector("accs", a.Dim)}
	each(func(part, splitTop *kernel.Expr) {
		// A split without a key has top -inf, sum 0 and acc 0, which change no bit.
		weight := u.Let("weight", splitTop.Sub(top.Expr).Exp())
		s.sum.Set(weight.Fma(stats.At(part.Mul(i32(2)).Add(i32(1))), s.sum.Expr))
		u.eachChunkIn(s.acc, part4{0, a.Dim}, func(j int, c *kernel.Expr) {
			s.acc[j].Set(splat(weight).Fma(partials.At(part.Mul(i32(a.Dim/4)).Add(c)), s.acc[j].Expr))
		})
	})
	a.write(u, result, k.row, head, s)
	return u.launch("merge", ir.Const(int64(a.Heads/groups)), ir.Sym(a.rows))
}
