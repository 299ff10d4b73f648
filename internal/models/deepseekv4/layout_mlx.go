package deepseekv4

import (
	"smelt.example/smelt/internal/models/schema"
)

// mlxLayout has the names mlx-lm and mlx-vlm save a converted model under:
// DeepSeek's below "model.", with some tensors fused and some renamed. Forks
// differ, so most rows have alternatives (field.md 7.3, C); one for each is DeepSeek's
// own, as checkpoints of trainers have them below "model.".
func mlxLayout() schema.Layout {
	const m, a, x, f = "model.layers.{l}.", "layers.{l}.attn.", "layers.{l}.attn.indexer.", "layers.{l}.ffn."
	return schema.Layout{
		Name:  "MLX-converted names",
		Marks: []string{m + "attn", m + "ffn", m + "hc_"},
		Rules: []schema.Rule{
			rule("embed.weight", "model.embed_tokens", "model.embed"),
			rule("head.weight", "lm_head", "head", "model.head"),
			rule("norm.weight", "model.norm"),
			rule("hc_head_fn", "model.hc_head.fn", "model.hc_head_fn"),
			rule("hc_head_base", "model.hc_head.base", "model.hc_head_base"),
			rule("hc_head_scale", "model.hc_head.scale", "model.hc_head_scale"),
			rule("layers.{l}.hc_attn_fn", m+"hc_attn.fn", m+"attn_hc.fn", m+"hc_attn_fn"),
			rule("layers.{l}.hc_attn_base", m+"hc_attn.base", m+"attn_hc.base", m+"hc_attn_base"),
			rule("layers.{l}.hc_attn_scale", m+"hc_attn.scale", m+"attn_hc.scale", m+"hc_attn_scale"),
			rule("layers.{l}.hc_ffn_fn", m+"hc_ffn.fn", m+"ffn_hc.fn", m+"hc_ffn_fn"),
			rule("layers.{l}.hc_ffn_base", m+"hc_ffn.base", m+"ffn_hc.base", m+"hc_ffn_base"),
			rule("layers.{l}.hc_ffn_scale", m+"hc_ffn.scale", m+"ffn_hc.scale", m+"hc_ffn_scale"),
			rule("layers.{l}.attn_norm.weight", m+"attn_norm"),
			rule("layers.{l}.ffn_norm.weight", m+"ffn_norm"),
			rule(a+"attn_sink", m+"attn.attn_sink"),
			fusable(a+"wq_a.weight", m+"attn.wq_a", m+"attn.wqkv_a", "wq_a and wkv fused", a+"wq_a.weight", a+"wkv.weight"),
			fusable(a+"wkv.weight", m+"attn.wkv", m+"attn.wqkv_a", "wq_a and wkv fused", a+"wq_a.weight", a+"wkv.weight"),
			rule(a+"q_norm.weight", m+"attn.q_norm"),
			rule(a+"wq_b.weight", m+"attn.wq_b"),
			rule(a+"kv_norm.weight", m+"attn.kv_norm"),
			placed(a+"wo_a.weight", schema.Place{Stem: m + "attn.wo_a"}, inPieces(m+"attn.wo_a.{n}")),
			rule(a+"wo_b.weight", m+"attn.wo_b"),
			rule(a+"compressor.ape", m+"attn.compressor.ape"),
			compressorHalf(a+"compressor.", m+"attn.compressor.", "wkv"),
			compressorHalf(a+"compressor.", m+"attn.compressor.", "wgate"),
			rule(a+"compressor.norm.weight", m+"attn.compressor.norm"),
			rule(x+"wq_b.weight", m+"attn.indexer.wq_b"),
			rule(x+"weights_proj.weight", m+"attn.indexer.weights_proj"),
			rule(x+"compressor.ape", m+"attn.indexer.compressor.ape"),
			compressorHalf(x+"compressor.", m+"attn.indexer.compressor.", "wkv"),
			compressorHalf(x+"compressor.", m+"attn.indexer.compressor.", "wgate"),
			rule(x+"compressor.norm.weight", m+"attn.indexer.compressor.norm"),
			rule(f+"gate.weight", m+"ffn.gate"),
			rule(f+"gate.bias", m+"ffn.gate.e_score_correction_bias", m+"ffn.gate.bias"),
			rule(f+"gate.tid2eid", m+"ffn.gate.tid2eid"),
			mlxExperts("w1", "gate_proj"),
			mlxExperts("w2", "down_proj"),
			mlxExperts("w3", "up_proj"),
			rule(f+"shared_experts.w1.weight", m+"ffn.shared_experts.gate_proj", m+"ffn.shared_experts.w1"),
			rule(f+"shared_experts.w2.weight", m+"ffn.shared_experts.down_proj", m+"ffn.shared_experts.w2"),
			rule(f+"shared_experts.w3.weight", m+"ffn.shared_experts.up_proj", m+"ffn.shared_experts.w3"),
		},
	}
}

// fusable is a parameter that is stored alone or in a fused tensor.
func fusable(param, alone, together, note string, params ...string) schema.Rule {
	return placed(param, schema.Place{Stem: alone}, fused(together, note, params...))
}

func compressorHalf(param, stem, which string) schema.Rule {
	return fusable(param+which+".weight", stem+which, stem+"wkv_gate", "compressors' wkv and wgate fused", param+"wkv.weight", param+"wgate.weight")
}

func mlxExperts(ours, theirs string) schema.Rule {
	const f = "model.layers.{l}.ffn."
	return placed("layers.{l}.ffn.experts."+ours,
		stacked(f+"switch_mlp."+theirs), stacked(f+"experts."+ours),
		apart(f+"experts.{n}."+ours), apart(f+"experts.{n}."+theirs))
}
