package fusion

import (
	"math"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Cache appends finished vectors to states.
type Cache struct{ Entries []Entry }

// Entry is one kind of appended vector of Width elements: of every row (Pool
// nil; from X, index = position, rotated by the position), or of every row
// that closes a block (pooled, index = floor(position/Ratio), rotated by
// position-(Ratio-1)).
type Entry struct {
	X           *ir.Value // [R, Width]; nil if pooled
	Pool        *Pool
	Width       int
	Postprocess Postprocess
	State       string
	Result      *ir.Value // the state's new version
}

// Pool is the compressor's pooling: per channel, softmax over the tokens'
// scores, weighted sum of their values (docs/model.md#compressor). With Overlap,
// states are 2*Width wide: the block's own tokens give channels Width.., the
// block before it channels 0..Width-1; slots before the sequence's start do not
// take part.
type Pool struct {
	Values, Scores string // states
	Ratio          int
	Overlap        bool
}

// KindCache is the kind of region that Cache views.
var KindCache = &Pattern[Cache]{
	Row: Row{
		Name: "cache",
		Pass: "fuse-cache",
		Doc:  "vectors that are pooled, normed, rotated, rounded and appended",
		After: []Order{
			{"cache-formats", "an append's rounding is part of its region"},
		},
		Before: []Order{
			{"fuse-linear", "the append of a finished vector is the cache's, that of a bare product is the product's"},
		},
	},
	begin: cacheAt, results: cacheResults, name: cacheName,
}

func cacheResults(c *Cache) []*ir.Value {
	var out []*ir.Value
	for i := range c.Entries {
		out = append(out, c.Entries[i].Result)
	}
	return out
}

func cacheName(c *Cache) string {
	var names []string
	for _, e := range c.Entries {
		names = append(names, e.State)
		if e.Postprocess.Norm != nil {
			names = append(names, e.Postprocess.Norm.Weight)
		}
	}
	return regionName("cache", nil, names...)
}

// cacheAt walks from the first append of a set.
func cacheAt(w *walk, n *ir.Node) *Cache {
	if !w.isEntry(n) {
		return nil
	}
	c := &Cache{}
	for _, a := range w.entriesWith(n) {
		c.Entries = append(c.Entries, w.entry(a))
	}
	return c
}

// isEntry reports whether n appends what is finished or pooled. A bare product
// is appended where it is made (Product.Append).
func (w *walk) isEntry(n *ir.Node) bool {
	return n.Op == ops.Append && w.scope.in[n] && (w.isFinished(n.Args[3]) || w.is(n.Args[3], ops.ReduceSum))
}

// entriesWith lists the appends of n's set: in a region's body all, in a module
// those of vectors that come from the same input.
func (w *walk) entriesWith(n *ir.Node) []*ir.Node {
	if w.scope.appends == nil {
		w.scope.appends = map[*ir.Value][]*ir.Node{}
		for _, a := range w.scope.nodes {
			if w.isEntry(a) {
				key := w.scope.appendsKey(a)
				w.scope.appends[key] = append(w.scope.appends[key], a)
			}
		}
	}
	return w.scope.appends[w.scope.appendsKey(n)]
}

func (s *Scope) appendsKey(n *ir.Node) *ir.Value {
	if s.body {
		return nil
	}
	return origin(n.Args[3])
}

// origin is the input of the product that a vector comes from, directly or by
// way of a state; the vector itself if it comes from none.
func origin(v *ir.Value) *ir.Value {
	x := v
	for x.Def != nil && len(x.Def.Args) > 0 {
		switch x.Def.Op {
		case ops.Matmul:
			return x.Def.Args[0]
		case ops.Append:
			x = x.Def.Args[3]
		case ops.Mul, ops.Add: // behind the operand that is computed
			at := 0
			if a := x.Def.Args[0].Def; a != nil && (a.Op == ops.Dequantize || a.Op == ops.TakeRows) {
				at = 1
			}
			x = x.Def.Args[at]
		default:
			x = x.Def.Args[0]
		}
	}
	return v
}

// entry walks back from an append.
func (w *walk) entry(n *ir.Node) Entry {
	w.take(n)
	opened := w.def(n.Args[0], ops.State)
	finish, x, rotation := w.postprocess(n.Args[3])
	e := Entry{Postprocess: finish, State: opened.Symbol, Width: w.size(n.Args[3], -1), Result: n.Result}
	if !w.is(x, ops.ReduceSum) {
		e.X = x
		w.input(n.Args[1], "slot")
		w.input(n.Args[2], "position")
		w.check(rotation == nil || isInput(rotation, "position"), n.Result, "expected a rotation by the rows' position")
		return e
	}
	b := w.closing(n)
	e.Pool = w.pool(x, b, e.Width)
	if rotation != nil {
		w.mapped(rotation, b, ir.Sym("i").Sub(ir.Const(b.ratio-1)))
	}
	return e
}

// blocks is the index arithmetic of the rows that close a block of ratio.
type blocks struct {
	ratio          int64
	position, slot *ir.Value // of the closing rows
}

// closing reads an append's slot and index: those of the closing rows.
func (w *walk) closing(n *ir.Node) blocks {
	taken := w.def(n.Args[1], ops.TakeRows)
	w.input(taken.Args[0], "slot")
	rows := w.def(taken.Args[1], ops.ClosingRows)
	w.input(rows.Args[0], "position")
	b := blocks{ratio: int64(rows.Attr.(ops.RatioAttr).Ratio), slot: taken.Result}
	if w.failed() {
		b.ratio = 1
		return b
	}
	number := w.def(n.Args[2], ops.IndexMap)
	position := w.def(number.Args[0], ops.TakeRows)
	w.input(position.Args[0], "position")
	w.check(position.Args[1] == rows.Result, position.Result, "expected the positions of the rows %s", rows.Result.Ref())
	b.position = position.Result
	w.mapped(n.Args[2], b, ir.Sym("i").FloorDiv(b.ratio))
	return b
}

// mapped requires v to be a formula of the closing rows' positions.
func (w *walk) mapped(v *ir.Value, b blocks, want ir.Expr) {
	n := w.def(v, ops.IndexMap)
	w.check(n.Args[0] == b.position, v, "expected a formula of %s", b.position.Ref())
	w.formula(v, n.Attr.(ops.IndexMapAttr).To, want)
}

// pool walks back from the weighted sum over a block's tokens.
func (w *walk) pool(v *ir.Value, b blocks, width int) *Pool {
	sum := w.def(v, ops.ReduceSum)
	w.along(sum, 1)
	weights, values := w.operands(w.def(sum.Args[0], ops.Mul), w.isOp(ops.Softmax))
	soft := w.def(weights, ops.Softmax)
	w.along(soft, 1)
	p := &Pool{Ratio: int(b.ratio), Overlap: w.is(values, ops.Concat)}
	if !p.Overlap {
		p.Values = w.block(values, b, 0, 0)
		p.Scores = w.block(soft.Args[0], b, 0, math.Inf(-1))
		return p
	}
	p.Values = w.twoBlocks(values, b, width, 0)
	p.Scores = w.twoBlocks(soft.Args[0], b, width, math.Inf(-1))
	return p
}

// twoBlocks is the first half of the channels of the block before, then the
// second half of the closing block's.
func (w *walk) twoBlocks(v *ir.Value, b blocks, width int, missing float64) string {
	both := w.def(v, ops.Concat)
	w.along(both, 1)
	w.check(len(both.Args) == 2, v, "expected two blocks")
	if w.failed() {
		return ""
	}
	var names [2]string
	for i, half := range both.Args {
		cut := w.def(half, ops.Slice)
		want := ops.SliceAttr{Axis: -1, From: i * width, Count: width}
		got := cut.Attr.(ops.SliceAttr)
		if got.Axis == 2 {
			got.Axis = -1
		}
		w.check(got == want, half, "expected channels [%d, %d)", want.From, want.From+width)
		names[i] = w.block(cut.Args[0], b, int64(1-i)*b.ratio, missing)
	}
	w.check(names[0] == names[1], v, "expected two blocks of one state, are of @%s and @%s", names[0], names[1])
	return names[1]
}

// block is the ratio tokens that end `back` before the closing one.
func (w *walk) block(v *ir.Value, b blocks, back int64, missing float64) string {
	read := w.def(v, ops.Read)
	w.check(read.Attr.(ops.ReadAttr).Missing == missing, v, "expected %v where there is no token", missing)
	w.check(read.Args[1] == b.slot, v, "expected a reading in the slots %s", b.slot.Ref())
	i := ir.Sym("i")
	w.indexRange(read.Args[2], b.position, i.Sub(ir.Const(back+b.ratio-1)), ir.Const(b.ratio), i.Add(ir.Const(1)))
	if w.failed() {
		return ""
	}
	return w.stateOf(read.Args[0])
}
