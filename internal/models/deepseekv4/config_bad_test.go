package deepseekv4

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

type dict = map[string]any

// with returns d with one more key.
func with(d dict, key string, value any) dict {
	copied := dict{key: value}
	for k, v := range d {
		if k != key {
			copied[k] = v
		}
	}
	return copied
}

func TestParseConfigRefuses(t *testing.T) {
	yarn := dict{"type": "yarn", "factor": 16, "original_max_position_embeddings": 65536}
	fp8 := dict{"quant_method": "fp8", "weight_block_size": []int{128, 128}}
	mlx := dict{"bits": 4, "group_size": 64}
	for _, c := range []struct {
		name, base string
		changes    dict
		want       []string
	}{
		{"text for a number", "flash", dict{"hidden_size": "4096"}, []string{`hidden_size: found "4096", expected a whole number from 1 to 1048576`}},
		{"fraction", "flash", dict{"num_hidden_layers": 42.5}, []string{"num_hidden_layers: found 42.5, expected a whole number"}},
		{"zero", "flash", dict{"vocab_size": 0}, []string{"vocab_size: found 0"}},
		{"negative", "flash", dict{"sliding_window": -1}, []string{"sliding_window: found -1"}},
		{"too many layers", "flash", dict{"num_hidden_layers": 1025}, []string{"num_hidden_layers: found 1025, expected a whole number from 1 to 1024"}},
		{"huge vocabulary", "flash", dict{"vocab_size": 5 << 20}, []string{"vocab_size: found 5242880"}},
		{"experts beyond limit", "flash", dict{"n_routed_experts": 70000}, []string{"n_routed_experts: found 70000"}},
		{"list for a number", "flash", dict{"head_dim": []int{512}}, []string{"head_dim: found [512]"}},
		{"missing keys at once", "flash", dict{"q_lora_rank": removed{}, "hc_mult": removed{}, "rms_norm_eps": nil, "compress_ratios": removed{}, "num_hash_layers": removed{}, "qk_rope_head_dim": removed{}, "rope_scaling": removed{}, "rope_theta": removed{}},
			[]string{"missing keys: ", "q_lora_rank", "hc_mult", "rms_norm_eps", "compress_ratios (or layer_types)", "num_hash_layers (or mlp_layer_types)", "qk_rope_head_dim (or partial_rotary_factor)", "rope_theta"}},
		{"missing scaling", "flash", dict{"rope_scaling": removed{}}, []string{"missing keys: rope_scaling (null if the model has none"}},
		{"missing indexer", "flash", dict{"index_topk": removed{}}, []string{"missing keys: index_topk"}},
		{"other model", "flash", dict{"model_type": "deepseek_v3"}, []string{`model_type: found "deepseek_v3", expected "deepseek_v4"`}},
		{"other architecture", "flash", dict{"architectures": []string{"DeepseekV3ForCausalLM"}}, []string{`architectures: found "DeepseekV3ForCausalLM"`}},
		{"no model named", "flash", dict{"architectures": removed{}, "model_type": removed{}}, []string{"missing keys: model_type"}},
		{"empty architectures", "flash", dict{"architectures": []string{}}, []string{"architectures: found an empty list"}},
		{"architecture not text", "flash", dict{"architectures": []int{4}}, []string{"architectures[0]: found 4, expected a string"}},
		{"two shared experts", "flash", dict{"n_shared_experts": 2}, []string{"n_shared_experts: found 2, expected 1"}},
		{"several kv heads", "flash", dict{"num_key_value_heads": 8}, []string{"num_key_value_heads: found 8, expected 1"}},
		{"other activation", "flash", dict{"hidden_act": "gelu"}, []string{`hidden_act: found "gelu", expected "silu"`}},
		{"other scoring", "flash", dict{"scoring_func": "sigmoid"}, []string{`scoring_func: found "sigmoid", expected "sqrtsoftplus"`}},
		{"other top-k method", "flash", dict{"topk_method": "greedy"}, []string{`topk_method: found "greedy", expected "noaux_tc"`}},
		{"attention bias", "flash", dict{"attention_bias": true}, []string{"attention_bias: found true"}},
		{"tied head", "flash", dict{"tie_word_embeddings": true}, []string{"tie_word_embeddings: found true"}},
		{"bool as number", "flash", dict{"attention_bias": 0}, []string{"attention_bias: found 0, expected true or false"}},
		{"dtype", "flash", dict{"torch_dtype": "int8"}, []string{`torch_dtype: found "int8"`}},
		{"dtypes disagree", "flash", dict{"dtype": "float16"}, []string{`dtype: found "float16", expected the same as torch_dtype, which is "bfloat16"`}},
		{"heads not in groups", "flash", dict{"o_groups": 7}, []string{"num_attention_heads: found 64, expected a multiple of o_groups, which is 7"}},
		{"odd rope", "flash", dict{"qk_rope_head_dim": 63}, []string{"qk_rope_head_dim: found 63, expected an even number"}},
		{"rope wider than head", "flash", dict{"qk_rope_head_dim": 1024}, []string{"at most head_dim, which is 512", "at most index_head_dim, which is 128"}},
		{"more experts used than there are", "flash", dict{"n_routed_experts": 5}, []string{"num_experts_per_tok: found 6, expected at most n_routed_experts, which is 5"}},
		{"hash layers", "flash", dict{"num_hash_layers": 44}, []string{"num_hash_layers: found 44, expected at most num_hidden_layers, which is 43"}},
		{"ratios too short", "flash", dict{"compress_ratios": []int{0, 4}}, []string{"compress_ratios: found 2 entries, expected num_hidden_layers (43)"}},
		{"ratio 8", "flash", dict{"num_hidden_layers": 3, "compress_ratios": []int{0, 8, 128, 0}}, []string{"compress_ratios[1]: found 8, expected 0, 4 or 128"}},
		{"ratios of draft stages not 0", "flash", dict{"compress_ratios": append(alternating([]int{0, 0}, 20), 4, 0, 0)}, []string{"compress_ratios: found 46 entries, expected num_hidden_layers (43), or that and num_nextn_predict_layers (1) more; other numbers are draft stages' only if they are 0"}},
		{"layers too few", "flash", dict{"num_hidden_layers": 41}, []string{"compress_ratios: found 44 entries, expected num_hidden_layers (41)"}},
		{"ratio of MTP", "flash", dict{"num_hidden_layers": 3, "compress_ratios": []int{0, 4, 128, 2}}, []string{"compress_ratios[3]: found 2"}},
		{"ratio text", "flash", dict{"num_hidden_layers": 3, "compress_ratios": []any{0, "4", 128, 0}}, []string{`compress_ratios[1]: found "4"`}},
		{"ratios no list", "flash", dict{"compress_ratios": 4}, []string{"compress_ratios: found 4, expected a list"}},
		{"zero epsilon", "flash", dict{"hc_eps": 0}, []string{"hc_eps: found 0, expected a number above 0 and at most 1"}},
		{"negative clamp", "flash", dict{"swiglu_limit": -1}, []string{"swiglu_limit: found -1"}},
		{"theta", "flash", dict{"rope_theta": 1}, []string{"rope_theta: found 1, expected a number above 1"}},
		{"token id beyond vocabulary", "flash", dict{"eos_token_id": []int{1, 129280}}, []string{"eos_token_id: found 129280, expected a whole number from 0 to 129279"}},
		{"token text", "flash", dict{"bos_token_id": "<s>"}, []string{`bos_token_id: found "<s>"`}},

		{"scaling type", "flash", dict{"rope_scaling": with(yarn, "type", "linear")}, []string{`rope_scaling.type: found "linear", expected "yarn"`}},
		{"scaling without type", "flash", dict{"rope_scaling": dict{"factor": 16}}, []string{"missing keys: rope_scaling.type"}},
		{"scaling without factor", "flash", dict{"rope_scaling": dict{"type": "yarn"}}, []string{"missing keys: rope_scaling.factor, rope_scaling.original_max_position_embeddings"}},
		{"scaling types disagree", "flash", dict{"rope_scaling": with(yarn, "rope_type", "default")}, []string{`rope_scaling.type: found "yarn", expected the same as rope_type`}},
		{"scaling no object", "flash", dict{"rope_scaling": "yarn"}, []string{`rope_scaling: found "yarn", expected an object`}},
		{"mscale", "flash", dict{"rope_scaling": with(yarn, "mscale", 1)}, []string{"rope_scaling.mscale: found 1, expected 0 or no such key"}},
		{"attention factor", "flash", dict{"rope_scaling": with(yarn, "attention_factor", 1.27)}, []string{"rope_scaling.attention_factor: found 1.27"}},
		{"no truncation", "flash", dict{"rope_scaling": with(yarn, "truncate", false)}, []string{"rope_scaling.truncate: found false"}},
		{"betas reversed", "flash", dict{"rope_scaling": with(yarn, "beta_slow", 64)}, []string{"rope_scaling.beta_slow: found 64, expected at most beta_fast, which is 32"}},
		{"scaling's own theta", "flash", dict{"rope_scaling": with(yarn, "rope_theta", 10000)}, []string{"rope_scaling.rope_theta: found 10000, expected 160000, as compress_rope_theta has it"}},
		{"factor below one", "flash", dict{"rope_scaling": with(yarn, "factor", 0.5)}, []string{"rope_scaling.factor: found 0.5"}},

		{"layer type", "a-transformers", dict{"layer_types": []string{slidingLayer, "full_attention", heavyLayer}}, []string{`layer_types[1]: found "full_attention"`}},
		{"layer types too short", "a-transformers", dict{"layer_types": []string{slidingLayer}}, []string{"layer_types: found 1 entries, expected num_hidden_layers, which is 3"}},
		{"patterns disagree", "a-transformers", dict{"compress_ratios": []int{0, 4, 4, 0}}, []string{"compress_ratios[2]: found 4, expected 128, as layer_types has it"}},
		{"compress rate", "a-transformers", dict{"compress_rates": dict{sparseLayer: 8}}, []string{"compress_rates." + sparseLayer + ": found 8, expected 4"}},
		{"old compress rate", "a-transformers", dict{"compress_rate_hca": 64}, []string{"compress_rate_hca: found 64, expected 128"}},
		{"mlp types too long", "a-transformers", dict{"mlp_layer_types": []string{"moe", "moe", "moe", "moe"}}, []string{"mlp_layer_types: found 4 entries"}},
		{"mlp type", "a-transformers", dict{"mlp_layer_types": []string{"hash_moe", "dense", "moe"}}, []string{`mlp_layer_types[1]: found "dense"`}},
		{"late hash layer", "a-transformers", dict{"mlp_layer_types": []string{"moe", "hash_moe", "moe"}}, []string{`mlp_layer_types[1]: found "hash_moe"`}},
		{"hash layers disagree", "a-transformers", dict{"num_hash_layers": 2}, []string{"num_hash_layers: found 2, expected 1, as mlp_layer_types has it"}},
		{"rope share disagrees", "a-transformers", dict{"qk_rope_head_dim": 32}, []string{"\n  partial_rotary_factor: found 0.5", "rope_parameters.main.partial_rotary_factor: found 0.5", "rope_parameters.compress.partial_rotary_factor: found 0.5"}},
		{"rope share not whole", "a-transformers", dict{"partial_rotary_factor": 0.333}, []string{"partial_rotary_factor: found 0.333"}},
		{"thetas disagree", "a-transformers", dict{"rope_theta": 20000}, []string{"rope_parameters.main.rope_theta: found 10000, expected 20000, as rope_theta has it"}},
		{"scalings disagree", "a-transformers", dict{"rope_scaling": yarn}, []string{"rope_scaling: found factor 16 from 65536 (beta 32, 1), expected factor 4 from 128 (beta 32, 1), as rope_parameters.compress has it"}},
		{"rope parameters without a base", "a-transformers", dict{"rope_parameters": yarn}, []string{"missing keys: rope_theta"}},
		{"rope parameters of another kind", "flash", dict{"rope_parameters": dict{"sliding": yarn}}, []string{"missing keys: rope_parameters.main, rope_parameters.compress"}},
		{"flat rope parameters half apart", "flash", dict{"rope_parameters": dict{"rope_type": "yarn", "factor": 16, "main": dict{"rope_type": "default"}}}, []string{"missing keys: rope_parameters.compress"}},
		{"flat rope parameters disagree", "flash", dict{"rope_parameters": dict{"rope_type": "yarn", "factor": 8, "original_max_position_embeddings": 65536}}, []string{"rope_scaling: found factor 16 from 65536 (beta 32, 1), expected factor 8 from 65536 (beta 32, 1), as rope_parameters has it"}},
		{"flat rope parameters without scaling", "flash", dict{"rope_parameters": dict{"rope_type": "default"}}, []string{"rope_scaling: found factor 16 from 65536 (beta 32, 1), expected no scaling, as rope_parameters has it"}},
		{"flat base disagrees", "flash", dict{"rope_parameters": dict{"rope_theta": 20000}}, []string{"rope_parameters.rope_theta: found 20000, expected 10000, as rope_theta has it"}},
		{"flat scaling unknown", "flash", dict{"rope_scaling": removed{}, "rope_parameters": dict{"rope_type": "longrope", "factor": 4}}, []string{`rope_parameters.rope_type: found "longrope"`}},
		{"flat scaling without its range", "flash", dict{"rope_scaling": removed{}, "rope_parameters": dict{"rope_type": "yarn", "factor": 4}}, []string{"missing keys: rope_parameters.original_max_position_embeddings"}},
		{"second section disagrees", "flash", dict{"compress_rope_parameters": dict{"rope_type": "yarn", "factor": 16, "original_max_position_embeddings": 65536, "rope_theta": 10000}}, []string{"compress_rope_parameters.rope_theta: found 10000, expected 160000, as compress_rope_theta has it"}},

		{"quantisation method", "flash", dict{"quantization_config": with(fp8, "quant_method", "gptq")}, []string{`quantization_config.quant_method: found "gptq", expected "fp8"`}},
		{"block size", "flash", dict{"quantization_config": with(fp8, "weight_block_size", []int{64, 128})}, []string{"quantization_config.weight_block_size[0]: found 64, expected 128"}},
		{"block size of three", "flash", dict{"quantization_config": with(fp8, "weight_block_size", []int{1, 2, 3})}, []string{"quantization_config.weight_block_size: found 3 numbers"}},
		{"no block size", "flash", dict{"quantization_config": dict{"quant_method": "fp8"}}, []string{"missing keys: quantization_config.weight_block_size"}},
		{"scale format", "flash", dict{"quantization_config": with(fp8, "scale_fmt", "float")}, []string{`quantization_config.scale_fmt: found "float", expected "ue8m0"`}},
		{"expert dtype", "flash", dict{"expert_dtype": "int4"}, []string{`expert_dtype: found "int4", expected "fp4" or "fp8"`}},
		{"official and MLX", "flash", dict{"quantization": mlx}, []string{"quantization: found MLX settings"}},
		{"seven bits", "flash-mlx", dict{"quantization": with(mlx, "bits", 7)}, []string{`quantization.bits: found 7, expected 2 or 3 or 4 or 5 or 6 or 8 for mode "affine"`}},
		{"mxfp4 groups", "flash-mlx", dict{"quantization": with(mlx, "mode", "mxfp4")}, []string{`quantization.group_size: found 64, expected 32 for mode "mxfp4"`}},
		{"nvfp4", "flash-mlx", dict{"quantization": with(mlx, "mode", "nvfp4")}, []string{`quantization.mode: found "nvfp4"`}},
		{"no bits", "flash-mlx", dict{"quantization": dict{"group_size": 64}}, []string{"missing keys: quantization.bits"}},
		{"module's bits", "flash-mlx", dict{"quantization": with(mlx, "head", dict{"bits": 1})}, []string{"quantization.head.bits: found 1"}},
		{"module true without global", "flash-mlx", dict{"quantization": dict{"head": true}}, []string{"quantization.head: found true"}},
		{"blocks disagree", "flash-mlx", dict{"quantization_config": with(mlx, "bits", 8)}, []string{"quantization_config: found affine 8 bits, groups of 64, expected affine 4 bits, groups of 64, as quantization has it"}},
		{"blocks disagree on a module", "flash-mlx", dict{"quantization_config": with(mlx, "head", false)}, []string{"quantization_config.head: found not quantised, expected no entry, as quantization has it"}},
		{"several at once", "flash", dict{"hidden_size": -4, "scoring_func": "softmax", "hc_mult": removed{}}, []string{"hidden_size: found -4", `scoring_func: found "softmax"`, "missing keys: hc_mult"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			expectFindings(t, edit(t, c.base, c.changes), c.want)
		})
	}
}

