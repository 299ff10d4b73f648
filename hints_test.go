package smelt

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/runtime/sampling"
)

func TestGenerationConfig(t *testing.T) {
	greedy := sampling.Greedy()
	for _, c := range []struct {
		name, file string
		want       sampling.Params
		eos        []int32
		stop       []string
		complaint  string
	}{
		{name: "empty object", file: `{}`, want: greedy},
		{name: "another case", file: `{"TEMPERATURE": 0.7, "Top_P": 0.5, "Top_K": "x"}`, want: greedy},
		{name: "another case beside it", file: `{"Temperature": 0.7, "temperature": 0.3, "TEMPERATURE": [1]}`, want: sampling.Params{Temperature: 0.3}},
		{name: "another key twice", file: `{"max_length": 1, "max_length": 2, "x": {"a": 1, "a": 2}, "temperature": 0.3}`, want: sampling.Params{Temperature: 0.3}},
		{name: "all", file: `{"do_sample": true, "temperature": 0.7, "top_p": 0.95, "top_k": 40, "eos_token_id": 1}`,
			want: sampling.Params{Temperature: 0.7, TopP: 0.95, TopK: 40}, eos: []int32{1}},
		{name: "no do_sample", file: `{"temperature": 0.6}`, want: sampling.Params{Temperature: 0.6}},
		{name: "do_sample off", file: `{"do_sample": false, "temperature": 0.6, "eos_token_id": [1]}`, want: greedy, eos: []int32{1}},
		{name: "filters without sampling, for whoever samples", file: `{"do_sample": false, "temperature": "x", "top_k": 7, "min_p": 0.5}`, want: sampling.Params{TopK: 7, MinP: 0.5}},
		{name: "sampling at transformers' temperature", file: `{"do_sample": true, "top_p": 0.9}`, want: sampling.Params{Temperature: 1, TopP: 0.9}},
		{name: "sampling without a temperature", file: `{"do_sample": true, "temperature": null}`, want: sampling.Params{Temperature: 1}},
		{name: "temperature of 0", file: `{"do_sample": true, "temperature": 0.0}`, want: greedy},
		{name: "temperature as a whole number", file: `{"temperature": 1}`, want: sampling.Params{Temperature: 1}},
		{name: "vLLM's top_k", file: `{"top_k": -1}`, want: greedy},
		{name: "vLLM's top_k as Python's float", file: `{"top_k": -1.0}`, want: greedy},
		{name: "transformers' top_k", file: `{"top_k": 0}`, want: greedy},
		{name: "top_k as a float", file: `{"top_k": 50.0}`, want: sampling.Params{TopK: 50}},
		{name: "top_k with an exponent", file: `{"top_k": 5e1}`, want: sampling.Params{TopK: 50}},
		{name: "top_k of null", file: `{"top_k": null}`, want: greedy},
		{name: "top_k beyond vocabularies", file: `{"top_k": 1000000000}`, want: greedy},
		{name: "top_p of 1", file: `{"top_p": 1.0}`, want: sampling.Params{TopP: 1}},
		{name: "top_p of 1, whole", file: `{"top_p": 1}`, want: sampling.Params{TopP: 1}},
		{name: "top_p of 0", file: `{"top_p": 0}`, want: sampling.Params{TopP: leastTopP}},
		{name: "top_p of 0.0", file: `{"top_p": 0.0}`, want: sampling.Params{TopP: leastTopP}},
		{name: "top_p of null", file: `{"top_p": null}`, want: greedy},
		{name: "min_p", file: `{"min_p": 0.05}`, want: sampling.Params{MinP: 0.05}},
		{name: "min_p off", file: `{"min_p": 0.0}`, want: greedy},
		{name: "min_p of 1", file: `{"min_p": 1}`, want: sampling.Params{MinP: 1}},
		{name: "min_p of null", file: `{"min_p": null}`, want: greedy},
		{name: "min_p beside others", file: `{"temperature": 0.5, "min_p": 1e-3, "top_k": -1}`, want: sampling.Params{Temperature: 0.5, MinP: 1e-3}},
		{name: "repetition_penalty", file: `{"repetition_penalty": 1.05}`, want: sampling.Params{RepetitionPenalty: 1.05}},
		{name: "repetition_penalty off", file: `{"repetition_penalty": 1.0}`, want: sampling.Params{RepetitionPenalty: 1}},
		{name: "repetition_penalty that rewards", file: `{"repetition_penalty": 0.9}`, want: sampling.Params{RepetitionPenalty: 0.9}},
		{name: "repetition_penalty of null", file: `{"repetition_penalty": null}`, want: greedy},
		{name: "repetition_penalty, whole", file: `{"repetition_penalty": 2}`, want: sampling.Params{RepetitionPenalty: 2}},
		{name: "presence and frequency", file: `{"presence_penalty": 1.5, "frequency_penalty": -0.5}`, want: sampling.Params{PresencePenalty: 1.5, FrequencyPenalty: -0.5}},
		{name: "presence and frequency off", file: `{"presence_penalty": 0, "frequency_penalty": 0.0}`, want: greedy},
		{name: "a stop string", file: `{"stop_strings": "\n"}`, want: greedy, stop: []string{"\n"}},
		{name: "stop strings", file: `{"stop_strings": ["</s>", "é\u2028"]}`, want: greedy, stop: []string{"</s>", "é\u2028"}},
		{name: "no stop strings", file: `{"stop_strings": []}`, want: greedy},
		{name: "stop strings of null", file: `{"stop_strings": null}`, want: greedy},
		{name: "stop string of a surrogate pair", file: `{"stop_strings": "\ud83d\ude00"}`, want: greedy, stop: []string{"😀"}},
		{name: "several ends", file: `{"eos_token_id": [1, 5, 9]}`, want: greedy, eos: []int32{1, 5, 9}},
		{name: "no ends", file: `{"eos_token_id": []}`, want: greedy},
		{name: "null values", file: `{"eos_token_id": null, "temperature": null, "do_sample": null}`, want: greedy},
		{name: "an end no model has", file: `{"eos_token_id": -1}`, want: greedy, eos: []int32{-1}},
		{name: "keys of other engines", file: `{"chat_format": 7, "max_new_tokens": {}}`, want: greedy},
		{name: "deep nesting in a key of others", file: `{"x": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, want: greedy},

		{name: "null", file: `null`, complaint: "file: found null, expected one JSON object"},
		{name: "no file content", file: ``, complaint: "generation_config.json is empty; download the file again, or remove it"},
		{name: "half a file", file: `{"temperature": 0.`, complaint: "file: found no valid JSON: the text ends too early"},
		{name: "more after it", file: `{} {}`, complaint: "file: found a second value after the first"},
		{name: "binary", file: "\x00\xff", complaint: "file: found no valid JSON at byte 0"},
		{name: "a list", file: `[1]`, complaint: "file: found [1], expected one JSON object"},
		{name: "a key twice", file: `{"temperature": 0.5, "temperature": 0.7}`, complaint: "temperature: found the key twice, expected it once"},
		{name: "a key twice, escaped", file: `{"top_p": 0.5, "top\u005fp": 0.7}`, complaint: "top_p: found the key twice"},
		{name: "a key three times, alike", file: `{"do_sample": true, "do_sample": true, "do_sample": true}`, complaint: "do_sample: found the key 3 times"},
		{name: "a key twice, first null", file: `{"top_k": null, "top_k": 3}`, complaint: "top_k: found the key twice"},
		{name: "ends twice", file: `{"eos_token_id": 1, "x": 0, "eos_token_id": [1]}`, complaint: "eos_token_id: found the key twice"},
		{name: "temperature as text", file: `{"temperature": "0.7"}`, complaint: `temperature: found "0.7", expected a number at least 0`},
		{name: "temperature beyond numbers", file: `{"temperature": 1e999}`, complaint: "temperature: found 1e999, expected a number"},
		{name: "negative temperature", file: `{"temperature": -1}`, complaint: "temperature: found -1, expected a number at least 0"},
		{name: "top_p above 1", file: `{"top_p": 1.5}`, complaint: "top_p: found 1.5, expected a number at least 0 and at most 1; correct the file or give TopP"},
		{name: "negative top_p", file: `{"top_p": -1}`, complaint: "top_p: found -1"},
		{name: "top_p as text", file: `{"top_p": "0.9"}`, complaint: `top_p: found "0.9"`},
		{name: "negative top_k", file: `{"top_k": -2}`, complaint: "top_k: found -2, expected a whole number from -1"},
		{name: "top_k as text", file: `{"top_k": "40"}`, complaint: `top_k: found "40"`},
		{name: "min_p above 1", file: `{"min_p": 5}`, complaint: "min_p: found 5, expected a number at least 0 and at most 1; correct the file or give MinP"},
		{name: "negative min_p", file: `{"min_p": -0.1}`, complaint: "min_p: found -0.1"},
		{name: "repetition_penalty of 0", file: `{"repetition_penalty": 0}`, complaint: "repetition_penalty: found 0, expected a number above 0 and at most 1e+06"},
		{name: "repetition_penalty as text", file: `{"repetition_penalty": "x"}`, complaint: `repetition_penalty: found "x"`},
		{name: "presence_penalty beyond OpenAI's", file: `{"presence_penalty": 2.5}`, complaint: "presence_penalty: found 2.5, expected a number at least -2 and at most 2"},
		{name: "frequency_penalty beyond OpenAI's", file: `{"frequency_penalty": -3}`, complaint: "frequency_penalty: found -3"},
		{name: "stop strings as a number", file: `{"stop_strings": 13}`, complaint: "stop_strings: found 13, expected a string, or a list of them"},
		{name: "stop strings as ids", file: `{"stop_strings": ["a", [1]]}`, complaint: "stop_strings: found [1]"},
		{name: "an empty stop string", file: `{"stop_strings": ["a", ""]}`, complaint: `stop_strings: found "", expected texts of one character or more; correct the file or give StopStrings`},
		{name: "top_k with a fraction", file: `{"top_k": 1.5}`, complaint: "top_k: found 1.5, expected a whole number"},
		{name: "do_sample as a number", file: `{"do_sample": 1}`, complaint: "do_sample: found 1, expected true or false"},
		{name: "end as text", file: `{"eos_token_id": "<｜end▁of▁sentence｜>"}`, complaint: "eos_token_id: found \"<｜end▁of▁sentence｜>\", expected a whole number"},
		{name: "end with a fraction", file: `{"eos_token_id": 1.5}`, complaint: "eos_token_id: found 1.5"},
		{name: "end beyond ids", file: `{"eos_token_id": [1, 4294967296]}`, complaint: "eos_token_id: found 4294967296, expected a whole number"},
		{name: "long ends are cut", file: `{"eos_token_id": "` + strings.Repeat("x", 9000) + `"}`, complaint: `eos_token_id: found "xxx`},
		{name: "all keys wrong", file: `{"do_sample": 0, "temperature": [], "top_p": {}, "top_k": true, "eos_token_id": {}}`, complaint: ": eos_token_id: found {}, expected"},
		{name: "deep nesting", file: strings.Repeat("[", 50000), complaint: `file: found no valid JSON in "0.0.0.0" (10000 levels deep) at byte`},
		{name: "deep keys", file: strings.Repeat(`{"key":`, 50000), complaint: `in "key.key.key.key" (10000 levels deep)`},
		{name: "long keys", file: "{\"" + strings.Repeat("k", 10000) + "\": x}", complaint: "no valid JSON in "},
		{name: "huge", file: `{"x": "` + strings.Repeat("x", maxGenerationConfig) + `"}`, complaint: "expected at most 1048576"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "generation_config.json")
			if err := os.WriteFile(path, []byte(c.file), 0o666); err != nil {
				t.Fatal(err)
			}
			h, err := readHints(dir)
			if err == nil {
				err = h.wrong(func(option.Name) bool { return true })
			}
			if c.complaint != "" {
				if err == nil || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), c.complaint) || len(err.Error()) > 5*(len(path)+450) {
					t.Errorf("got %.500v, want %q", err, c.complaint)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(h.params, c.want) || !slices.Equal(h.eos, c.eos) || !slices.Equal(h.stop, c.stop) {
				t.Errorf("got %+v, ends %v and %q; want %+v, %v, %q", h.params, h.eos, h.stop, c.want, c.eos, c.stop)
			}
		})
	}
}

