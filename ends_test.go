package smelt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/runtime/sampling"
)

// copied is a checkpoint with other content in some of its files; nil removes one.
func copied(t *testing.T, checkpoint string, files map[string]func(content map[string]any)) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(checkpoint)); err != nil {
		t.Fatal(err)
	}
	for name, change := range files {
		path := filepath.Join(dir, name)
		if change == nil {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		content := map[string]any{}
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, &content)
		}
		if err != nil {
			t.Fatal(err)
		}
		change(content)
		if data, err = json.Marshal(content); err == nil {
			err = os.WriteFile(path, data, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// set puts a value under a key.
func set(key string, value any) func(map[string]any) {
	return func(content map[string]any) { content[key] = value }
}

func opened(t *testing.T, dir string) *Files {
	t.Helper()
	f, err := OpenFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestStopTokens: the stop set is the union of three files, whatever form they have.
func TestStopTokens(t *testing.T) {
	type object = map[string]any
	for _, c := range []struct {
		name                          string
		config, generation, tokenizer any // of the three files; "-" for no file
		want                          []int32
		note, fails                   string
	}{
		{name: "all alike", config: 1, generation: 1, tokenizer: "<｜end▁of▁sentence｜>", want: []int32{1}},
		{name: "only tokenizer_config.json", generation: "-", tokenizer: object{"content": "<｜end▁of▁sentence｜>", "__type": "AddedToken"}, want: []int32{1}},
		{name: "as a plain text", generation: "-", tokenizer: "<｜User｜>", want: []int32{4091}},
		{name: "several texts", tokenizer: []string{"<｜User｜>", "</think>"}, want: []int32{4091, 4094}},
		{name: "three that differ", config: 1, generation: []int{2, 7}, tokenizer: "<｜Assistant｜>", want: []int32{1, 2, 7, 4092}},
		{name: "only generation_config.json", generation: []int{5, 5, 3}, tokenizer: "-", want: []int32{3, 5}},
		{name: "only config.json", config: []int{1, 2}, generation: "-", tokenizer: "-", want: []int32{1, 2}},
		{name: "an end of the vocabulary", tokenizer: "a", want: []int32{67}},
		{name: "none", generation: "-", tokenizer: "-"},
		{name: "none in three files"},
		{name: "minus one", generation: -1},
		{name: "a text that is no token", config: 1, tokenizer: "<no such token>", want: []int32{1}, note: `eos_token is "<no such token>", which the tokenizer does not have`},
		{name: "an object of no token", config: 1, tokenizer: object{"content": "<|x|>"}, want: []int32{1}, note: `eos_token is "<|x|>"`},
		{name: "an id beyond the vocabulary", config: 1, generation: []int{4096}, want: []int32{1}, note: "eos_token_id 4096 is no token of the model's 4096"},
		{name: "a number", tokenizer: 7, fails: "eos_token: found 7, expected a string, or a list of them; correct or remove the file"},
		{name: "an object with a number", tokenizer: object{"content": 1}, fails: "eos_token.content: found 1"},
		{name: "a name for an id", generation: "<｜User｜>", fails: `eos_token_id: found "<｜User｜>"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]func(object){"config.json": set("eos_token_id", c.config), generationName: set("eos_token_id", c.generation), tokenizerConfigName: set("eos_token", c.tokenizer)}
			if c.generation == "-" {
				files[generationName] = nil
			}
			if c.tokenizer == "-" {
				files[tokenizerConfigName] = nil
			}
			f := opened(t, copied(t, storyteller, files))
			got, err := f.Stop()
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || !strings.Contains(err.Error(), "_config.json: ") {
					t.Errorf("%v, want %q", err, c.fails)
				}
				return
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
			if notes := strings.Join(f.Notes(), "\n"); c.note == "" && notes != "" || !strings.Contains(notes, c.note) {
				t.Errorf("notes %q, want %q", notes, c.note)
			}
		})
	}
}

// TestVocabularyHoles: rows without a token are not picked, however likely, but for one
// that ends a text; the evaluation of a text has them all.
func TestVocabularyHoles(t *testing.T) {
	const from, to = 1500, 4000 // of the merges that go, in the middle of the ids
	const end = 2000
	gone := func(content map[string]any) {
		model := content["model"].(map[string]any)
		vocab, merges := model["vocab"].(map[string]any), model["merges"].([]any)
		for token, id := range vocab {
			if n := int(id.(float64)); n >= from && n < to {
				delete(vocab, token)
			}
		}
		for _, added := range content["added_tokens"].([]any) { // else their ids would count on from the size
			x := added.(map[string]any)
			vocab[x["content"].(string)] = x["id"]
		}
		model["merges"] = slices.DeleteFunc(merges, func(m any) bool {
			text, ok := m.(string)
			if !ok {
				parts := m.([]any)
				text = parts[0].(string) + " " + parts[1].(string)
			}
			a, b, _ := strings.Cut(text, " ")
			for _, part := range []string{a, b, a + b} {
				if _, there := vocab[part]; !there {
					return true
				}
			}
			return false
		})
	}
	m := open(t, copied(t, storyteller, map[string]func(map[string]any){"tokenizer.json": gone, generationName: set("eos_token_id", []int{1, end})}), Options{Context: 128})
	tok, err := m.Files().Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	mask, err := m.Files().allowed()
	if err != nil || mask == nil {
		t.Fatalf("%v, %v", mask, err)
	}
	for id := range int32(m.Files().Model.VocabSize) {
		if _, there := tok.Token(id); mask.Allows(id) != (there || id == end) || there == (id >= from && id < to) {
			t.Errorf("token %d is there: %v, allowed: %v", id, there, mask.Allows(id))
		}
	}
	g := generate(t, m, Request{Prompt: "Once", MaxTokens: 60, Sampling: &sampling.Params{Temperature: 1e6, Seed: 1}, LogProbs: true, Top: 4096})
	n, holes := 0, 0
	for token, err := range g.Tokens() {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if len(token.Top) != 4096 && token.ID >= 0 {
			t.Errorf("token %d: %d of 4096 probabilities", token.ID, len(token.Top))
		}
		if token.ID >= from && token.ID < to {
			holes++
		}
	}
	if holes > 0 || n < 20 {
		t.Errorf("of %d tokens %d are none", n, holes)
	}
}

// TestNoMask: where the tokenizer has all tokens, or there is none, all are allowed.
func TestNoMask(t *testing.T) {
	for _, dir := range []string{storyteller, fixture} {
		if mask, err := opened(t, dir).allowed(); mask != nil || err != nil {
			t.Errorf("%s: %v, %v", dir, mask, err)
		}
	}
}
