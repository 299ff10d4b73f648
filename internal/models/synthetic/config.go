package synthetic

import (
	_ "embed"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/deepseekv4"
)

//go:embed configs/common.json
var commonConfig []byte

//go:embed configs/flash.json
var flashConfig []byte

//go:embed configs/pro.json
var proConfig []byte

//go:embed configs/storyteller.json
var storytellerConfig []byte

// Flash is the config.json of DeepSeek-V4 Flash.
func Flash() ([]byte, error) { return merge(commonConfig, flashConfig) }

// Pro is the config.json of DeepSeek-V4 Pro.
func Pro() ([]byte, error) { return merge(commonConfig, proConfig) }

// Storyteller is the config.json of the storyteller in the examples, whose weights
// are stored as MLX4All: what is made of it compiles to the same kernels.
func Storyteller() ([]byte, error) { return merge(storytellerConfig) }

// merge is one object with the members of all.
func merge(parts ...[]byte) ([]byte, error) {
	all := map[string]jsontext.Value{}
	for _, p := range parts {
		if err := json.Unmarshal(p, &all); err != nil {
			return nil, err
		}
	}
	return json.Marshal(all, json.Deterministic(true))
}

// adapt rewrites a config.json for the layers and the format of o, without the
// multi-token-prediction block.
func adapt(name string, config []byte, o Options) ([]byte, error) {
	whole, err := deepseekv4.ParseConfig(config, name)
	if err != nil {
		return nil, err
	}
	layers := o.Layers
	if len(layers) == 0 {
		layers = First(whole.Layers)
	}
	ratios, experts, hashed := make([]int, len(layers)), make([]int, len(layers)), 0
	for i, l := range layers {
		switch {
		case l < 0 || l >= whole.Layers:
			return nil, fmt.Errorf("%s has layers 0 to %d, not %d; ask for fewer", name, whole.Layers-1, l)
		case i > 0 && l <= layers[i-1]:
			return nil, fmt.Errorf("layers are to ascend, found %d after %d", l, layers[i-1])
		}
		ratios[i], experts[i] = whole.Ratios[l], whole.ExpertsOf(l)
		if l < whole.HashLayers {
			hashed++
		}
	}

	members := map[string]jsontext.Value{}
	if err := json.Unmarshal(config, &members); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, key := range []string{"layer_types", "mlp_layer_types", "quantization", "quantization_config", "expert_dtype", "n_routed_experts_per_layer", "reap_pruning"} {
		delete(members, key)
	}
	set := map[string]any{
		"num_hidden_layers": len(layers), "compress_ratios": ratios, "num_hash_layers": hashed, "num_nextn_predict_layers": 0,
	}
	if whole.LayerExperts != nil {
		set["n_routed_experts_per_layer"] = experts
	}
	switch o.Format {
	case Official:
		set["expert_dtype"] = "fp4"
		set["quantization_config"] = map[string]any{
			"quant_method": "fp8", "fmt": "e4m3", "scale_fmt": "ue8m0", "activation_scheme": "dynamic", "weight_block_size": []int{128, 128},
		}
	case MLX4, MLX4All:
		set["quantization"] = map[string]any{"mode": "affine", "bits": mlx4.Bits, "group_size": mlx4.Group}
	}
	if o.Format < 0 || o.Format >= formats {
		return nil, fmt.Errorf("unknown format %s", o.Format)
	}
	for key, v := range set {
		if members[key], err = json.Marshal(v, json.Deterministic(true)); err != nil {
			return nil, err
		}
	}
	return json.Marshal(members, json.Deterministic(true))
}
