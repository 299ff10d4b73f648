package deepseekv4

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// writeEmpty writes the checkpoint with a true header and zeros for data,
// which Open does not read.
func (s *stored) writeEmpty(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	s.writeConfig(t, dir)
	header := map[string]headerEntry{}
	at := int64(0)
	for _, x := range s.outs() {
		header[x.Name] = entryOf(x, at)
		at += int64(len(x.Data))
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model.safetensors")
	writeFile(t, path, text, nil)
	if err := os.Truncate(path, 8+int64(len(text))+at); err != nil {
		t.Fatal(err)
	}
	return dir
}

// reshape gives a tensor another type and shape, and zeros for data.
func (s *stored) reshape(t testing.TB, name string, dt safetensors.DType, shape ...int64) {
	t.Helper()
	s.change(t, name, func(x *storedTensor) {
		x.DType, x.Shape = dt, shape
		x.Data = make([]byte, product(shape)*int64(elementBytes(dt)))
	})
}

func product(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// extra adds a tensor of zeros.
func (s *stored) extra(name string, dt safetensors.DType, shape ...int64) {
	s.add(storedTensor{Out: safetensors.Out{Name: name, DType: dt, Shape: shape, Data: make([]byte, product(shape)*int64(elementBytes(dt)))}})
}

// The checkpoints that the tests break.
func plainBase(*testing.T, *stored) {}

func officialBase(t *testing.T, s *stored) {
	s.encode(t, func(official string) encoding.Encoding {
		switch {
		case strings.HasPrefix(official, "mtp."), !isLinear(official), strings.Contains(official, "compressor"), strings.Contains(official, "weights_proj"), official == "embed.weight", official == "head.weight":
			return nil
		case strings.Contains(official, ".ffn.experts."):
			return encoding.FP4{}
		}
		return encoding.FP8Block{}
	})
	s.config["quantization_config"] = map[string]any{"quant_method": "fp8", "fmt": "e4m3", "scale_fmt": "ue8m0", "activation_scheme": "dynamic", "weight_block_size": []int{128, 128}}
	s.config["expert_dtype"] = "fp4"
}

func mlxBase(t *testing.T, s *stored) {
	s.fuseMLX()
	s.stackMLX()
	s.mlx()
	e := encoding.Affine{Bits: 4, Group: 64, Scale: encoding.BF16}
	s.encode(t, linear(e))
	s.declareMLX(e, nil)
}

// TestBrokenCheckpoints: each checkpoint has one fault, whose error names the
// culprit with its file, what was expected and what was found.
func TestBrokenCheckpoints(t *testing.T) {
	const file = "(model.safetensors)"
	type fault struct {
		name string
		base func(*testing.T, *stored)
		make func(t *testing.T, s *stored)
		want []string
	}
	drop := func(names ...string) func(*testing.T, *stored) {
		return func(t *testing.T, s *stored) {
			for _, n := range names {
				s.change(t, n, func(*storedTensor) {}) // it exists
				s.drop(n)
			}
		}
	}
	rename := func(from, to string) func(*testing.T, *stored) {
		return func(t *testing.T, s *stored) { s.change(t, from, func(x *storedTensor) { x.Name = to }) }
	}
	reshape := func(name string, dt safetensors.DType, shape ...int64) func(*testing.T, *stored) {
		return func(t *testing.T, s *stored) { s.reshape(t, name, dt, shape...) }
	}
	extra := func(name string, dt safetensors.DType, shape ...int64) func(*testing.T, *stored) {
		return func(t *testing.T, s *stored) { s.extra(name, dt, shape...) }
	}
	config := func(key string, value any) func(*testing.T, *stored) {
		return func(t *testing.T, s *stored) { s.config[key] = value }
	}
	const e0, e1 = "layers.0.ffn.experts.", "layers.1.ffn.experts."
	const m1 = "model.layers.1."
	const incomplete = "the checkpoint is incomplete, config.json promises more than it holds"
	tests := []fault{
		{"first expert missing", plainBase, drop(e0 + "0.w1.weight"), []string{"1 parameter of the model not found", incomplete, "layers.0.ffn.experts.w1[0] [128 128]: looked for layers.0.ffn.experts.0.w1.weight"}},
		{"middle expert missing", plainBase, drop(e1 + "2.w2.weight"), []string{"1 parameter", "layers.1.ffn.experts.w2[2] [128 128]: looked for layers.1.ffn.experts.2.w2.weight"}},
		{"last expert missing", plainBase, drop("layers.2.ffn.experts.4.w3.weight"), []string{"1 parameter", "layers.2.ffn.experts.w3[4] [128 128]: looked for layers.2.ffn.experts.4.w3.weight"}},
		{"expert's weight missing, scale there", officialBase, drop(e0 + "3.w1.weight"), []string{"1 parameter", "looked for layers.0.ffn.experts.3.w1.weight; found only layers.0.ffn.experts.3.w1.scale F8_E8M0[128 4] " + file}},
		{"expert missing with its scale", officialBase, drop(e0+"3.w1.weight", e0+"3.w1.scale"), []string{"1 parameter", "layers.0.ffn.experts.3.w1.weight"}},
		{"all experts of a projection missing", plainBase, drop(e0+"0.w1.weight", e0+"1.w1.weight", e0+"2.w1.weight", e0+"3.w1.weight", e0+"4.w1.weight"),
			[]string{"1 parameter", "layers.0.ffn.experts.w1 [5 128 128]: looked for layers.0.ffn.experts.0.w1.weight or layers.0.ffn.experts.w1"}},
		{"stacked experts missing", mlxBase, drop(m1 + "ffn.switch_mlp.up_proj.weight"), []string{"1 parameter", "layers.1.ffn.experts.w3 [5 128 128]: looked for model.layers.1.ffn.switch_mlp.up_proj", "found only model.layers.1.ffn.switch_mlp.up_proj.scales BF16[5 128 2] " + file, "up_proj.biases"}},
		{"embedding missing", plainBase, drop("embed.weight"), []string{"1 parameter", "embed.weight [256 128]: looked for embed.weight"}},
		{"sink missing", plainBase, drop("layers.2.attn.attn_sink"), []string{"1 parameter", "layers.2.attn.attn_sink [4]: looked for layers.2.attn.attn_sink"}},
		{"a tensor renamed", plainBase, rename("layers.1.attn.wq_a.weight", "layers.1.attn.wqa.weight"), []string{"2 problems", "looked for layers.1.attn.wq_a.weight (nearest: layers.1.attn.wqa.weight)", "layers.1.attn.wqa.weight BF16[128 128] " + file + " (nearest: layers.1.attn.wq_a.weight)"}},
		{"a bare tensor renamed", plainBase, rename("layers.1.hc_attn_fn", "layers.1.hc_attn_fnn"), []string{"2 problems", "(nearest: layers.1.hc_attn_fnn)", "layers.1.hc_attn_fnn F32[24 512] " + file}},
		{"an expert renamed", officialBase, rename(e1+"4.w2.weight", e1+"4.w22.weight"), []string{"2 problems", "looked for layers.1.ffn.experts.4.w2.weight; found only layers.1.ffn.experts.4.w2.scale F8_E8M0[128 4] " + file + " (nearest: layers.1.ffn.experts.4.w22.weight)"}},
		{"an expert with a padded number", plainBase, rename(e1+"4.w2.weight", e1+"04.w2.weight"), []string{"2 problems", "nearest: layers.1.ffn.experts.04.w2.weight"}},
		{"extra tensor", plainBase, extra("layers.1.attn.wq_c.weight", "BF16", 2, 2), []string{"1 tensor used by no parameter", "smelt drops nothing silently", "layers.1.attn.wq_c.weight BF16[2 2] " + file}},
		{"extra scalar", plainBase, extra("logit_scale", "F32"), []string{"1 tensor used by no parameter", "logit_scale F32[] " + file}},
		{"extra empty tensor", plainBase, extra("layers.0.attn.empty", "F32", 0, 5), []string{"1 tensor used by no parameter", "layers.0.attn.empty F32[0 5] " + file}},
		{"one expert more than config.json", plainBase, extra(e1+"5.w1.weight", "BF16", 128, 128), []string{"1 tensor used by no parameter", "correct config.json if it promises too little", e1 + "5.w1.weight BF16[128 128]"}},
		{"unknown tensor beside mtp", plainBase, extra("mtp0.extra.weight", "BF16", 2), []string{"1 tensor used by no parameter", "mtp0.extra.weight BF16[2] " + file}},
		{"unknown tensor below model.mtp without number", plainBase, extra("model.mtp.extra.weight", "BF16", 2), []string{"1 tensor", "model.mtp.extra.weight"}},
		{"bias of a hash layer", plainBase, extra("layers.0.ffn.gate.bias", "F32", 5), []string{"1 tensor used by no parameter", "layers.0.ffn.gate.bias F32[5]"}},
		{"a linear with a bias", plainBase, extra("layers.0.attn.wq_b.bias", "F32", 512), []string{"1 tensor used by no parameter", "layers.0.attn.wq_b.bias F32[512]"}},
		{"input scale", officialBase, extra("layers.0.attn.wq_a.input_scale", "F32"), []string{"1 tensor used by no parameter", "layers.0.attn.wq_a.input_scale"}},

		{"stacked and apart", plainBase, extra("layers.0.ffn.experts.w1.weight", "BF16", 5, 128, 128), []string{"1 tensor holding a parameter that is there under another name too; remove one of the two", "layers.0.ffn.experts.w1.weight BF16[5 128 128] " + file + ": layers.0.ffn.experts.w1 is taken from layers.0.ffn.experts.0.w1.weight"}},
		{"two spellings of a bias", mlxBase, extra(m1+"ffn.gate.bias", "F32", 5), []string{"1 tensor holding a parameter", m1 + "ffn.gate.bias F32[5] " + file + ": layers.1.ffn.gate.bias is taken from model.layers.1.ffn.gate.e_score_correction_bias"}},
		{"with and without .weight", plainBase, extra("layers.1.attn.wkv", "BF16", 128, 128), []string{"1 tensor used by no parameter", "layers.1.attn.wkv BF16[128 128]"}},
		{"both spellings of scales", officialBase, extra("layers.1.attn.wkv.scales", "F8_E8M0", 1, 1), []string{"1 tensor used by no parameter", "layers.1.attn.wkv.scales F8_E8M0[1 1]"}},
		{"fused and one half apart", mlxBase, extra(m1+"attn.wkv.weight", "BF16", 128, 128), []string{"model.layers.1.attn.wqkv_a.weight U32[256 16] " + file + ": layers.1.attn.wkv.weight is taken from model.layers.1.attn.wkv.weight"}},

		{"wrong type", plainBase, reshape("layers.0.attn.wkv.weight", "I16", 128, 128), []string{"1 tensor stored in a way that does not fit", "layers.0.attn.wkv.weight I16[128 128] " + file, "N = 128 rows and K = 128 columns", "BF16, F16, F32 or F64 [N, K] alone", "found weight I16 [128, 128], no scales, no biases"}},
		{"transposed", plainBase, reshape("layers.0.attn.wq_b.weight", "BF16", 128, 512), []string{"1 tensor stored", "layers.0.attn.wq_b.weight BF16[128 512]", "expected [512] before the last dimension (the parameter is [512 128]), found [128]"}},
		{"rows right, columns wrong", plainBase, reshape("layers.0.attn.wq_b.weight", "BF16", 512, 120), []string{"layers.0.attn.wq_b.weight BF16[512 120]", "K = 128 columns, found weight BF16 [512, 120]"}},
		{"norm too long", plainBase, reshape("layers.2.attn_norm.weight", "BF16", 129), []string{"layers.2.attn_norm.weight BF16[129] " + file, "N = 1 rows and K = 128 columns, found weight BF16 [1, 129]"}},
		{"norm with two dimensions", plainBase, reshape("norm.weight", "BF16", 2, 64), []string{"norm.weight BF16[2 64]", "expected the shape [128], found [2 64]"}},
		{"weight a scalar", plainBase, reshape("norm.weight", "BF16"), []string{"norm.weight BF16[] " + file, "expected the shape [128], found a scalar"}},
		{"weight empty", plainBase, reshape("head.weight", "BF16", 0, 128), []string{"head.weight BF16[0 128]", "expected [256] before the last dimension"}},
		{"wo_a cut into the wrong number of groups", plainBase, reshape("layers.0.attn.wo_a.weight", "BF16", 4, 32, 256), []string{"layers.0.attn.wo_a.weight BF16[4 32 256]", "expected [2 64] before the last dimension or [128] (the parameter is [2 64 256]), found [4 32]"}},
		{"tid2eid as floats", plainBase, reshape("layers.0.ffn.gate.tid2eid", "F32", 256, 2), []string{"layers.0.ffn.gate.tid2eid F32[256 2] " + file, "expected integers (I8 to I64, U8 to U64), found F32"}},
		{"tid2eid too wide", plainBase, reshape("layers.0.ffn.gate.tid2eid", "I64", 256, 3), []string{"layers.0.ffn.gate.tid2eid I64[256 3]", "expected the shape [256 2], found [256 3]"}},
		{"tid2eid of another vocabulary", plainBase, reshape("layers.0.ffn.gate.tid2eid", "I64", 255, 2), []string{"layers.0.ffn.gate.tid2eid I64[255 2]", "expected [256] before the last dimension"}},
		{"tid2eid with scales", plainBase, extra("layers.0.ffn.gate.tid2eid.scales", "BF16", 256, 1), []string{"1 tensor stored", "expected integers without scales and biases"}},
		{"stacked experts with the wrong count", mlxBase, func(t *testing.T, s *stored) {
			s.reshape(t, m1+"ffn.switch_mlp.up_proj.weight", "U32", 4, 128, 16)
		}, []string{"1 tensor stored", m1 + "ffn.switch_mlp.up_proj.weight U32[4 128 16] " + file + " for layers.1.ffn.experts.w3", "expected [5 128] before the last dimension or [640]", "found [4 128]"}},
		{"fused tensor with too many rows", mlxBase, reshape(m1+"attn.wqkv_a.weight", "U32", 260, 16), []string{"1 tensor stored", m1 + "attn.wqkv_a.weight U32[260 16] " + file + " for layers.1.attn.wq_a.weight over layers.1.attn.wkv.weight", "expected [256] before the last dimension", "found [260]"}},

		{"scales missing", officialBase, drop("layers.0.attn.wq_a.scale"), []string{"1 tensor stored", "layers.0.attn.wq_a.weight F8_E4M3[128 128] " + file, "F8_E8M0, U8, F32 or BF16 scales", "found weight F8_E4M3 [128, 128], no scales, no biases"}},
		{"scales of an expert missing", officialBase, drop(e0 + "0.w1.scale"), []string{"1 tensor stored", e0 + "0.w1.weight I8[128 64]", "found weight I8 [128, 64], no scales"}},
		{"scales of the wrong shape", officialBase, reshape("layers.0.attn.wq_b.scale", "F8_E8M0", 3, 1), []string{"1 tensor stored", "layers.0.attn.wq_b.weight F8_E4M3[512 128]", "scales [ceil(N/128), ceil(K/128)] for N = 512 rows and K = 128 columns", "scales F8_E8M0 [3, 1]"}},
		{"scales with dimensions exchanged", mlxBase, reshape(m1+"ffn.switch_mlp.up_proj.scales", "BF16", 128, 5, 2), []string{"1 tensor stored", "expected scales with the leading dimensions of the weight, or all of them as one, found " + m1 + "ffn.switch_mlp.up_proj.scales BF16[128 5 2]"}},
		{"scale of plain weights, a scalar", plainBase, extra("layers.0.attn.wq_a.scale", "F32"), []string{"1 tensor stored", "layers.0.attn.wq_a.weight BF16[128 128]", "expected scales with the leading dimensions", "found layers.0.attn.wq_a.scale F32[]"}},
		{"scales of plain weights", plainBase, extra("layers.0.attn.wq_a.scale", "F32", 128), []string{"1 tensor stored", "layers.0.attn.wq_a.weight BF16[128 128]", "scales F32 [1, 128]"}},
		{"scales of the wrong type", officialBase, reshape("layers.0.attn.wq_a.scale", "F16", 1, 1), []string{"1 tensor stored", "scales F16 [1, 1]", "F8_E8M0, U8, F32 or BF16 scales"}},
		{"affine scales missing", mlxBase, drop("lm_head.scales"), []string{"1 tensor stored", "lm_head.weight U32[256 16]", "no scales, biases BF16 [256, 2]"}},
		{"affine biases missing", mlxBase, drop("lm_head.biases"), []string{"1 tensor stored", "lm_head.weight U32[256 16]", "scales BF16 [256, 2], no biases"}},
		{"affine biases of another type", mlxBase, reshape("lm_head.biases", "F16", 256, 2), []string{"1 tensor stored", "scales BF16 [256, 2], biases F16 [256, 2]"}},
		{"bits that no group explains", mlxBase, reshape("lm_head.weight", "U32", 256, 28), []string{"1 tensor stored", "lm_head.weight U32[256 28]", "bits 2 3 4 5 6 8, group 32 64 128", "K = 128 columns, found weight U32 [256, 28]"}},
		{"a group that does not divide", mlxBase, func(t *testing.T, s *stored) {
			s.reshape(t, "lm_head.scales", "BF16", 256, 3)
			s.reshape(t, "lm_head.biases", "BF16", 256, 3)
		}, []string{"1 tensor stored", "lm_head.weight", "scales BF16 [256, 3], biases BF16 [256, 3]"}},
		{"stacked FP8 with blocks across matrices", plainBase, func(t *testing.T, s *stored) {
			s.reshape(t, "layers.0.attn.wo_a.weight", "F8_E4M3", 2, 64, 256)
			s.extra("layers.0.attn.wo_a.scale", "F8_E8M0", 1, 2)
		}, []string{"1 tensor stored", "layers.0.attn.wo_a.weight F8_E4M3[2 64 256]", "expected a multiple of 128 rows in each of the stacked matrices", "found 64"}},

		{"config: hidden size", plainBase, config("hidden_size", 192), []string{"tensors stored in a way that does not fit", "config.json belongs to another checkpoint", "embed.weight BF16[256 128] " + file + ": expected", "K = 192 columns, found weight BF16 [256, 128]"}},
		{"config: vocabulary", plainBase, config("vocab_size", 300), []string{"3 tensors stored", "embed.weight BF16[256 128]", "expected [300] before the last dimension", "head.weight", "tid2eid"}},
		{"config: fewer experts", plainBase, config("n_routed_experts", 4), []string{"3 layers with more experts than config.json says", "layer 2: the router weights layers.2.ffn.gate.weight BF16[5 128] " + file + " have 5 rows, expected n_routed_experts (4) or fewer"}},
		{"router: fewer experts", plainBase, reshape("layers.1.ffn.gate.weight", "BF16", 4, 128), []string{"3 tensors used by no parameter", "layers.1.ffn.experts.4.w3.weight", "1 size taken from the tensors", "layer 1: 4 experts, by the router weights layers.1.ffn.gate.weight BF16[4 128] " + file + "; n_routed_experts is 5", "layers.1.ffn.gate.bias F32[5] " + file, "K = 4 columns, found weight F32 [1, 5]"}},
		{"router: fewer experts than a token uses", plainBase, reshape("layers.1.ffn.gate.weight", "BF16", 1, 128), []string{"1 layer with fewer experts than a token uses", "layer 1: the router weights layers.1.ffn.gate.weight BF16[1 128] " + file + " have 1 row, expected num_experts_per_tok (2) or more"}},
		{"config: more layers", plainBase, func(t *testing.T, s *stored) {
			s.config["num_hidden_layers"], s.config["compress_ratios"] = 4, []int{0, 4, 128, 0, 0}
		}, []string{"parameters of the model not found", "layers.3.attn.wq_a.weight [128 128]: looked for layers.3.attn.wq_a.weight", "and 4 more"}},
		{"config: fewer layers", plainBase, func(t *testing.T, s *stored) {
			s.config["num_hidden_layers"], s.config["compress_ratios"] = 2, []int{0, 4, 0}
		}, []string{"tensors used by no parameter", "correct config.json if it promises too little", "layers.2.attn.attn_sink F32[4]", "and 20 more"}},
		{"config: other compression", plainBase, config("compress_ratios", []int{0, 128, 4, 0}), []string{"layers.2.attn.indexer.wq_b.weight [1024 128]: looked for", "layers.1.attn.indexer.wq_b.weight BF16[1024 128] " + file, "layers.1.attn.compressor.ape F32[4 256] " + file + ": expected [128] before"}},
		{"config: heads", plainBase, config("num_attention_heads", 8), []string{"layers.0.attn.attn_sink F32[4] " + file, "K = 8 columns", "layers.0.attn.wq_b.weight BF16[512 128]", "expected [1024] before"}},
		{"config: output groups", plainBase, func(t *testing.T, s *stored) { s.splitWoA(2); s.config["o_groups"] = 4 }, []string{"layers.0.attn.wo_a.weight[2] [64 128]: looked for layers.0.attn.wo_a.2.weight", "layers.0.attn.wo_a.0.weight BF16[64 256]", "found weight BF16 [64, 256]"}},
		{"config: hash layers", plainBase, config("num_hash_layers", 2), []string{"layers.1.ffn.gate.tid2eid [256 2]: looked for", "layers.1.ffn.gate.bias F32[5] " + file}},
		{"config: bits of a module", mlxBase, func(t *testing.T, s *stored) {
			s.declareMLX(encoding.Affine{Bits: 4, Group: 64}, map[string]any{m1 + "attn.wq_b": map[string]any{"bits": 8, "group_size": 64}})
		}, []string{"1 setting of config.json's quantization contradicting the tensors", m1 + "attn.wq_b: config.json says affine 8 bits, groups of 64, stored is affine4_g64_bf16"}},
		{"config: a module quantised that is not", mlxBase, func(t *testing.T, s *stored) {
			s.declareMLX(encoding.Affine{Bits: 4, Group: 64}, map[string]any{m1 + "ffn.gate": map[string]any{"bits": 8, "group_size": 64}})
		}, []string{"1 setting of config.json's quantization", m1 + "ffn.gate: config.json says affine 8 bits, groups of 64, stored is bf16"}},
		{"config: mode of a module", mlxBase, func(t *testing.T, s *stored) {
			s.declareMLX(encoding.Affine{Bits: 4, Group: 64}, map[string]any{m1 + "attn.wqkv_a": map[string]any{"mode": "mxfp4", "bits": 4, "group_size": 32}})
		}, []string{"1 setting of config.json's quantization", m1 + "attn.wqkv_a: config.json says mxfp4 4 bits, groups of 32, stored is affine4_g64_bf16"}},
		{"config: affine for a module in mxfp4", func(t *testing.T, s *stored) { s.mlx(); s.encode(t, linear(encoding.MX{Bits: 4})) }, func(t *testing.T, s *stored) {
			s.declareMLX(encoding.MX{Bits: 4}, map[string]any{m1 + "attn.wq_b": map[string]any{"bits": 4, "group_size": 32}})
		}, []string{"1 setting of config.json's quantization", m1 + "attn.wq_b: config.json says affine 4 bits, groups of 32, stored is mxfp4"}},
		{"config: two modules not quantised", mlxBase, func(t *testing.T, s *stored) {
			s.declareMLX(encoding.Affine{Bits: 4, Group: 64}, map[string]any{"lm_head": false, "model.embed_tokens": false})
		}, []string{"2 settings of config.json's quantization", "lm_head: config.json says not quantised, stored is affine4_g64_bf16", "model.embed_tokens"}},
		{"another architecture", plainBase, func(t *testing.T, s *stored) { s.rename(`^layers\.`, "blocks.", `^(embed|head|norm|hc_head)`, "x$1") }, []string{"the tensors' names are of no layout smelt knows", "expected for MLX-converted names: model.layers.{l}.attn*, ", "found blocks.0.attn.attn_sink F32[4] " + file + " (1 of"}},
	}
	if len(tests) < 40 {
		t.Errorf("%d kinds of faults, want 40 at least", len(tests))
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := smallCheckpoint(t)
			test.base(t, s)
			test.make(t, s)
			dir := s.writeEmpty(t)
			wantError(t, dir, append(test.want, "checkpoint "+dir)...)
		})
	}
}

