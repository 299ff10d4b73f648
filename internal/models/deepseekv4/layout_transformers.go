package deepseekv4

import (
	"smelt.example/smelt/internal/models/schema"
)

// transformersLayout has the names of HF transformers 5.17, and those by which
// older releases differ: q_norm for q_a_norm, indexer.weights_proj without
// scorer, the indexer beside the compressor.
func transformersLayout() schema.Layout {
	const m, a, f = "model.layers.{l}.", "layers.{l}.attn.", "layers.{l}.ffn."
	const s, e = m + "self_attn.", m + "mlp."
	const gate, up = f + "experts.w1", f + "experts.w3"
	return schema.Layout{
		Name:  "transformers' names",
		Marks: []string{m + "self_attn", m + "mlp", m + "input_layernorm"},
		Rules: []schema.Rule{
			rule("embed.weight", "model.embed_tokens"),
			rule("head.weight", "lm_head"),
			rule("norm.weight", "model.norm"),
			rule("hc_head_fn", "model.hc_head.hc_fn"),
			rule("hc_head_base", "model.hc_head.hc_base"),
			rule("hc_head_scale", "model.hc_head.hc_scale"),
			rule("layers.{l}.hc_attn_fn", m+"attn_hc.fn"),
			rule("layers.{l}.hc_attn_base", m+"attn_hc.base"),
			rule("layers.{l}.hc_attn_scale", m+"attn_hc.scale"),
			rule("layers.{l}.hc_ffn_fn", m+"ffn_hc.fn"),
			rule("layers.{l}.hc_ffn_base", m+"ffn_hc.base"),
			rule("layers.{l}.hc_ffn_scale", m+"ffn_hc.scale"),
			rule("layers.{l}.attn_norm.weight", m+"input_layernorm"),
			rule("layers.{l}.ffn_norm.weight", m+"post_attention_layernorm"),
			rule(a+"attn_sink", s+"sinks"),
			rule(a+"wq_a.weight", s+"q_a_proj"),
			rule(a+"q_norm.weight", s+"q_a_norm", s+"q_norm"),
			rule(a+"wq_b.weight", s+"q_b_proj"),
			rule(a+"wkv.weight", s+"kv_proj"),
			rule(a+"kv_norm.weight", s+"kv_norm"),
			rule(a+"wo_a.weight", s+"o_a_proj"),
			rule(a+"wo_b.weight", s+"o_b_proj"),
			rule(a+"compressor.ape", s+"compressor.position_bias"),
			rule(a+"compressor.wkv.weight", s+"compressor.kv_proj"),
			rule(a+"compressor.wgate.weight", s+"compressor.gate_proj"),
			rule(a+"compressor.norm.weight", s+"compressor.kv_norm"),
			indexerRule("wq_b.weight", "q_b_proj"),
			indexerRule("weights_proj.weight", "scorer.weights_proj", "weights_proj"),
			indexerRule("compressor.ape", "position_bias"),
			indexerRule("compressor.wkv.weight", "kv_proj"),
			indexerRule("compressor.wgate.weight", "gate_proj"),
			indexerRule("compressor.norm.weight", "kv_norm"),
			rule(f+"gate.weight", e+"gate"),
			rule(f+"gate.bias", e+"gate.e_score_correction_bias"),
			rule(f+"gate.tid2eid", e+"gate.tid2eid"),
			placed(gate, fused(e+"experts.gate_up_proj", "experts stacked, gate over up", gate, up), apart(e+"experts.{n}.gate_proj")),
			placed(up, fused(e+"experts.gate_up_proj", "experts stacked, gate over up", gate, up), apart(e+"experts.{n}.up_proj")),
			placed(f+"experts.w2", schema.Place{Stem: e + "experts.down_proj"}, apart(e+"experts.{n}.down_proj")),
			rule(f+"shared_experts.w1.weight", e+"shared_experts.gate_proj"),
			rule(f+"shared_experts.w2.weight", e+"shared_experts.down_proj"),
			rule(f+"shared_experts.w3.weight", e+"shared_experts.up_proj"),
		},
	}
}

func indexerRule(param string, theirs ...string) schema.Rule {
	var stems []string
	for _, parent := range []string{"compressor.indexer.", "indexer."} {
		for _, t := range theirs {
			stems = append(stems, "model.layers.{l}.self_attn."+parent+t)
		}
	}
	return rule("layers.{l}.attn.indexer."+param, stems...)
}
