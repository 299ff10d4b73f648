// Package deepseekv4 holds all that smelt knows about DeepSeek-V4: its configuration,
// its graph, the names of its weights in each checkpoint layout, and its chat
// format. Only package models, which lists it, and package synthetic import it.
package deepseekv4

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/strictjson"
)

// Config is a DeepSeek-V4 model's sizes and constants, read from config.json
// by ParseConfig, which is also what guarantees the relations stated here.
type Config struct {
	// VocabSize is the rows of embedding and head, Hidden the width of one
	// residual stream, Layers the blocks without MTP's.
	VocabSize, Hidden, Layers int
	// Heads query heads of HeadDim dimensions share one key/value vector;
	// RoPE turns the last RopeDim of them (even, at most HeadDim).
	Heads, HeadDim, RopeDim int
	// QLoraRank is the width between wq_a and wq_b. OGroups divides Heads;
	// each group's output goes through OLoraRank dimensions.
	QLoraRank, OGroups, OLoraRank int
	// Window is how many positions, its own included, a token sees uncompressed.
	Window int

	// Ratios has one entry per layer: 0 (window only), 4 (compressed, entries
	// picked by the indexer) or 128 (compressed, all entries).
	Ratios []int
	// MTPRatios has the same for each of MTPLayers draft stages (MTP blocks, DSpark's).
	MTPRatios []int
	MTPLayers int

	// IndexHeads, IndexDim and IndexTopK size the indexer of ratio-4 layers. All
	// three are 0 if the model has no such layer and the file does not give them.
	IndexHeads, IndexDim, IndexTopK int

	// Experts are routed, ExpertsPerToken of them used, SharedExperts always
	// used (always 1); all are ExpertDim wide. The first HashLayers layers route by a
	// table over token ids.
	Experts, ExpertsPerToken, SharedExperts, ExpertDim, HashLayers int
	// LayerExperts, if not nil, has one entry per layer: its experts in a checkpoint
	// that was pruned, 0 where only Experts tells. Ask ExpertsOf. What config.json says
	// of it holds until countExperts looks at the router weights.
	LayerExperts []int
	// RoutedScale multiplies the routed experts' weights.
	RoutedScale float64
	// SwigluLimit clamps gate and up projections; 0 means no clamp.
	SwigluLimit float64

	// HC is the number of residual streams, SinkhornIters the normalisation
	// rounds of their mixing matrix, HCEps the epsilon used there.
	HC, SinkhornIters int
	HCEps, NormEps    float64

	// RopeTheta is the base of window-only layers, CompressRopeTheta that of
	// compressed ones. Yarn applies to compressed layers only; nil means none.
	RopeTheta, CompressRopeTheta float64
	Yarn                         *Yarn

	// MaxPositions is the context length the model was made for, in tokens.
	MaxPositions int
	// BOS and EOS are token ids below VocabSize; either may be empty.
	BOS, EOS []int32

	Quant Quantization

	// Unknown lists keys of the file that ParseConfig knows nothing about,
	// sorted, nested ones joined by dots; the first 100 if there are more.
	Unknown []string
	// Notes are sentences on accepted oddities of the file, for people.
	Notes []string
}

// Yarn is the position scaling of compressed layers. BetaFast and BetaSlow are
// rotations over Original positions; the attention factor is always 1.
type Yarn struct {
	Factor             float64
	Original           int
	BetaFast, BetaSlow float64
}

// HasRatio reports whether any layer, MTP's included, compresses by r.
func (c *Config) HasRatio(r int) bool {
	for _, list := range [][]int{c.Ratios, c.MTPRatios} {
		for _, have := range list {
			if have == r {
				return true
			}
		}
	}
	return false
}

// Limits on what a file may claim. They are far above every published model
// and low enough that no product of two sizes overflows.
const (
	maxConfigBytes = 64 << 20
	maxLayers      = 1024
	maxVocab       = 4 << 20
	maxWidth       = 1 << 20
	maxHeads       = 1 << 16
	maxExperts     = 1 << 16
	maxStreams     = 64
	maxRounds      = 1000
	maxPositions   = 1 << 30
)

