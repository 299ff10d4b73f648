package tokenizer

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzParse: no file makes Parse, Encode or Decode panic, and what encodes also
// decodes.
func FuzzParse(f *testing.F) {
	f.Add([]byte(withVocab(partVocab)), "ab ab")
	f.Add([]byte(strings.Replace(everyMember, `"post_processor":{`, `"post_processor":{"x":[NaN,"\ud83d",-Infinity],`, 1)), "ab")
	f.Add([]byte(withPre(`{"type":"ByteLevel","add_prefix_space":true}`)), "a b")
	f.Add([]byte(withSplit(`'s| ?\p{L}+|[^\s\d]{1,3}?|\s+(?!\S)`)), "ab's")
	for _, c := range brokenFiles {
		if len(c.file) < 2000 {
			f.Add([]byte(c.file), "ab")
		}
	}
	for _, c := range readJSON[[]hfCase](f, "testdata/hf_cases.json") {
		f.Add([]byte(c.Tokenizer), "ab1 b")
	}
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		tok, err := Parse(file, "fuzz")
		if err != nil {
			if tok != nil || len(err.Error()) > 100_000 {
				t.Fatalf("a tokenizer or a text too long with the error %q", err)
			}
			return
		}
		limitMatches(tok, 50*time.Millisecond)
		ids, err := tok.Encode(text[:min(len(text), 1000)])
		if err != nil {
			return
		}
		if _, err := tok.Decode(ids); err != nil {
			t.Fatalf("ids %v of %q do not decode: %v", ids, text, err)
		}
	})
}

// FuzzRoundTrip: text that is valid UTF-8 decodes to itself, at once and as a
// stream, with and without recognising added tokens; other text is refused.
func FuzzRoundTrip(f *testing.F) {
	tok := openFolder(f, storyteller)
	for _, g := range readJSON[[]golden](f, storyteller+"/golden.json") {
		f.Add(g.Text)
	}
	f.Add("a\xff")
	f.Fuzz(func(t *testing.T, text string) {
		for name, encode := range map[string]func(string) ([]int32, error){"Encode": tok.Encode, "EncodeOrdinary": tok.EncodeOrdinary} {
			ids, err := encode(text)
			if valid := utf8.ValidString(text); valid != (err == nil) {
				t.Fatalf("%s(%q): error %v", name, text, err)
			} else if !valid {
				continue
			}
			checkDecode(t, tok, golden{IDs: ids, Decoded: text})
			again, err := encode(text)
			if err != nil || !slices.Equal(ids, again) {
				t.Fatalf("%s(%q) gives %v, then %v (%v)", name, text, ids, again, err)
			}
		}
	})
}