// wantError opens a checkpoint that must fail with an error that has all parts.
func wantError(t *testing.T, dir string, parts ...string) {
	t.Helper()
	m, err := openModel(dir)
	if err == nil {
		m.Close()
		t.Fatal("opened, want an error")
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("the error lacks %q:\n%v", p, err)
		}
	}
}

// TestBrokenFiles: what is wrong with files reaches Open's caller with the file's name.
func TestBrokenFiles(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(smallCheckpoint(t).writeEmpty(t), "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	header := string(whole[8 : 8+strings.Index(string(whole[8:]), "}}")+2])
	data := whole[8+len(header):]
	edit := func(old, new string) func() (string, []byte) {
		return func() (string, []byte) {
			if !strings.Contains(header, old) {
				t.Fatalf("the header lacks %s", old)
			}
			return strings.Replace(header, old, new, 1), data
		}
	}
	tests := []struct {
		name string
		make func() (header string, data []byte)
		want []string
	}{
		{"header cut", func() (string, []byte) { return header[:len(header)/2], nil }, []string{"model.safetensors: invalid JSON"}},
		{"data cut", func() (string, []byte) { return header, data[:len(data)-1000] }, []string{"model.safetensors", "truncated"}},
		{"unknown type", edit(`"dtype":"BF16"`, `"dtype":"BF17"`), []string{`tensor "embed.weight": unknown dtype "BF17"`}},
		{"shape contradicts offsets", edit(`"shape":[256,128]`, `"shape":[256,129]`), []string{`tensor "embed.weight": BF16[256 129] takes 66048 bytes`, "hold 65536"}},
		{"overlapping", edit(`"data_offsets":[65536,65552]`, `"data_offsets":[65532,65548]`), []string{"model.safetensors", "overlap"}},
		{"name twice", edit(`"head.weight"`, `"embed.weight"`), []string{`"embed.weight"`, "twice"}},
		{"negative dimension", edit(`"shape":[256,128]`, `"shape":[-256,-128]`), []string{`tensor "embed.weight"`, "shape[0] = -256"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			smallCheckpoint(t).writeConfig(t, dir)
			h, d := test.make()
			writeFile(t, filepath.Join(dir, "model.safetensors"), []byte(h), d)
			wantError(t, dir, test.want...)
		})
	}
	t.Run("huge header length", func(t *testing.T) {
		dir := t.TempDir()
		smallCheckpoint(t).writeConfig(t, dir)
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), []byte("\xff\xff\xff\xff\xff\xff\xff\x7f{}"), 0o666); err != nil {
			t.Fatal(err)
		}
		wantError(t, dir, "model.safetensors", "a header of 9223372036854775807 bytes")
	})
	t.Run("index names a shard that is not there", func(t *testing.T) {
		dir := smallCheckpoint(t).writeEmpty(t)
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(`{"weight_map":{"embed.weight":"model-00001-of-00002.safetensors"}}`), 0o666); err != nil {
			t.Fatal(err)
		}
		wantError(t, dir, "1 shard named by model.safetensors.index.json not in the folder", "model-00001-of-00002.safetensors")
	})
	t.Run("config not of this model", func(t *testing.T) {
		s := smallCheckpoint(t)
		s.config["model_type"] = "llama"
		wantError(t, s.writeEmpty(t), "config.json", `model_type: found "llama"`)
	})
}

