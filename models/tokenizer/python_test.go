package tokenizer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPython: what Python's json module writes beyond JSON is refused where it
// would be read, by its place, and does no harm elsewhere.
func TestPython(t *testing.T) {
	edit := func(old, new string) string {
		if strings.Count(everyMember, old) == 0 {
			t.Fatalf("no %s", old)
		}
		return strings.Replace(everyMember, old, new, 1)
	}
	const processor = `"post_processor":{`
	for _, file := range []string{
		"\xef\xbb\xbf" + everyMember,
		edit(processor, processor+`"x":NaN,`),
		edit(processor, processor+`"x":[Infinity,{"y":-Infinity}],`),
		edit(processor, processor+`"x":"\ud83d",`),
		edit(processor, processor+`"\udc00":1,`),
		edit(`"decoder":{`, `"decoder":{"x":NaN,`),
		edit(`"vocab":{`, `"vocab":{"NaN":4,"\ud83d\ude00":5,": Infinity,":3,`),
	} {
		if strings.Contains(file, `"NaN":4`) { // whose ids the added token must not have
			file = strings.Replace(file, `{"id":3,"content":"<s>"`, `{"id":6,"content":"<s>"`, 1)
		}
		tok, err := Parse([]byte(file), "x")
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if ids, err := tok.Encode("ab"); err != nil || len(ids) != 1 || ids[0] != 2 {
			t.Errorf("%s: %v, %v", file, ids, err)
		}
	}
	for _, c := range []struct{ file, want string }{
		{edit(`"dropout":null`, `"dropout":NaN`), `found no valid JSON in "model.dropout" at byte`},
		{edit(`"ab":2`, `"ab":Infinity`), `in "model.vocab.ab" at byte`},
		{edit(`"ab":2`, `"\ud83d":2`), `(\ud83d is half of a surrogate pair, no character)`},
		{edit(`"a b"`, `"a \ud83d"`), `in "model.merges.0" at byte`},
		{edit(`"content":"<s>"`, `"content":"<\udc00>"`), `in "added_tokens.0.content" at byte`},
		{edit(`"truncation":null`, `"truncation":NaN`), `in "truncation" at byte`},
		{edit(`"decoder":{"type":"ByteLevel"`, `"decoder":{"type":"\ud83d"`), `in "decoder.type" at byte`},
	} {
		if _, err := Parse([]byte(c.file), "dir/tokenizer.json"); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "dir/tokenizer.json") {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// TestStrangers: what lies in the place of tokenizer.json is named.
func TestStrangers(t *testing.T) {
	for content, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:a1\nsize 14232712\n": "is a Git LFS pointer (to 14.2 MB), not the file itself; run `git lfs pull` in its folder, or download the file itself",
		"<html><head>":     "is a web page, not the file itself",
		"Entry not found":  `is a text ("Entry not found")`,
		"":                 "is empty; download the file again",
		"\x1f\x8b\x08\x08": "is a gzip file",
		"\xff\xfe{\x00":    "is text in UTF-16",
	} {
		path := filepath.Join(t.TempDir(), "tokenizer.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "tokenizer: "+path) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}