// TestHintsThatCount: where the most likely token is taken, nobody minds what narrows the
// choice.
func TestHintsThatCount(t *testing.T) {
	for _, c := range []struct {
		file          string
		drawn, likely bool // is an error where tokens are drawn, and where the most likely one is taken
	}{
		{`{"top_k": 5, "top_p": 0.5, "min_p": 0.1}`, false, false},
		{`{"top_k": "x"}`, true, false},
		{`{"top_p": 2}`, true, false},
		{`{"min_p": []}`, true, false},
		{`{"top_k": 1.5, "top_p": -1, "min_p": 7}`, true, false},
		{`{"temperature": -1}`, true, true},
		{`{"do_sample": 3, "top_k": 1.5}`, true, true},
		{`{"repetition_penalty": 0}`, true, true},
		{`{"presence_penalty": 5, "min_p": 5}`, true, true},
		{`{"stop_strings": 3, "eos_token_id": "x"}`, false, false}, // says nothing of sampling
	} {
		var h hints
		if err := h.parse([]byte(c.file)); err != nil {
			t.Fatal(err)
		}
		for drawn, want := range map[bool]bool{true: c.drawn, false: c.likely} {
			if _, err := h.sampling(drawn); (err != nil) != want {
				t.Errorf("%s, drawn %v: %v", c.file, drawn, err)
			}
		}
	}
	dir := copied(t, storyteller, nil)
	for file, want := range map[string]string{`{"do_sample": false, "top_p": 7}`: "", `{"do_sample": true, "top_p": 7}`: "top_p: found 7"} {
		if err := os.WriteFile(filepath.Join(dir, generationName), []byte(file), 0o666); err != nil {
			t.Fatal(err)
		}
		m := open(t, dir, Options{Context: 64})
		g, err := m.Generate(t.Context(), Request{Prompt: "Once", MaxTokens: 1})
		if err == nil {
			_, err = g.Wait()
		}
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

// TestUnusedHints: what smelt does not go by is named, unless it changes nothing.
func TestUnusedHints(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{`{}`, ""},
		{`{"transformers_version": "4.57.1", "bos_token_id": 0, "pad_token_id": 2, "_from_model_config": true, "use_cache": true}`, ""},
		{`{"num_beams": 1, "typical_p": 1.0, "length_penalty": 1.0, "bad_words_ids": null, "suppress_tokens": [], "forced_eos_token_id": null, "no_repeat_ngram_size": 0}`, ""},
		{`{"num_assistant_tokens": 20, "num_assistant_tokens_schedule": "constant", "assistant_confidence_threshold": 0.4, "target_lookbehind": 10, "prefill_chunk_size": 512}`, ""},
		{`{"sequence_bias": [[[1], 2.0]], "prompt_lookup_num_tokens": 3}`, "sequence_bias [[[1], 2.0]]"},
		{`{"num_beams": 4}`, "num_beams 4"},
		{`{"suppress_tokens": [5], "max_new_tokens": 3, "eos_token_id": 1, "top_k": -1}`, "max_new_tokens 3, suppress_tokens [5]"},
		{`{"typical_p": 0.95, "bad_words_ids": [[1, 2]], "forced_bos_token_id": 7}`, "bad_words_ids [[1, 2]], forced_bos_token_id 7, typical_p 0.95"},
		{`{"no_repeat_ngram_size": 3, "a key of nobody": {"x": 1}}`, `a key of nobody {"x": 1}, no_repeat_ngram_size 3`},
		{`{"max_length": 20, "max_time": 1.5, "max_time": 2}`, "max_time"},
		{`{"min_new_tokens": ` + strings.Repeat("9", 9000) + `}`, "min_new_tokens " + strings.Repeat("9", 40) + "..."},
	} {
		var h hints
		if err := h.parse([]byte(c.file)); err != nil {
			t.Fatal(err)
		}
		want := ""
		if c.want != "" {
			want = ": smelt does not support " + c.want + "; the text is generated without"
		}
		if got := h.note(); got != want {
			t.Errorf("%.100s: %q, want %q", c.file, got, want)
		}
	}
}

func TestGenerationConfigIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if h, err := readHints(dir); err != nil || !reflect.DeepEqual(h.params, sampling.Greedy()) || h.note() != "" {
		t.Errorf("without one: %+v, %v", h, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "generation_config.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := readHints(dir); err == nil || !strings.Contains(err.Error(), "is a folder; expected a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

// FuzzGenerationConfig: what is accepted can be sampled with.
func FuzzGenerationConfig(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"temperature": 0.7, "top_p": 0.95, "top_k": 3, "eos_token_id": [1, 2]}`, `{"eos_token_id": "x"}`, `{"temperature": 1e400}`, `[`, `{"top_k": -1, "do_sample": false}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var h hints
		if err := h.parse(data); err != nil {
			if len(err.Error()) > 500 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if err := h.params.Validate(); err != nil {
			t.Fatalf("%q is accepted and gives %+v: %v", data, h.params, err)
		}
		if slices.Contains(h.stop, "") {
			t.Fatalf("%q gives an empty stop string", data)
		}
		if len(h.note()) > 5000 {
			t.Fatalf("a note of %d bytes", len(h.note()))
		}
	})
}