// TestManyFaults: faults of several kinds come in one error, long lists cut.
func TestManyFaults(t *testing.T) {
	s := smallCheckpoint(t)
	officialBase(t, s)
	for l := range 3 {
		for e := range 5 {
			s.drop(fmt.Sprintf("layers.%d.ffn.experts.%d.w1.scale", l, e))
			s.drop(fmt.Sprintf("layers.%d.ffn.experts.%d.w2.weight", l, e))
			s.drop(fmt.Sprintf("layers.%d.ffn.experts.%d.w2.scale", l, e))
			s.extra(fmt.Sprintf("layers.%d.ffn.experts.%d.w4.weight", l, e), "BF16", 1)
			s.extra(fmt.Sprintf("layers.%d.ffn.experts.%d.w5.weight", l, e), "BF16", 1)
		}
	}
	s.extra("layers.0.ffn.experts.w3.weight", "BF16", 5, 128, 128)
	wantError(t, s.writeEmpty(t), "4 problems", "3 parameters of the model not found", "layers.2.ffn.experts.w2 [5 128 128]: looked for layers.2.ffn.experts.0.w2.weight or",
		"15 tensors stored in a way", "layers.2.ffn.experts.4.w1.weight I8[128 64]", "30 tensors used by no parameter", "and 10 more", "1 tensor holding a parameter")
}