// ParseConfig reads a config.json in the official spelling or in HF
// transformers' (layer_types, rope_parameters and so on), with MLX's or the
// official quantisation block. name is the file's name, for messages.
//
// Names match by exact case. A key that is read and stands twice is refused; keys
// that are not read may repeat and hold anything.
//
// Sizes are free; what the model's mathematics cannot carry is refused: wrong
// types, missing keys, unknown values of known keys, two spellings that
// disagree. The error is a *ConfigError with all findings of the file.
func ParseConfig(data []byte, name string) (*Config, error) {
	if len(data) > maxConfigBytes {
		return nil, &ConfigError{name, []string{fmt.Sprintf("file: found %d bytes, expected at most %d", len(data), maxConfigBytes)}}
	}
	out := &strictjson.Findings{}
	top := strictjson.ParseObject(data, out)
	if top == nil {
		return nil, &ConfigError{name, out.List()}
	}
	c := &Config{}
	readFixed(top)
	readSizes(top, c)
	readLayers(top, c)
	readRope(top, c)
	readTokens(top, c)
	readRouting(top, c)
	readQuantization(top, c)
	top.Know(inertKeys...)
	noteUnused(top)
	checkRelations(c, out)
	if list := out.List(); len(list) > 0 {
		return nil, &ConfigError{name, list}
	}
	c.Unknown = top.Unknown()
	if n := len(c.Unknown); n > maxUnknown {
		top.Note(fmt.Sprintf("%d keys of the file are unknown; the first %d are listed", n, maxUnknown))
		c.Unknown = c.Unknown[:maxUnknown]
	}
	c.Notes = out.Notes
	return c, nil
}

// maxUnknown bounds what a file can make a page or a report hold.
const maxUnknown = 100

// inertKeys say nothing about inference: training, bookkeeping, and pad, which
// nothing here uses.
var inertKeys = []string{
	"attention_dropout", "initializer_range", "use_cache", "transformers_version", "pad_token_id", "auto_map", "_name_or_path",
	"output_router_logits", "router_aux_loss_coef", "router_jitter_noise",
}

// noteUnused tells of keys of parts of a release that smelt leaves aside.
func noteUnused(top *strictjson.Object) {
	for _, part := range []struct{ prefix, why string }{
		{"dspark_", "smelt does not draft tokens yet"},
		{"vision_", "smelt does not read images yet"},
	} {
		var keys []string
		for _, k := range top.Rest() {
			if strings.HasPrefix(k, part.prefix) {
				keys = append(keys, k)
			}
		}
		if keys != nil {
			top.Know(keys...)
			top.Note("not used, as " + part.why + ": " + message.List(keys))
		}
	}
}

// modelType and class are how config.json names the architecture.
const (
	modelType = "deepseek_v4"
	class     = "DeepseekV4ForCausalLM"
)

// readFixed checks the keys for which the architecture has one value.
func readFixed(top *strictjson.Object) {
	_, typed := top.Word("model_type", modelType)
	architectures, listed := top.Words("architectures")
	if !typed && !listed {
		top.Missing("model_type")
	}
	for _, a := range architectures {
		if a != class {
			top.Wrong("architectures", quoted(a), quoted(class)+" only")
		}
	}
	top.Word("hidden_act", "silu")
	top.Word("scoring_func", "sqrtsoftplus")
	top.Word("topk_method", "noaux_tc")
	top.Integer("num_key_value_heads", 1, 1)
	for _, key := range []string{"attention_bias", "mlp_bias", "tie_word_embeddings"} {
		if on, ok := top.Boolean(key); ok && on {
			top.Wrong(key, "true", "false: DeepSeek-V4 has neither biases nor a tied head")
		}
	}
	dtypes := []string{"bfloat16", "float16", "float32"}
	a, okA := top.Word("dtype", dtypes...)
	b, okB := top.Word("torch_dtype", dtypes...)
	if okA && okB && a != b {
		top.Wrong("dtype", quoted(a), "the same as torch_dtype, which is "+quoted(b))
	}
}

