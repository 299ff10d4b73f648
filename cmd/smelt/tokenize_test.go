package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	storyteller  = "../../examples/storyteller/checkpoint"
	plainFixture = "../../internal/models/deepseekv4/testdata/fixtures/a-bf16" // has no tokenizer.json
)

func TestTokenizeRoundTrip(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"nothing", ""},
		{"words", "Once upon a time"},
		{"line breaks", "one\n\ntwo\r\n"},
		{"no ASCII", "Grüße 你好 🙂\u00a0"},
		{"special token", "<｜User｜>hello<｜Assistant｜>"},
		{"HTML and quotes", `<b>"&amp;"</b> \n`},
		{"NUL", "a\x00b"},
	} {
		for _, mode := range []string{"", "--ordinary"} {
			t.Run(c.name+mode, func(t *testing.T) {
				args := []string{"tokenize", storyteller}
				if mode != "" {
					args = append(args, mode)
				}
				ids := smelt(t, c.text, args...).succeeds(t)
				if inline := smelt(t, "unread", append(args, "--text", c.text)...).succeeds(t); inline != ids {
					t.Errorf("--text gives %s, standard input %s", inline, ids)
				}
				if text := smelt(t, ids, "tokenize", storyteller, "--decode").succeeds(t); text != c.text {
					t.Errorf("back comes %q of %q by way of %s", text, c.text, ids)
				}
				r := tokenizeJSON(t, c.text, append(args, "--json")...)
				list, err := json.Marshal(r.IDs)
				if err != nil || string(list)+"\n" != ids || r.Text != c.text || len(r.Tokens) != len(r.IDs) {
					t.Errorf("--json gives %+v, without it %s", r, ids)
				}
				if back := tokenizeJSON(t, ids, "tokenize", storyteller, "-d", "--json"); !slices.Equal(back.IDs, r.IDs) || !slices.Equal(back.Tokens, r.Tokens) || back.Text != c.text {
					t.Errorf("--decode --json gives %+v, want %+v", back, r)
				}
			})
		}
	}
}

func tokenizeJSON(t *testing.T, stdin string, args ...string) tokenizeReport {
	t.Helper()
	var r tokenizeReport
	if err := json.Unmarshal([]byte(smelt(t, stdin, args...).succeeds(t)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTokenizeIDs: ids are those Hugging Face's tokenizers 0.23.2 gives for the
// file.
func TestTokenizeIDs(t *testing.T) {
	for _, c := range []struct {
		name, stdin, want string
		args              []string
	}{
		{"text", "Once upon a time", "[779,576,261,502]\n", nil},
		{"line break at the end", "Once upon a time\n", "[779,576,261,502,201]\n", nil},
		{"nothing", "", "[]\n", nil},
		{"no begin-of-sentence token is added", "<｜begin▁of▁sentence｜>", "[0]\n", nil},
		{"decode", "[779,576,261,502]", "Once upon a time", []string{"--decode"}},
		{"decode a list", " 779\n576, 261\t502\n", "Once upon a time", []string{"--decode"}},
		{"decode nothing", "", "", []string{"--decode"}},
		{"decode special tokens", "[0]", "<｜begin▁of▁sentence｜>", []string{"--decode"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, place := range []string{"", "tokenizer.json", "model.safetensors"} {
				args := append([]string{"tokenize", filepath.Join(storyteller, place)}, c.args...)
				if got := smelt(t, c.stdin, args...).succeeds(t); got != c.want {
					t.Errorf("%v gives %q, want %q", args, got, c.want)
				}
			}
		})
	}
}

func TestTokenizeOrdinary(t *testing.T) {
	special := tokenizeJSON(t, "<｜User｜>", "tokenize", storyteller, "--json")
	if !slices.Equal(special.Tokens, []string{"<｜User｜>"}) {
		t.Errorf("recognised as %q", special.Tokens)
	}
	if plain := tokenizeJSON(t, "<｜User｜>", "tokenize", storyteller, "--json", "--ordinary"); len(plain.IDs) < 2 || slices.Contains(plain.IDs, special.IDs[0]) {
		t.Errorf("--ordinary gives %q", plain.Tokens)
	}
}

func TestTokenizeRefuses(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := os.WriteFile(broken, []byte(`{"model": `), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, stdin string
		args        []string
		want        []string
	}{
		{"no argument", "", nil, []string{"expected one CHECKPOINT", "smelt tokenize --help"}},
		{"unknown flag", "", []string{storyteller, "--bos"}, []string{"--bos", "smelt tokenize --help"}},
		{"nothing there", "", []string{"nowhere"}, []string{"nowhere", "give a folder with tokenizer.json"}},
		{"no tokenizer", "", []string{plainFixture}, []string{plainFixture, "no tokenizer.json", "copy it"}},
		{"no tokenizer beside the weights", "", []string{plainFixture + "/model-00001-of-00003.safetensors"}, []string{plainFixture, "no tokenizer.json", "copy it"}},
		{"another file", "", []string{storyteller + "/config.json"}, []string{"config.json", "not a readable tokenizer.json"}},
		{"broken tokenizer", "", []string{broken}, []string{broken}},
		{"invalid UTF-8", "a\xffb", []string{storyteller}, []string{"standard input", "not valid UTF-8 at byte 1"}},
		{"invalid UTF-8 in the flag", "", []string{storyteller, "--text", "\xff"}, []string{"--text", "not valid UTF-8 at byte 0"}},
		{"id outside the vocabulary", "[1, 4096]", []string{storyteller, "-d"}, []string{"standard input", "4096", "0 to 4095"}},
		{"negative id", "-1", []string{storyteller, "-d"}, []string{"standard input", `"-1"`}},
		{"words for ids", "one", []string{storyteller, "-d"}, []string{"standard input", `"one"`}},
		{"half an array", "[1, 2", []string{storyteller, "-d"}, []string{"standard input", "]"}},
		{"text and decode", "", []string{storyteller, "-d", "--text", "x"}, []string{"--text contradicts --decode"}},
		{"ordinary and decode", "", []string{storyteller, "-d", "--ordinary"}, []string{"--ordinary contradicts --decode"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			smelt(t, c.stdin, append([]string{"tokenize"}, c.args...)...).fails(t, c.want...)
		})
	}
}

func TestTokenizeLimitsInput(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 64 MB")
	}
	smelt(t, strings.Repeat("a", maxTextBytes+1), "tokenize", storyteller).fails(t, "standard input", "64 MB")
}
