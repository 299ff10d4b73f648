package deepseekv4

import (
	"fmt"
	"slices"
	"strings"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/arch"
)

// facts puts the configuration into the terms that all models have.
func (c *Config) facts() arch.Facts {
	s := c.sizes()
	return arch.Facts{
		VocabSize: c.VocabSize, Context: c.MaxPositions, Layers: c.Layers, BOS: c.BOS, EOS: c.EOS,
		Stored: c.Quant.String(), Sizes: s, Lines: s.lines(), Trace: TraceNames(c), Notes: c.Notes, Unknown: c.Unknown,
	}
}

// sizes are those of config.json under the names that `smelt inspect --json` gives
// them. Layers is window-only, indexed and dense compressed ones together, without
// MTP blocks.
type sizes struct {
	Layers           int        `json:"layers"`
	WindowLayers     int        `json:"window_layers"`
	Ratio4Layers     int        `json:"ratio4_layers"`
	Ratio128Layers   int        `json:"ratio128_layers"`
	Hidden           int        `json:"hidden"`
	Streams          int        `json:"streams"`
	Vocab            int        `json:"vocab"`
	Context          int        `json:"context"`
	Yarn             *yarnSizes `json:"yarn"` // null without
	Window           int        `json:"window"`
	Heads            int        `json:"heads"`
	HeadDim          int        `json:"head_dim"`
	RopeDim          int        `json:"rope_dim"`
	IndexHeads       int        `json:"index_heads"`
	IndexDim         int        `json:"index_dim"`
	IndexTopK        int        `json:"index_topk"`
	Experts          int        `json:"experts"`
	LayerExperts     []int      `json:"layer_experts,omitempty"` // of a pruned checkpoint
	ExpertsPerToken  int        `json:"experts_per_token"`
	SharedExperts    int        `json:"shared_experts"`
	ExpertDim        int        `json:"expert_dim"`
	HashLayers       int        `json:"hash_layers"`
	MultiTokenBlocks int        `json:"mtp_blocks"` // that config.json speaks of; smelt uses none
}

type yarnSizes struct {
	Factor   float64 `json:"factor"`
	Original int     `json:"original_context"`
}

func (c *Config) sizes() sizes {
	s := sizes{
		Layers: c.Layers, Hidden: c.Hidden, Streams: c.HC, Vocab: c.VocabSize, Context: c.MaxPositions, Window: c.Window,
		Heads: c.Heads, HeadDim: c.HeadDim, RopeDim: c.RopeDim, IndexHeads: c.IndexHeads, IndexDim: c.IndexDim, IndexTopK: c.IndexTopK,
		Experts: c.Experts, ExpertsPerToken: c.ExpertsPerToken, SharedExperts: c.SharedExperts, ExpertDim: c.ExpertDim,
		LayerExperts: c.LayerExperts, HashLayers: c.HashLayers, MultiTokenBlocks: c.MTPLayers,
	}
	for _, ratio := range c.Ratios {
		switch ratio {
		case 0:
			s.WindowLayers++
		case 4:
			s.Ratio4Layers++
		default: // 128 is the only other one ParseConfig accepts
			s.Ratio128Layers++
		}
	}
	if c.Yarn != nil {
		s.Yarn = &yarnSizes{c.Yarn.Factor, c.Yarn.Original}
	}
	return s
}

// lines are the sizes in words.
func (s sizes) lines() []arch.Line {
	var lines []arch.Line
	line := func(label, format string, args ...any) {
		lines = append(lines, arch.Line{Label: label, Text: fmt.Sprintf(format, args...)})
	}
	context := message.Grouped(s.Context) + " tokens"
	if s.Yarn != nil {
		context += fmt.Sprintf(", YaRN factor %g over %s", s.Yarn.Factor, message.Grouped(s.Yarn.Original))
	}
	line("context", "%s", context)
	line("vocabulary", "%s", message.Grouped(s.Vocab))
	line("hidden", "%s in %s", message.Grouped(s.Hidden), message.Plural(s.Streams, "hyper-connection stream"))
	line("layers", "%s", s.layersInWords())
	line("window", "%s", message.Plural(s.Window, "token"))
	line("attention", "%s x %d, RoPE on %d of them; one key/value head", message.Plural(s.Heads, "head"), s.HeadDim, s.RopeDim)
	if s.IndexHeads > 0 {
		line("indexer", "%s x %d, picks %s entries", message.Plural(s.IndexHeads, "head"), s.IndexDim, message.Grouped(s.IndexTopK))
	}
	experts := message.Grouped(int64(s.Experts))
	if s.LayerExperts != nil {
		experts = message.Grouped(slices.Min(s.LayerExperts))
		if most := slices.Max(s.LayerExperts); most > slices.Min(s.LayerExperts) {
			experts += " to " + message.Grouped(most)
		}
	}
	line("experts", "%s routed, %d used per token, %d shared; width %s", experts, s.ExpertsPerToken, s.SharedExperts, message.Grouped(s.ExpertDim))
	line("routing", "%s", s.routing())
	return lines
}

// layersInWords is the layers by what their attention sees.
func (s sizes) layersInWords() string {
	var kinds []string
	for _, k := range []struct {
		n    int
		kind string
	}{{s.WindowLayers, "window only"}, {s.Ratio4Layers, "ratio 4, indexed"}, {s.Ratio128Layers, "ratio 128"}} {
		if k.n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", k.n, k.kind))
		}
	}
	return fmt.Sprintf("%d: %s", s.Layers, strings.Join(kinds, "; "))
}

// routing is how layers choose experts.
func (s sizes) routing() string {
	switch s.HashLayers {
	case 0:
		return "by score"
	case s.Layers:
		return "by token id (hash)"
	case 1:
		return "by token id (hash) in the first layer, by score in the others"
	}
	return fmt.Sprintf("by token id (hash) in the first %d layers, by score in the others", s.HashLayers)
}
