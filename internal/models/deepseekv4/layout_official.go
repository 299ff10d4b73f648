package deepseekv4

import (
	"smelt.example/smelt/internal/models/schema"
)

// officialLayout has DeepSeek's own names. Besides the published FP8/FP4
// checkpoints, bf16 copies, mlx-community's 4-bit conversions (experts
// stacked, wo_a in pieces) and per-expert mxfp4 use them.
func officialLayout() schema.Layout {
	return schema.Layout{
		Name:  "official names",
		Marks: []string{"embed.", "head.", "norm.", "hc_head_", "layers.{l}.attn", "layers.{l}.ffn", "layers.{l}.hc_"},
		Rules: []schema.Rule{
			rule("embed.weight", "embed"),
			rule("head.weight", "head"),
			rule("norm.weight", "norm"),
			rule("hc_head_fn", "hc_head_fn"),
			rule("hc_head_base", "hc_head_base"),
			rule("hc_head_scale", "hc_head_scale"),
			rule("layers.{l}.hc_attn_fn", "layers.{l}.hc_attn_fn", "layers.{l}.attn_hc.fn"),
			rule("layers.{l}.hc_attn_base", "layers.{l}.hc_attn_base", "layers.{l}.attn_hc.base"),
			rule("layers.{l}.hc_attn_scale", "layers.{l}.hc_attn_scale", "layers.{l}.attn_hc.scale"),
			rule("layers.{l}.hc_ffn_fn", "layers.{l}.hc_ffn_fn", "layers.{l}.ffn_hc.fn"),
			rule("layers.{l}.hc_ffn_base", "layers.{l}.hc_ffn_base", "layers.{l}.ffn_hc.base"),
			rule("layers.{l}.hc_ffn_scale", "layers.{l}.hc_ffn_scale", "layers.{l}.ffn_hc.scale"),
			rule("layers.{l}.attn_norm.weight", "layers.{l}.attn_norm"),
			rule("layers.{l}.ffn_norm.weight", "layers.{l}.ffn_norm"),
			rule("layers.{l}.attn.attn_sink", "layers.{l}.attn.attn_sink"),
			rule("layers.{l}.attn.wq_a.weight", "layers.{l}.attn.wq_a"),
			rule("layers.{l}.attn.q_norm.weight", "layers.{l}.attn.q_norm"),
			rule("layers.{l}.attn.wq_b.weight", "layers.{l}.attn.wq_b"),
			rule("layers.{l}.attn.wkv.weight", "layers.{l}.attn.wkv"),
			rule("layers.{l}.attn.kv_norm.weight", "layers.{l}.attn.kv_norm"),
			placed("layers.{l}.attn.wo_a.weight", schema.Place{Stem: "layers.{l}.attn.wo_a"}, inPieces("layers.{l}.attn.wo_a.{n}")),
			rule("layers.{l}.attn.wo_b.weight", "layers.{l}.attn.wo_b"),
			rule("layers.{l}.attn.compressor.ape", "layers.{l}.attn.compressor.ape"),
			rule("layers.{l}.attn.compressor.wkv.weight", "layers.{l}.attn.compressor.wkv"),
			rule("layers.{l}.attn.compressor.wgate.weight", "layers.{l}.attn.compressor.wgate"),
			rule("layers.{l}.attn.compressor.norm.weight", "layers.{l}.attn.compressor.norm"),
			rule("layers.{l}.attn.indexer.wq_b.weight", "layers.{l}.attn.indexer.wq_b"),
			rule("layers.{l}.attn.indexer.weights_proj.weight", "layers.{l}.attn.indexer.weights_proj"),
			rule("layers.{l}.attn.indexer.compressor.ape", "layers.{l}.attn.indexer.compressor.ape"),
			rule("layers.{l}.attn.indexer.compressor.wkv.weight", "layers.{l}.attn.indexer.compressor.wkv"),
			rule("layers.{l}.attn.indexer.compressor.wgate.weight", "layers.{l}.attn.indexer.compressor.wgate"),
			rule("layers.{l}.attn.indexer.compressor.norm.weight", "layers.{l}.attn.indexer.compressor.norm"),
			rule("layers.{l}.ffn.gate.weight", "layers.{l}.ffn.gate"),
			rule("layers.{l}.ffn.gate.bias", "layers.{l}.ffn.gate.bias"),
			rule("layers.{l}.ffn.gate.tid2eid", "layers.{l}.ffn.gate.tid2eid"),
			placed("layers.{l}.ffn.experts.w1", apart("layers.{l}.ffn.experts.{n}.w1"), stacked("layers.{l}.ffn.experts.w1")),
			placed("layers.{l}.ffn.experts.w2", apart("layers.{l}.ffn.experts.{n}.w2"), stacked("layers.{l}.ffn.experts.w2")),
			placed("layers.{l}.ffn.experts.w3", apart("layers.{l}.ffn.experts.{n}.w3"), stacked("layers.{l}.ffn.experts.w3")),
			rule("layers.{l}.ffn.shared_experts.w1.weight", "layers.{l}.ffn.shared_experts.w1"),
			rule("layers.{l}.ffn.shared_experts.w2.weight", "layers.{l}.ffn.shared_experts.w2"),
			rule("layers.{l}.ffn.shared_experts.w3.weight", "layers.{l}.ffn.shared_experts.w3"),
		},
	}
}