// TestRandomFaults changes one header entry at a time. Open must fail with an
// error that names it, unless the change is one that layouts allow.
func TestRandomFaults(t *testing.T) {
	const seed = 20260701
	rounds := 250
	if testing.Short() {
		rounds = 50
	}
	for name, base := range map[string]func(*testing.T, *stored){"official": officialBase, "MLX": mlxBase} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			s := smallCheckpoint(t)
			base(t, s)
			names := s.names()
			allowed := 0
			for i := range rounds {
				old := names[r.IntN(len(names))]
				x := s.tensors[old]
				s.drop(old)
				y, what := mutate(r, x, s)
				if y != nil {
					s.add(*y)
				}
				m, err := openModel(s.writeEmpty(t))
				ignored := strings.HasPrefix(old, "mtp.0.") && (y == nil || strings.HasPrefix(y.Name, "mtp.0."))
				switch {
				case err == nil:
					allowed++
					m.Close()
					if !ignored && !sameMeaning(x, y) {
						t.Errorf("seed %d, round %d: %s %s%v: %s: opened", seed, i, old, x.DType, x.Shape, what)
					}
				case ignored:
					t.Errorf("seed %d, round %d: %s: %s: refused: %v", seed, i, old, what, err)
				case !strings.Contains(err.Error(), stemOf(old)) && (y == nil || !strings.Contains(err.Error(), y.Name)):
					t.Errorf("seed %d, round %d: %s: the error does not name it: %v", seed, i, what, err)
				}
				if y != nil {
					s.drop(y.Name)
				}
				s.add(x)
			}
			t.Logf("seed %d: %d of %d changes were allowed ones", seed, allowed, rounds)
		})
	}
}

