package lower

import (
	"fmt"
	"math"
	"testing"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// testEntry is one entry of a cache region.
type testEntry struct {
	name     string
	width    int
	ratio    int // 0: not pooled
	overlap  bool
	norm     bool
	rope     int // dimensions
	hadamard bool
	round    []ops.RoundAttr
	format   string // that rounded rows are stored in; others are f32
}

// channels is how many a token has, tokens how many make an entry.
func (e testEntry) channels() int { return e.halves() * e.width }
func (e testEntry) tokens() int   { return e.halves() * max(e.ratio, 1) }

func (e testEntry) halves() int {
	if e.overlap {
		return 2
	}
	return 1
}

// moduleBuilder writes modules with one region of entries. What comes from
// products in a model is looked up by token.
type moduleBuilder struct {
	*ir.Builder
	token, position, slot *ir.Value
	rounded               bool
}

// cacheModule has a region of these entries, with or without rounding. The
// vectors that are appended have the entries' names.
func cacheModule(t *testing.T, entries []testEntry, rounded bool) *ir.Module {
	t.Helper()
	symbols := []ir.Symbol{{Name: "T", Def: ir.Rows}, {Name: "P", Def: ir.Reach}}
	seen := map[int]bool{0: true}
	for _, e := range entries {
		if !seen[e.ratio] {
			symbols = append(symbols, ir.Symbol{Name: fmt.Sprintf("E%d", e.ratio), Def: ir.Closing, Arg: int64(e.ratio)})
		}
		seen[e.ratio] = true
	}
	b := &moduleBuilder{Builder: ir.NewBuilder("caches", symbols...), rounded: rounded}
	numbers := ir.Tensor(ir.I32, ir.Sym("T"))
	b.token, b.position, b.slot = b.Input("token", numbers), b.Input("position", numbers), b.Input("slot", numbers)
	var finish []func()
	for _, e := range entries {
		finish = append(finish, b.entry(e))
	}
	b.Region("cache", "layers.3.attn.cache", func() {
		for _, f := range finish {
			f()
		}
	})
	b.Return(b.position)
	m, err := b.Module()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lookUp is the tokens' rows of a parameter.
func (b *moduleBuilder) lookUp(param string, width int) *ir.Value {
	b.Param(ir.Param{Name: param, Type: ir.Tensor(ir.F32, ir.Dims(testTokens, width)...)})
	return b.Add(ops.TakeRows, nil, b.AddNaming(ops.Dequantize, nil, param), b.token)
}

// state declares a state and opens it.
func (b *moduleBuilder) state(name string, width int, keep ir.Expr, format string) (open func() *ir.Value) {
	b.State(ir.State{Name: name, Row: ir.Tensor(ir.F32, ir.Dims(width)...), Keep: keep, Stored: format})
	return func() *ir.Value { return b.AddNaming(ops.State, nil, name) }
}

// entry declares an entry and adds what comes before the region; it returns
// what adds the operations of the region.
func (b *moduleBuilder) entry(e testEntry) func() {
	format := "f32"
	if b.rounded {
		format = e.format
	}
	keep := ir.Const(8)
	if e.ratio > 0 {
		keep = ir.Sym("P").FloorDiv(int64(e.ratio))
	}
	open := b.state(e.name, e.width, keep, format)
	if e.norm {
		b.Param(ir.Param{Name: e.name + ".norm", Type: ir.Tensor(ir.F32, ir.Dims(e.width)...)})
	}
	if e.ratio == 0 {
		x := b.lookUp(e.name+".x", e.width)
		b.Name(x, e.name+".x")
		return func() { b.append(e, open(), b.slot, b.position, b.finish(e, x, b.position)) }
	}
	log := func(name string) *ir.Value {
		opened := b.state(name, e.channels(), ir.Const(int64(e.tokens())), "")()
		return b.Add(ops.Append, nil, opened, b.slot, b.position, b.lookUp(name, e.channels()))
	}
	values, scores := log(e.name+".values"), log(e.name+".scores")
	return func() { b.pooled(e, open, values, scores) }
}

func (b *moduleBuilder) append(e testEntry, state, slot, index, vector *ir.Value) {
	b.Name(vector, e.name)
	b.Add(ops.Append, nil, state, slot, index, vector)
}

// pooled is a pooled entry.
func (b *moduleBuilder) pooled(e testEntry, open func() *ir.Value, values, scores *ir.Value) {
	i, r := ir.Sym("i"), int64(e.ratio)
	closing := b.Add(ops.ClosingRows, ops.RatioAttr{Ratio: e.ratio}, b.position)
	position, slot := b.Add(ops.TakeRows, nil, b.position, closing), b.Add(ops.TakeRows, nil, b.slot, closing)
	block := func(log *ir.Value, back int64, half int, missing float64) *ir.Value {
		index := b.Add(ops.IndexRange, ops.IndexRangeAttr{First: i.Sub(ir.Const(back + r - 1)), Count: ir.Const(r), Limit: i.Add(ir.Const(1))}, position)
		rows := b.Add(ops.Read, ops.ReadAttr{Missing: missing}, log, slot, index)
		if !e.overlap {
			return rows
		}
		return b.Add(ops.Slice, ops.SliceAttr{Axis: -1, From: half * e.width, Count: e.width}, rows)
	}
	blocks := func(log *ir.Value, missing float64) *ir.Value {
		own := block(log, 0, e.halves()-1, missing)
		if !e.overlap {
			return own
		}
		return b.Add(ops.Concat, ops.AxisAttr{Axis: 1}, block(log, r, 0, missing), own)
	}
	weights := b.Add(ops.Softmax, ops.AxisAttr{Axis: 1}, blocks(scores, math.Inf(-1)))
	x := b.Add(ops.ReduceSum, ops.AxisAttr{Axis: 1}, b.Add(ops.Mul, nil, weights, blocks(values, 0)))
	first := position
	if e.rope > 0 {
		first = b.Add(ops.IndexMap, ops.IndexMapAttr{To: i.Sub(ir.Const(r - 1))}, position)
	}
	vector := b.finish(e, x, first)
	b.append(e, open(), slot, b.Add(ops.IndexMap, ops.IndexMapAttr{To: i.FloorDiv(r)}, position), vector)
}

// postprocess is an entry's norm, rotation, transform and rounding.
func (b *moduleBuilder) finish(e testEntry, x, position *ir.Value) *ir.Value {
	if e.norm {
		x = b.Add(ops.Mul, nil, b.Add(ops.RMSNorm, ops.RMSNormAttr{Eps: 1e-6}, x), b.AddNaming(ops.Dequantize, nil, e.name+".norm"))
	}
	if e.rope > 0 {
		x = b.Add(ops.Rope, ops.RopeAttr{Dims: e.rope, Theta: 10000}, x, position)
	}
	if e.hadamard {
		x = b.Add(ops.Hadamard, nil, x)
	}
	if b.rounded {
		for _, r := range e.round {
			x = b.Add(ops.RoundTo, r, x)
		}
	}
	return x
}
