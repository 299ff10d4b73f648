package synthetic

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/models/deepseekv4"
	"smelt.example/smelt/internal/models/schema"
	"smelt.example/smelt/ir"
)

// A stored is a tensor to be made, and what to put into it.
type stored struct {
	safetensors.Tensor
	values generator
}

func (s stored) bytes() int64 {
	size, _ := s.DType.Size() // Planes and tables of ids have no others
	n := int64(size)
	for _, d := range s.Shape {
		n *= d
	}
	return n
}

// mlx4 is the encoding of MLX4's quantised matrices.
var mlx4 = encoding.Affine{Bits: 4, Group: 64, Scale: encoding.BF16}

// A class is how parameters of a kind are stored and what values they have.
type class struct {
	suffix    string                     // of the graph's parameter names, which are DeepSeek's own
	encodings [formats]encoding.Encoding // by Format; nil for integers
	apart     [formats]bool              // by Format: one tensor for each leading index
	mean, std float64                    // std 0 stands for 1/sqrt(columns), which keeps a product's size
}

// classes are tried in order. Quantised and plain are as in the published
// checkpoints; the values keep every residual stream and score near 1.
var classes = func() []class {
	bf16, f32 := encoding.Plain{DType: encoding.BF16}, encoding.Plain{DType: encoding.F32}
	every := func(e encoding.Encoding) [formats]encoding.Encoding {
		return [formats]encoding.Encoding{e, e, e}
	}
	dense := [formats]encoding.Encoding{encoding.FP8Block{}, mlx4, mlx4}
	experts := [formats]encoding.Encoding{encoding.FP4{}, mlx4, mlx4}
	table := [formats]encoding.Encoding{bf16, mlx4, mlx4}
	small := [formats]encoding.Encoding{bf16, bf16, mlx4}
	return []class{
		{suffix: "embed.weight", encodings: table, std: 1},
		{suffix: "head.weight", encodings: table},
		{suffix: "norm.weight", encodings: every(bf16), mean: 1, std: 0.1},
		{suffix: "_fn", encodings: every(f32)},
		{suffix: "_base", encodings: every(f32), std: 0.5},
		{suffix: "_scale", encodings: every(f32), mean: 0.5, std: 0.1},
		{suffix: "attn_sink", encodings: every(f32), std: 1},
		{suffix: ".ape", encodings: every(f32), std: 0.5},
		{suffix: "compressor.wkv.weight", encodings: small},
		{suffix: "compressor.wgate.weight", encodings: small},
		{suffix: "weights_proj.weight", encodings: small},
		{suffix: "gate.weight", encodings: every(bf16)},
		{suffix: "gate.bias", encodings: every(f32), std: 0.02},
		{suffix: "gate.tid2eid"},
		{suffix: ".experts.w1", encodings: experts, apart: [formats]bool{Official: true}},
		{suffix: ".experts.w2", encodings: experts, apart: [formats]bool{Official: true}},
		{suffix: ".experts.w3", encodings: experts, apart: [formats]bool{Official: true}},
		{suffix: "wo_a.weight", encodings: dense, apart: [formats]bool{MLX4: true, MLX4All: true}},
		{suffix: "", encodings: dense},
	}
}()

func classOf(param string) class {
	for _, c := range classes {
		if strings.HasSuffix(param, c.suffix) {
			return c
		}
	}
	panic("the last class has every name") // as its suffix is empty
}

// tensors lists what a checkpoint of the graph's parameters stores.
func tensors(graph *ir.Module, cfg *deepseekv4.Config, f Format) ([]stored, error) {
	var all []stored
	for _, p := range graph.Params {
		c := classOf(p.Name)
		dims := constants(p.Type.Shape)
		if p.Type.Elem == ir.I32 {
			_, number := schema.Generalise(p.Name)
			layer, err := strconv.Atoi(number)
			if err != nil {
				return nil, fmt.Errorf("%s: a table of experts belongs to a layer", p.Name)
			}
			all = append(all, stored{
				safetensors.Tensor{Name: p.Name, DType: safetensors.I64, Shape: dims},
				idTable{experts: cfg.ExpertsOf(layer), chosen: cfg.ExpertsPerToken},
			})
			continue
		}
		stems, shape := stems(p.Name, dims, c, f)
		for _, stem := range stems {
			matrix, err := matrix(p.Name, stem, shape, c, f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, err)
			}
			all = append(all, matrix...)
		}
	}
	return all, nil
}

// constants are a parameter's dimensions, which the verifier knows to be
// constant.
func constants(shape []ir.Expr) []int64 {
	dims := make([]int64, len(shape))
	for i, d := range shape {
		dims[i], _ = d.Value()
	}
	return dims
}

// stems names a parameter's matrices, each of the shape returned. The stem of
// "layers.0.ffn.experts.w1" taken apart is "layers.0.ffn.experts.7.w1", that of
// "layers.0.attn.wo_a.weight" is "layers.0.attn.wo_a.7".
func stems(param string, dims []int64, c class, f Format) ([]string, []int64) {
	stem := strings.TrimSuffix(param, ".weight")
	switch {
	case c.apart[f]:
		names := make([]string, dims[0])
		for i := range names {
			if stem != param {
				names[i] = fmt.Sprintf("%s.%d", stem, i)
			} else {
				dot := strings.LastIndexByte(stem, '.')
				names[i] = fmt.Sprintf("%s.%d%s", stem[:dot], i, stem[dot:])
			}
		}
		return names, dims[1:]
	case f == Official && len(dims) == 3: // wo_a's groups are rows of one matrix
		return []string{stem}, []int64{dims[0] * dims[1], dims[2]}
	}
	return []string{stem}, dims
}

// matrix lists the tensors of one of a parameter's stems.
func matrix(param, stem string, shape []int64, c class, f Format) ([]stored, error) {
	enc := c.encodings[f]
	cols := shape[len(shape)-1]
	rows := int64(1)
	for _, d := range shape[:len(shape)-1] {
		rows *= d
	}
	planes, err := enc.Planes(int(rows), int(cols))
	if err != nil {
		return nil, err
	}
	std := c.std
	if std == 0 {
		std = 1 / math.Sqrt(float64(cols))
	}
	values := generators(enc, c.mean, std)
	var out []stored
	for i, p := range planes {
		t := safetensors.Tensor{Name: planeName(param, stem, enc, p.Role, f), DType: safetensors.DType(p.DType)}
		if len(shape) > 2 { // stacked: the planes' rows are the matrix's
			t.Shape = append(t.Shape, shape[:len(shape)-2]...)
		}
		if len(shape) > 1 {
			t.Shape = append(t.Shape, int64(p.Rows)/product(t.Shape))
		}
		t.Shape = append(t.Shape, int64(p.Cols))
		out = append(out, stored{t, values[i]})
	}
	return out, nil
}

func product(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return n
}

// planeName is the name of one of a stem's tensors.
func planeName(param, stem string, e encoding.Encoding, r encoding.Role, f Format) string {
	_, plain := encoding.PlainType(e)
	switch {
	case r == encoding.Biases:
		return stem + ".biases"
	case r == encoding.Scales && f == Official:
		return stem + ".scale"
	case r == encoding.Scales:
		return stem + ".scales"
	case plain && stem == param:
		return stem // hc_attn_fn, attn_sink and others are named without ".weight"
	}
	return stem + ".weight"
}