// stemOf is the name without what tells weight, scales and biases apart.
func stemOf(name string) string {
	for _, suffix := range []string{".weight", ".scale", ".scales", ".biases"} {
		if stem, ok := strings.CutSuffix(name, suffix); ok {
			return stem
		}
	}
	return name
}

// mutate drops, renames, reshapes or retypes a tensor.
func mutate(r *rand.Rand, x storedTensor, s *stored) (*storedTensor, string) {
	y := x
	switch r.IntN(4) {
	case 0:
		return nil, "dropped"
	case 1:
		b := []byte(x.Name)
		for string(b) == x.Name || s.tensors[string(b)].Name != "" {
			b[r.IntN(len(b))] = "abwx.0189"[r.IntN(9)]
		}
		y.Name = string(b)
		return &y, "renamed to " + y.Name
	case 2:
		last := len(x.Shape) - 1
		switch d := x.Shape[last]; {
		case r.IntN(2) == 0 && d%2 == 0 && last > 0:
			y.Shape = slices.Concat(x.Shape[:last-1], []int64{x.Shape[last-1] * 2, d / 2})
		default:
			y.Shape = append(slices.Clone(x.Shape), 1)
		}
		return &y, fmt.Sprint("reshaped to ", y.Shape)
	}
	all := []safetensors.DType{"BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "U16", "I16", "F16", "BF16", "U32", "I32", "F32", "U64", "I64", "F64"}
	for y.DType == x.DType {
		y.DType = all[r.IntN(len(all))]
	}
	y.Data = make([]byte, product(y.Shape)*int64(elementBytes(y.DType)))
	return &y, "retyped to " + string(y.DType)
}

// sameMeaning tells the changes that leave a parameter readable: another
// integer type for a table, another plain type for plain numbers, another type of
// scales of blocks, DeepSeek's equivalent byte types, and a vector of one element as a
// matrix.
func sameMeaning(x storedTensor, y *storedTensor) bool {
	if y == nil || y.Name != x.Name {
		return false
	}
	if x.DType == y.DType {
		return len(x.Shape) == 1 && x.Shape[0] == 1
	}
	plain := []safetensors.DType{"BF16", "F16", "F32", "F64"}
	switch x.DType {
	case "I64":
		return encoding.IsInteger(encoding.DType(y.DType))
	case "I8":
		return y.DType == "U8"
	case "F8_E8M0":
		return slices.Contains([]safetensors.DType{"U8", "F32", "BF16"}, y.DType)
	}
	quantised := strings.HasSuffix(x.Name, ".scales") || strings.HasSuffix(x.Name, ".biases")
	return !quantised && slices.Contains(plain, x.DType) && slices.Contains(plain, y.DType)
}
