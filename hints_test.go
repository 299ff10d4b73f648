package smelt

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/runtime/sampling"
)

func TestGenerationConfig(t *testing.T) {
	greedy := sampling.Greedy()
	for _, c := range []struct {
		name, file string
		want       sampling.Params
		eos        []int32
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
		{name: "several ends", file: `{"eos_token_id": [1, 5, 9]}`, want: greedy, eos: []int32{1, 5, 9}},
		{name: "no ends", file: `{"eos_token_id": []}`, want: greedy},
		{name: "null values", file: `{"eos_token_id": null, "temperature": null, "do_sample": null}`, want: greedy},
		{name: "an end no model has", file: `{"eos_token_id": -1}`, want: greedy, eos: []int32{-1}},
		{name: "keys of other engines", file: `{"repetition_penalty": "x", "max_new_tokens": {}}`, want: greedy},
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
		{name: "top_p of 0", file: `{"top_p": 0}`, complaint: "top_p: found 0, expected a number above 0 and at most 1"},
		{name: "negative top_k", file: `{"top_k": -1}`, complaint: "top_k: found -1, expected a whole number from 0"},
		{name: "top_k with a fraction", file: `{"top_k": 1.5}`, complaint: "top_k: found 1.5, expected a whole number"},
		{name: "do_sample as a number", file: `{"do_sample": 1}`, complaint: "do_sample: found 1, expected true or false"},
		{name: "end as text", file: `{"eos_token_id": "<｜end▁of▁sentence｜>"}`, complaint: "eos_token_id: found \"<｜end▁of▁sentence｜>\", expected a whole number"},
		{name: "end with a fraction", file: `{"eos_token_id": 1.5}`, complaint: "eos_token_id: found 1.5"},
		{name: "end beyond ids", file: `{"eos_token_id": [1, 4294967296]}`, complaint: "eos_token_id: found 4294967296, expected a whole number"},
		{name: "long ends are cut", file: `{"eos_token_id": "` + strings.Repeat("x", 9000) + `"}`, complaint: `eos_token_id: found "xxx`},
		{name: "all keys wrong", file: `{"do_sample": 0, "temperature": [], "top_p": {}, "top_k": true, "eos_token_id": {}}`, complaint: "; eos_token_id: found {}, expected"},
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
			g, err := readGenerationConfig(dir)
			if c.complaint != "" {
				if err == nil || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), c.complaint) || len(err.Error()) > len(path)+450 {
					t.Errorf("got %.500v, want %q", err, c.complaint)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := sampling.Greedy()
			g.fill(&got)
			if got != c.want || !slices.Equal(g.EOS, c.eos) {
				t.Errorf("got %+v, ends %v; want %+v, %v", got, g.EOS, c.want, c.eos)
			}
		})
	}
}

func TestGenerationConfigIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if g, err := readGenerationConfig(dir); err != nil || g.Temperature != nil {
		t.Errorf("without one: %+v, %v", g, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "generation_config.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := readGenerationConfig(dir); err == nil || !strings.Contains(err.Error(), "is a folder; expected a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

// FuzzGenerationConfig: what is accepted can be sampled with.
func FuzzGenerationConfig(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"temperature": 0.7, "top_p": 0.95, "top_k": 3, "eos_token_id": [1, 2]}`, `{"eos_token_id": "x"}`, `{"temperature": 1e400}`, `[`, `{"top_k": -1, "do_sample": false}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var g generationConfig
		if err := g.parse(data); err != nil {
			if len(err.Error()) > 500 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		p := sampling.Greedy()
		g.fill(&p)
		if err := p.Validate(); err != nil {
			t.Fatalf("%q is accepted and gives %+v: %v", data, p, err)
		}
	})
}
