package deepseekv4

import (
	"math"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// formulaVariable stands for the operand in index formulas.
func formulaVariable() ir.Expr { return ir.Sym("i") }

func (g *graph) indexRange(x *ir.Value, first, count, limit ir.Expr) *ir.Value {
	return g.Add(ops.IndexRange, ops.IndexRangeAttr{First: first, Count: count, Limit: limit}, x)
}

// log declares a state, appends rows to it and returns its new version.
// keep is how many rows back the newest row looks.
func (g *graph) log(name string, width int, keep ir.Expr, slot, index, rows *ir.Value) *ir.Value {
	g.State(ir.State{Name: name, Row: ir.Tensor(ir.F32, ir.Const(int64(width))), Keep: keep})
	return g.Add(ops.Append, nil, g.AddNaming(ops.State, nil, name), slot, index, rows)
}

// read looks rows of a state up by slot and index list.
func (g *graph) read(state, slot, index *ir.Value, missing float64) *ir.Value {
	return g.Add(ops.Read, ops.ReadAttr{Missing: missing}, state, slot, index)
}

// attention of one layer on the normed input x [T, hidden]: every head sees
// the window of positions and, on compressed layers, entries (docs/model.md#attention).
func (g *graph) attention(name, trace string, ratio int, x *ir.Value) *ir.Value {
	c, d, i := g.cfg, g.cfg.HeadDim, formulaVariable()
	qr := g.norm(g.linear(x, name+"wq_a.weight", c.QLoraRank, c.Hidden), name+"q_norm.weight", c.QLoraRank)
	q := g.reshape(g.linear(qr, name+"wq_b.weight", c.Heads*d, c.QLoraRank), g.rows, c.Heads, d)
	q = g.rope(g.unit(q), g.position, ratio, false)

	kv := g.norm(g.linear(x, name+"wkv.weight", d, c.Hidden), name+"kv_norm.weight", d)
	kv = g.rope(kv, g.position, ratio, false)
	size := ir.Const(int64(c.Window))
	window := g.log(name+"window", d, size, g.slot, g.position, kv)
	index := g.indexRange(g.position, i.Sub(size).Add(ir.Const(1)), size, i.Add(ir.Const(1)))
	keys := g.read(window, g.slot, index, 0)

	if ratio != 0 {
		entries := g.compressor(name+"compressor.", ratio, d, x)
		seen := g.visible(ratio)
		if ratio == indexedRatio {
			seen = g.indexer(name+"indexer.", x, qr, seen)
			g.Name(seen, trace+"index_topk")
		}
		keys = g.Add(ops.Concat, ops.AxisAttr{Axis: 1}, keys, g.read(entries, g.slot, seen, 0))
		index = g.Add(ops.Concat, ops.AxisAttr{Axis: 1}, index, seen)
	}

	scores := g.Add(ops.Scale, ops.ByAttr{By: 1 / math.Sqrt(float64(d))}, g.einsum("thd,tkd->thk", q, keys))
	scores = g.Add(ops.Mask, ops.MaskAttr{Fill: math.Inf(-1)}, scores, index)
	probs := g.Add(ops.SinkSoftmax, nil, scores, g.weight(name+"attn_sink", c.Heads))
	mix := g.rope(g.einsum("thk,tkd->thd", probs, keys), g.position, ratio, true)
	return g.output(name, mix)
}

// output projects each group of heads through its own matrix, then all
// groups' results together.
func (g *graph) output(name string, mix *ir.Value) *ir.Value {
	c := g.cfg
	wide := c.Heads * c.HeadDim / c.OGroups
	groups := g.reshape(mix, g.rows, c.OGroups, wide)
	low := g.einsum("tgi,goi->tgo", groups, g.weight(name+"wo_a.weight", c.OGroups, c.OLoraRank, wide))
	return g.linear(g.reshape(low, g.rows, c.OGroups*c.OLoraRank), name+"wo_b.weight", c.Hidden, c.OGroups*c.OLoraRank)
}

// visible lists, per row, the entries of a ratio it may see: j with
// (j+1)*ratio <= position+1; -1 behind.
func (g *graph) visible(ratio int) *ir.Value {
	r, i := int64(ratio), formulaVariable()
	return g.indexRange(g.position, ir.Const(0), ir.Sym("P").FloorDiv(r), i.Add(ir.Const(1)).FloorDiv(r))
}

// compressor pools tokens into entries of the given width, one per ratio
// tokens, and returns the state that holds them. With the indexed ratio an
// entry also pools the block before its own, from the first half of the
// channels; a first block has no predecessor (docs/model.md#compressor).
func (g *graph) compressor(name string, ratio, width int, x *ir.Value) *ir.Value {
	c, i := g.cfg, formulaVariable()
	halves := 1
	if ratio == indexedRatio {
		halves = 2
	}
	wide, r := halves*width, int64(ratio)
	reach := ir.Const(int64(halves) * r)
	v := g.linear(x, name+"wkv.weight", wide, c.Hidden)
	phase := g.indexMap(i.Mod(r), g.position)
	ape := g.Add(ops.TakeRows, nil, g.weight(name+"ape", ratio, wide), phase)
	s := g.Add(ops.Add, nil, g.linear(x, name+"wgate.weight", wide, c.Hidden), ape)
	values := g.log(name+"values", wide, reach, g.slot, g.position, v)
	scores := g.log(name+"scores", wide, reach, g.slot, g.position, s)

	closing := g.Add(ops.ClosingRows, ops.RatioAttr{Ratio: ratio}, g.position)
	position := g.Add(ops.TakeRows, nil, g.position, closing)
	slot := g.Add(ops.TakeRows, nil, g.slot, closing)
	// block reads the ratio tokens that end `back` tokens before the closing
	// one, and of them the channels of one half.
	block := func(state *ir.Value, back int64, half int, missing float64) *ir.Value {
		first := i.Sub(ir.Const(back + r - 1))
		index := g.indexRange(position, first, ir.Const(r), i.Add(ir.Const(1)))
		rows := g.read(state, slot, index, missing)
		if halves == 1 {
			return rows
		}
		return g.slice(rows, half*width, width)
	}
	pv, ps := block(values, 0, halves-1, 0), block(scores, 0, halves-1, math.Inf(-1))
	if halves == 2 {
		pv = g.Add(ops.Concat, ops.AxisAttr{Axis: 1}, block(values, r, 0, 0), pv)
		ps = g.Add(ops.Concat, ops.AxisAttr{Axis: 1}, block(scores, r, 0, math.Inf(-1)), ps)
	}
	weights := g.Add(ops.Softmax, ops.AxisAttr{Axis: 1}, ps)
	entry := g.Add(ops.ReduceSum, ops.AxisAttr{Axis: 1}, g.Add(ops.Mul, nil, weights, pv))
	entry = g.norm(entry, name+"norm.weight", width)
	entry = g.rope(entry, g.indexMap(i.Sub(ir.Const(r-1)), position), ratio, false)
	number := g.indexMap(i.FloorDiv(r), position)
	return g.log(name+"entries", width, ir.Sym("P").FloorDiv(r), slot, number, entry)
}

// indexer scores the visible entries by its own smaller keys and keeps the
// best (docs/model.md#indexer).
func (g *graph) indexer(name string, x, qr, visible *ir.Value) *ir.Value {
	c, h, d := g.cfg, g.cfg.IndexHeads, g.cfg.IndexDim
	q := g.reshape(g.linear(qr, name+"wq_b.weight", h*d, c.QLoraRank), g.rows, h, d)
	q = g.rope(q, g.position, indexedRatio, false)
	entries := g.compressor(name+"compressor.", indexedRatio, d, x)
	keys := g.read(entries, g.slot, visible, 0)
	match := g.Add(ops.Relu, nil, g.einsum("thd,tkd->thk", q, keys))
	w := g.linear(x, name+"weights_proj.weight", h, c.Hidden)
	w = g.Add(ops.Scale, ops.ByAttr{By: 1 / math.Sqrt(float64(d)*float64(h))}, w)
	scores := g.einsum("th,thk->tk", w, match)
	return g.Add(ops.TopK, ops.TopKAttr{K: c.IndexTopK}, scores, visible)
}