// readSizes reads the plain numbers: one key, one field.
func readSizes(top *strictjson.Object, c *Config) {
	for _, s := range []struct {
		key    string
		at     *int
		lo, hi int
	}{
		{"vocab_size", &c.VocabSize, 1, maxVocab},
		{"hidden_size", &c.Hidden, 1, maxWidth},
		{"num_hidden_layers", &c.Layers, 1, maxLayers},
		{"num_attention_heads", &c.Heads, 1, maxHeads},
		{"head_dim", &c.HeadDim, 2, maxWidth},
		{"q_lora_rank", &c.QLoraRank, 1, maxWidth},
		{"o_groups", &c.OGroups, 1, maxHeads},
		{"o_lora_rank", &c.OLoraRank, 1, maxWidth},
		{"sliding_window", &c.Window, 1, maxPositions},
		{"moe_intermediate_size", &c.ExpertDim, 1, maxWidth},
		{"n_routed_experts", &c.Experts, 1, maxExperts},
		{"num_experts_per_tok", &c.ExpertsPerToken, 1, maxExperts},
		{"hc_mult", &c.HC, 1, maxStreams},
		{"hc_sinkhorn_iters", &c.SinkhornIters, 1, maxRounds},
		{"max_position_embeddings", &c.MaxPositions, 1, maxPositions},
	} {
		*s.at = top.NeedInteger(s.key, s.lo, s.hi)
	}
	c.HCEps = top.NeedNumber("hc_eps", strictjson.Above(0), strictjson.AtMost(1))
	c.NormEps = top.NeedNumber("rms_norm_eps", strictjson.Above(0), strictjson.AtMost(1))
	c.RoutedScale = top.NeedNumber("routed_scaling_factor", strictjson.Above(0), strictjson.AtMost(1e6))
	c.SwigluLimit, _ = top.Number("swiglu_limit", strictjson.AtLeast(0), strictjson.AtMost(1e6))
}

// readRouting reads what the router and the shared expert depend on.
func readRouting(top *strictjson.Object, c *Config) {
	readLayerExperts(top, c)
	c.SharedExperts = 1
	top.Integer("n_shared_experts", 1, 1)
	if norm, ok := top.Boolean("norm_topk_prob"); ok && !norm {
		top.Note("norm_topk_prob is false; DeepSeek's own code always normalises the routed weights, and so does smelt")
	}
}

// tokenIDs reads an id or a list of ids from 0 to highest.
func tokenIDs(top *strictjson.Object, key string, highest int) (ids []int32) {
	for _, id := range top.Integers(key, 0, highest) {
		ids = append(ids, int32(id))
	}
	return ids
}

// readTokens reads the ids that start and end a text.
func readTokens(top *strictjson.Object, c *Config) {
	limit := maxVocab
	if c.VocabSize > 0 {
		limit = c.VocabSize
	}
	c.BOS = tokenIDs(top, "bos_token_id", limit-1)
	c.EOS = tokenIDs(top, "eos_token_id", limit-1)
}

// checkRelations checks what two or more keys must satisfy together. A zero
// stands for a key already reported.
func checkRelations(c *Config, out *strictjson.Findings) {
	if c.OGroups > 0 && c.Heads%c.OGroups != 0 {
		out.Wrong("num_attention_heads", text(c.Heads), "a multiple of o_groups, which is "+text(c.OGroups))
	}
	if c.RopeDim%2 != 0 {
		out.Wrong("qk_rope_head_dim", text(c.RopeDim), "an even number: RoPE turns pairs")
	}
	if c.HeadDim > 0 && c.RopeDim > c.HeadDim {
		out.Wrong("qk_rope_head_dim", text(c.RopeDim), "at most head_dim, which is "+text(c.HeadDim))
	}
	if c.IndexDim > 0 && c.RopeDim > c.IndexDim {
		out.Wrong("qk_rope_head_dim", text(c.RopeDim), "at most index_head_dim, which is "+text(c.IndexDim))
	}
	if c.Experts > 0 && c.ExpertsPerToken > c.Experts {
		out.Wrong("num_experts_per_tok", text(c.ExpertsPerToken), "at most n_routed_experts, which is "+text(c.Experts))
	}
}
