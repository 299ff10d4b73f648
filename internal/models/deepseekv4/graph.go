package deepseekv4

import (
	"fmt"
	"math"
	"slices"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Graph builds one step of the model from primitive operations, for any sizes.
// Inputs are token, position and slot of each row and the rows whose logits
// are wanted; the result is logits [wanted, vocabulary].
//
// Intermediates carry names: layer0.after_attn and layer0.after_ffn (residual
// streams [T, hc, hidden]), layer0.experts and layer0.expert_weights (ids
// ascending), layer0.index_topk (entries the indexer chose, ascending, -1
// behind), final_normed (wanted rows only). See TraceNames.
func Graph(c *Config) (*ir.Module, error) {
	g := &graph{cfg: c}
	symbols := []ir.Symbol{{Name: "T", Def: ir.Rows}, {Name: "W", Def: ir.Wanted}, {Name: "P", Def: ir.Reach}}
	for _, r := range compressionRatios(c) {
		symbols = append(symbols, ir.Symbol{Name: fmt.Sprintf("E%d", r), Def: ir.Closing, Arg: int64(r)})
	}
	g.Builder = ir.NewBuilder("deepseek_v4", symbols...)
	g.rows = ir.Sym("T")
	g.token = g.Input("token", ir.Tensor(ir.I32, g.rows))
	g.position = g.Input("position", ir.Tensor(ir.I32, g.rows))
	g.slot = g.Input("slot", ir.Tensor(ir.I32, g.rows))
	wanted := g.Input("wanted", ir.Tensor(ir.I32, ir.Sym("W")))

	h := g.embedding()
	for layer := range c.Layers {
		h = g.block(layer, h)
	}
	g.Return(g.head(g.Add(ops.TakeRows, nil, h, wanted)))
	return g.Module()
}

func compressionRatios(c *Config) []int {
	var rs []int
	for _, r := range c.Ratios {
		if r != 0 && !slices.Contains(rs, r) {
			rs = append(rs, r)
		}
	}
	slices.Sort(rs)
	return rs
}

// TraceNames lists the intermediates worth recording, in the order they are computed.
func TraceNames(c *Config) []string {
	var names []string
	for l, ratio := range c.Ratios {
		if ratio == indexedRatio {
			names = append(names, fmt.Sprintf("layer%d.index_topk", l))
		}
		for _, what := range []string{"after_attn", "experts", "expert_weights", "after_ffn"} {
			names = append(names, fmt.Sprintf("layer%d.%s", l, what))
		}
	}
	return append(names, "final_normed")
}

// indexedRatio is the compression whose entries overlap and whose attention
// picks entries by the indexer.
const indexedRatio = 4

// graph is the builder with what every part of the model needs at hand.
type graph struct {
	*ir.Builder
	cfg                   *Config
	rows                  ir.Expr
	token, position, slot *ir.Value
}

// weight declares a parameter and reads it.
func (g *graph) weight(name string, shape ...int) *ir.Value {
	return g.typedWeight(name, ir.F32, shape...)
}

func (g *graph) typedWeight(name string, elem ir.Elem, shape ...int) *ir.Value {
	g.Param(ir.Param{Name: name, Type: ir.Tensor(elem, ir.Dims(shape...)...)})
	return g.AddNaming(ops.Dequantize, nil, name)
}

func (g *graph) linear(x *ir.Value, name string, out, in int) *ir.Value {
	return g.Add(ops.Matmul, nil, x, g.weight(name, out, in))
}

// emitter divides by the root mean square; norm also multiplies by a weight.
func (g *graph) unit(x *ir.Value) *ir.Value {
	return g.Add(ops.RMSNorm, ops.RMSNormAttr{Eps: g.cfg.NormEps}, x)
}

func (g *graph) norm(x *ir.Value, name string, width int) *ir.Value {
	return g.Add(ops.Mul, nil, g.unit(x), g.weight(name, width))
}

func (g *graph) reshape(x *ir.Value, lead ir.Expr, rest ...int) *ir.Value {
	return g.Add(ops.Reshape, ops.ShapeAttr{Shape: append([]ir.Expr{lead}, ir.Dims(rest...)...)}, x)
}

func (g *graph) slice(x *ir.Value, from, count int) *ir.Value {
	return g.Add(ops.Slice, ops.SliceAttr{Axis: -1, From: from, Count: count}, x)
}

func (g *graph) einsum(spec string, a, b *ir.Value) *ir.Value {
	return g.Add(ops.Einsum, ops.EinsumAttr{Spec: spec}, a, b)
}

func (g *graph) indexMap(to ir.Expr, x *ir.Value) *ir.Value {
	return g.Add(ops.IndexMap, ops.IndexMapAttr{To: to}, x)
}

// rope rotates by positions; a layer's ratio decides base and scaling.
func (g *graph) rope(x, positions *ir.Value, ratio int, inverse bool) *ir.Value {
	c := g.cfg
	a := ops.RopeAttr{Dims: c.RopeDim, Theta: c.RopeTheta, Inverse: inverse}
	if ratio != 0 {
		a.Theta = c.CompressRopeTheta
		if y := c.Yarn; y != nil {
			a.Factor, a.Original, a.BetaFast, a.BetaSlow = y.Factor, y.Original, y.BetaFast, y.BetaSlow
		}
	}
	return g.Add(ops.Rope, a, x, positions)
}

// embedding is the token's row, repeated for each residual stream.
func (g *graph) embedding() *ir.Value {
	c := g.cfg
	e := g.Add(ops.TakeRows, nil, g.weight("embed.weight", c.VocabSize, c.Hidden), g.token)
	shape := []ir.Expr{g.rows, ir.Const(int64(c.HC)), ir.Const(int64(c.Hidden))}
	return g.Add(ops.Broadcast, ops.ShapeAttr{Shape: shape}, g.reshape(e, g.rows, 1, c.Hidden))
}

// block is one layer: attention, then mixture of experts, each between the
// mixing of the residual streams.
func (g *graph) block(layer int, h *ir.Value) *ir.Value {
	name := fmt.Sprintf("layers.%d.", layer)
	trace := fmt.Sprintf("layer%d.", layer)
	h = g.halfBlock(h, name+"hc_attn", name+"attn_norm.weight", func(x *ir.Value) *ir.Value {
		return g.attention(name+"attn.", trace, g.cfg.Ratios[layer], x)
	})
	g.Name(h, trace+"after_attn")
	h = g.halfBlock(h, name+"hc_ffn", name+"ffn_norm.weight", func(x *ir.Value) *ir.Value {
		return g.experts(name+"ffn.", trace, g.cfg.ExpertsOf(layer), layer < g.cfg.HashLayers, x)
	})
	g.Name(h, trace+"after_ffn")
	return h
}

// halfBlock reads one vector from the streams, applies f to it and writes the
// result back (docs/model.md#residual-streams). comb acts transposed: the new stream k
// sums comb[j,k] h[j] over j.
func (g *graph) halfBlock(h *ir.Value, hc, norm string, f func(x *ir.Value) *ir.Value) *ir.Value {
	c, n := g.cfg, g.cfg.HC
	z := g.streamLogits(h, hc, (2+n)*n, g.rows)
	scale, base := g.weight(hc+"_scale", 3), g.weight(hc+"_base", (2+n)*n)
	part := func(i, from, count int) *ir.Value {
		scaled := g.Add(ops.Mul, nil, g.slice(z, from, count), g.slice(scale, i, 1))
		return g.Add(ops.Add, nil, scaled, g.slice(base, from, count))
	}
	pre := g.Add(ops.Offset, ops.ByAttr{By: c.HCEps}, g.Add(ops.Sigmoid, nil, part(0, 0, n)))
	post := g.Add(ops.Scale, ops.ByAttr{By: 2}, g.Add(ops.Sigmoid, nil, part(1, n, n)))
	comb := g.Add(ops.Sinkhorn, ops.SinkhornAttr{Iters: c.SinkhornIters, Eps: c.HCEps}, g.reshape(part(2, 2*n, n*n), g.rows, n, n))

	y := f(g.norm(g.einsum("tk,tkd->td", pre, h), norm, c.Hidden))
	fresh := g.Add(ops.Mul, nil, g.reshape(post, g.rows, n, 1), g.reshape(y, g.rows, 1, c.Hidden))
	return g.Add(ops.Add, nil, fresh, g.einsum("tjk,tjd->tkd", comb, h))
}

// streamLogits is rms(flatten(h)) . fn, the input of every stream mixing.
func (g *graph) streamLogits(h *ir.Value, hc string, width int, rows ir.Expr) *ir.Value {
	flat := g.cfg.HC * g.cfg.Hidden
	return g.linear(g.unit(g.reshape(h, rows, flat)), hc+"_fn", width, flat)
}

// head collapses the streams of the wanted rows and gives their logits.
func (g *graph) head(h *ir.Value) *ir.Value {
	c := g.cfg
	z := g.streamLogits(h, "hc_head", c.HC, ir.Sym("W"))
	z = g.Add(ops.Add, nil, g.Add(ops.Mul, nil, z, g.weight("hc_head_scale", 1)), g.weight("hc_head_base", c.HC))
	w := g.Add(ops.Offset, ops.ByAttr{By: c.HCEps}, g.Add(ops.Sigmoid, nil, z))
	y := g.norm(g.einsum("tk,tkd->td", w, h), "norm.weight", c.Hidden)
	g.Name(y, "final_normed")
	logits := g.linear(y, "head.weight", c.VocabSize, c.Hidden)
	g.Name(logits, "logits")
	return logits
}

// experts is the mixture: n routed experts by score or by a table over token
// ids, and the shared expert with the same clamp and weight 1.
func (g *graph) experts(name, trace string, n int, hashed bool, x *ir.Value) *ir.Value {
	c := g.cfg
	scores := g.Add(ops.Sqrt, nil, g.Add(ops.Softplus, nil, g.linear(x, name+"gate.weight", n, c.Hidden)))
	var ids *ir.Value
	if hashed {
		table := g.typedWeight(name+"gate.tid2eid", ir.I32, c.VocabSize, c.ExpertsPerToken)
		ids = g.Add(ops.Sort, nil, g.Add(ops.TakeRows, nil, table, g.token))
	} else {
		biased := g.Add(ops.Add, nil, scores, g.weight(name+"gate.bias", n)) // the bias selects but does not weigh
		ids = g.Add(ops.TopK, ops.TopKAttr{K: c.ExpertsPerToken}, biased)
	}
	g.Name(ids, trace+"experts")
	chosen := g.Add(ops.TakeAlong, nil, scores, ids)
	sum := g.reshape(g.Add(ops.ReduceSum, ops.AxisAttr{Axis: -1}, chosen), g.rows, 1)
	weights := g.Add(ops.Scale, ops.ByAttr{By: c.RoutedScale}, g.Add(ops.Div, nil, chosen, sum))
	g.Name(weights, trace+"expert_weights")

	e := name + "experts."
	gate := g.Add(ops.ExpertMatmul, nil, x, ids, g.weight(e+"w1", n, c.ExpertDim, c.Hidden))
	up := g.Add(ops.ExpertMatmul, nil, x, ids, g.weight(e+"w3", n, c.ExpertDim, c.Hidden))
	mid := g.Add(ops.Mul, nil, g.swiglu(gate, up), g.reshape(weights, g.rows, c.ExpertsPerToken, 1))
	down := g.Add(ops.ExpertMatmul, nil, mid, ids, g.weight(e+"w2", n, c.Hidden, c.ExpertDim))
	routed := g.Add(ops.ReduceSum, ops.AxisAttr{Axis: 1}, down)

	s := name + "shared_experts."
	gate = g.linear(x, s+"w1.weight", c.ExpertDim, c.Hidden)
	up = g.linear(x, s+"w3.weight", c.ExpertDim, c.Hidden)
	shared := g.linear(g.swiglu(gate, up), s+"w2.weight", c.Hidden, c.ExpertDim)
	return g.Add(ops.Add, nil, routed, shared)
}

func (g *graph) swiglu(gate, up *ir.Value) *ir.Value {
	if l := g.cfg.SwigluLimit; l > 0 {
		gate = g.Add(ops.Clamp, ops.ClampAttr{Min: math.Inf(-1), Max: l}, gate)
		up = g.Add(ops.Clamp, ops.ClampAttr{Min: -l, Max: l}, up)
	}
	return g.Add(ops.Mul, nil, g.Add(ops.Silu, nil, gate), up)
}
