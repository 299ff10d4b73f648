package smelt

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/strictjson"
)

// aside are keys of generation_config.json that change no text: what wrote the file,
// tokens that smelt takes from elsewhere, memory and speed (drafts of an assistant model,
// which the model checks, and chunks of the prompt), and what the caller of an engine gets
// beside the text.
var aside = []string{
	"_from_model_config", "transformers_version", "_commit_hash", "_name_or_path", "_original_object_hash",
	"bos_token_id", "pad_token_id", "decoder_start_token_id",
	"use_cache", "cache_implementation", "cache_config", "return_legacy_cache", "low_memory", "disable_compile", "compile_config", "prefill_chunk_size",
	"is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_lookbehind",
	"target_lookbehind", "assistant_early_exit", "prompt_lookup_num_tokens", "max_matching_ngram_size",
	"output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate",
	"chat_format", "max_window_size",
}

// offValues are those with which a key changes nothing, beside null, false, 0 and what
// is empty: transformers' defaults.
var offValues = map[string][]string{
	"num_beams": {"1"}, "num_beam_groups": {"1"}, "num_return_sequences": {"1"}, "length_penalty": {"1"}, "typical_p": {"1"},
	"guidance_scale": {"1"}, "encoder_repetition_penalty": {"1"}, "top_h": {"1"}, "max_length": {"20"},
}

// unusedKeys are the keys with a value that would change a text, as sentences name
// them.
func unusedKeys(o *strictjson.Object) (list []string) {
	o.Know(aside...)
	for _, key := range o.Rest() {
		v, ok := o.Get(key)
		off := o.Kind(key) == jsontext.KindNull
		if ok {
			plain := strings.TrimSuffix(string(v), ".0")
			off = slices.Contains([]string{"false", "0", `""`, "[]", "{}"}, plain) || slices.Contains(offValues[key], plain)
		}
		if !off { // a key that stands twice is named without a value
			list = append(list, strings.TrimSpace(message.Line(key, 40)+" "+message.Line(string(v), 40)))
		}
	}
	return list
}