func TestParseConfigRefusesBytes(t *testing.T) {
	flash := string(readConfigFile(t, "flash"))
	replace := func(old, new string) string {
		if strings.Count(flash, old) != 1 {
			t.Fatalf("%q occurs %d times", old, strings.Count(flash, old))
		}
		return strings.Replace(flash, old, new, 1)
	}
	for _, c := range []struct{ name, data, want string }{
		{"empty", "", "file: found nothing, expected one JSON object"},
		{"list", "[]", "file: found [], expected one JSON object"},
		{"null", "null", "file: found null"},
		{"cut off", flash[:len(flash)/2], "file: found no valid JSON"},
		{"second value", flash + "{}", "file: found a second value after the first"},
		{"trailing text", flash + "x", "file: found no valid JSON"},
		{"not JSON", "\x93NUMPY", "file: found no valid JSON at byte 0"},
		{"duplicate key", replace(`"head_dim": 512,`, `"head_dim": 512, "head_dim": 512,`), "head_dim: found the key twice, expected it once"},
		{"nested duplicate", replace(`"factor": 16,`, `"factor": 16, "factor": 8,`), "rope_scaling.factor: found the key twice, expected it once"},
		{"NaN", replace(`"hc_eps": 1e-06`, `"hc_eps": NaN`), "hc_eps: found NaN, expected a number above 0"},
		{"Infinity", replace(`"swiglu_limit": 10.0`, `"swiglu_limit": Infinity`), "swiglu_limit: found Infinity, expected a number"},
		{"beyond float64", replace(`"rope_theta": 10000,`, `"rope_theta": 1e999,`), "rope_theta: found 1e999, expected a number above 1"},
		{"beyond int64", replace(`"hidden_size": 4096`, `"hidden_size": 99999999999999999999999`), "hidden_size: found 99999999999999999999999"},
		{"invalid UTF-8", replace(`"silu"`, "\"\xff\""), "file: found no valid JSON"},
		{"long value", replace(`"silu"`, `"`+strings.Repeat("x", 5000)+`"`), `hidden_act: found "` + strings.Repeat("x", 60) + `..."`},
	} {
		t.Run(c.name, func(t *testing.T) {
			expectFindings(t, []byte(c.data), []string{c.want})
		})
	}
	t.Run("too long", func(t *testing.T) {
		expectFindings(t, bytes.Repeat([]byte(" "), maxConfigBytes+1), []string{fmt.Sprintf("file: found %d bytes", maxConfigBytes+1)})
	})
}

// expectFindings checks that data is refused with an error that names the file
// and holds every wanted text, and nothing about keys that are in order.
func expectFindings(t *testing.T, data []byte, want []string) {
	t.Helper()
	c, err := ParseConfig(data, "dir/config.json")
	var refused *ConfigError
	if c != nil || !errors.As(err, &refused) {
		t.Fatalf("got %v, %v", c, err)
	}
	if refused.File != "dir/config.json" || !strings.HasPrefix(err.Error(), "dir/config.json: ") {
		t.Errorf("file not named: %v", err)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got  %v\nwant %q in it", err, w)
		}
	}
	if len(refused.Findings) > max(len(want), 2) {
		t.Errorf("%d findings for %d mistakes:\n%v", len(refused.Findings), len(want), err)
	}
}

func TestConfigErrorIsShort(t *testing.T) {
	e := &ConfigError{File: "f", Findings: make([]string, maxShown+3)}
	if got := e.Error(); strings.Count(got, "\n") != maxShown+1 || !strings.HasSuffix(got, "and 3 more") {
		t.Errorf("%q", got)
	}
}
