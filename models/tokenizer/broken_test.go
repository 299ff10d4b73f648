package tokenizer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The parts of a small valid file; a broken case replaces one of them.
const (
	partVocab   = `{"a":0,"b":1,"ab":2}`
	partMerges  = `["a b"]`
	partAdded   = `[{"id":3,"content":"<s>","special":true}]`
	partPre     = `{"type":"Split","pattern":{"Regex":"a+"},"behavior":"Isolated","invert":false}`
	partDecoder = `{"type":"Fuse"}`
)

func fileWith(top, model, vocab, merges, added, pre, decoder string) string {
	return fmt.Sprintf(`{"version":"1.0",%s"added_tokens":%s,"pre_tokenizer":%s,"decoder":%s,"model":{"type":"BPE",%s"vocab":%s,"merges":%s}}`,
		top, added, pre, decoder, model, vocab, merges)
}

func withTop(s string) string {
	return fileWith(s+",", "", partVocab, partMerges, partAdded, partPre, partDecoder)
}
func withModel(s string) string {
	return fileWith("", s+",", partVocab, partMerges, partAdded, partPre, partDecoder)
}
func withVocab(s string) string {
	return fileWith("", "", s, partMerges, partAdded, partPre, partDecoder)
}
func withMerges(s string) string {
	return fileWith("", "", partVocab, s, partAdded, partPre, partDecoder)
}
func withAdded(s string) string {
	return fileWith("", "", partVocab, partMerges, s, partPre, partDecoder)
}
func withPre(s string) string {
	return fileWith("", "", partVocab, partMerges, partAdded, s, partDecoder)
}
func withDecoder(s string) string {
	return fileWith("", "", partVocab, partMerges, partAdded, partPre, s)
}

func withSplit(pattern string) string {
	return withPre(fmt.Sprintf(`{"type":"Split","pattern":{"Regex":%q},"behavior":"Isolated","invert":false}`, pattern))
}

func TestWholeFileParses(t *testing.T) {
	for _, file := range []string{
		withVocab(partVocab),
		withMerges(`[["a","b"]]`),
		withMerges(`["#version: 0.2","a b"]`),
		withMerges(`[]`),
		withTop(`"normalizer":{"type":"Sequence","normalizers":[]}`),
		withTop(`"post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing"}]}`),
		withModel(`"dropout":0.0,"continuing_subword_prefix":"","end_of_word_suffix":""`),
	} {
		if _, err := Parse([]byte(file), "whole"); err != nil {
			t.Errorf("%s:\n%v", file, err)
		}
	}
}

// brokenFiles are files that Parse refuses, with a part of the error.
var brokenFiles = []struct{ name, file, want string }{
	{"empty", "", "not a readable tokenizer.json"},
	{"cut off", withVocab(partVocab)[:60], "not a readable tokenizer.json"},
	{"not an object", `[]`, "the file is a JSON array; expected an object"},
	{"text after the end", withVocab(partVocab) + "x", "not a readable tokenizer.json"},
	{"invalid UTF-8", withVocab("{\"a\xff\":0}"), "invalid UTF-8"},
	{"lone surrogate", withVocab(`{"\ud800":0}`), "surrogate"},
	{"unknown member", withTop(`"extra":1`), `member "extra", which is not supported`},
	{"member twice", withTop(`"version":"1.0"`), `member "version" twice`},
	{"version", `{"version":"2.0"}`, `version is "2.0"`},
	{"no model", `{"version":"1.0"}`, "model is missing"},
	{"model null", `{"model":null}`, "model is missing"},
	{"truncation", withTop(`"truncation":{"max_length":5}`), "truncation is set"},
	{"padding", withTop(`"padding":{}`), "padding is set"},
	{"normalizer", withTop(`"normalizer":{"type":"NFC"}`), `normalizer type "NFC"`},
	{"normalizer in sequence", withTop(`"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"x"}]}`), `normalizer type "Prepend"`},
	{"post_processor", withTop(`"post_processor":{"type":"Shuffle"}`), `post_processor type "Shuffle"`},

	{"model type", `{"model":{"type":"Unigram","vocab":[["a",0.5]]}}`, `model.type is "Unigram"; only "BPE"`},
	{"model type null", `{"model":{"type":null}}`, `model.type is "null"`},
	{"no model type", `{"decoder":{"type":"Fuse"},"model":{"vocab":{"a":0},"merges":[]}}`, "model.type is missing"},
	{"vocab an array", `{"model":{"vocab":[["a",0.5]],"type":"Unigram"}}`, "model.vocab is a JSON array"},
	{"model member twice", withModel(`"type":"BPE"`), `model has the member "type" twice`},
	{"model member unknown", withModel(`"score":1`), `model has a member "score"`},
	{"dropout", withModel(`"dropout":0.1`), "model.dropout is 0.1"},
	{"prefix", withModel(`"continuing_subword_prefix":"##"`), `continuing_subword_prefix is "##"`},
	{"suffix", withModel(`"end_of_word_suffix":"</w>"`), `end_of_word_suffix is "</w>"`},
	{"unk_token unknown", withModel(`"unk_token":"<unk>"`), `unk_token "<unk>" is not in model.vocab`},

	{"vocab empty", withVocab(`{}`), "model.vocab is missing or empty"},
	{"token twice", withVocab(`{"a":0,"b":1,"ab":2,"a":3}`), `token "a" twice`},
	{"id twice", withVocab(`{"a":0,"b":1,"ab":1}`), `"b" and "ab" both have id 1`},
	{"id negative", withVocab(`{"a":-1}`), `token "a" has id -1; expected an integer`},
	{"id a fraction", withVocab(`{"a":0.5}`), `token "a" has id 0.5`},
	{"id a string", withVocab(`{"a":"0"}`), `token "a" has id "0"`},
	{"id too high", withVocab(`{"a":4194304}`), "expected an integer from 0 to 4194303"},
	{"token empty", withVocab(`{"":0}`), "empty text"},
	{"token too long", withVocab(`{"` + strings.Repeat("a", maxTokenBytes+1) + `":0}`), "65537 bytes, more than the 65536"},

	{"merges missing", `{"decoder":{"type":"Fuse"},"model":{"type":"BPE","vocab":{"a":0}}}`, "model.merges is missing"},
	{"merges an object", withMerges(`{}`), "model.merges is a JSON object"},
	{"merge of an unknown left", withMerges(`["x b"]`), `model.merges[0] names token "x"`},
	{"merge of an unknown right", withMerges(`["a y"]`), `model.merges[0] names token "y"`},
	{"merge to an unknown token", withMerges(`["a b","b a"]`), `model.merges[1] joins "b" and "a" to "ba"`},
	{"merge twice", withMerges(`["a b","a b"]`), "model.merges[1] repeats model.merges[0]"},
	{"merge without space", withMerges(`["ab"]`), "one space between"},
	{"merge with two spaces", withMerges(`["a b c"]`), "one space between"},
	{"merge of three", withMerges(`[["a","b","c"]]`), "has 3 parts"},
	{"merge a number", withMerges(`[1]`), "model.merges[0] is a JSON number"},
	{"merges of two spellings", withMerges(`["a b",["a","b"]]`), "all must be spelled alike"},

	{"added token twice", withAdded(`[{"id":3,"content":"<s>"},{"id":3,"content":"<s>"}]`), `"<s>" is listed twice`},
	{"added id differs from vocab", withAdded(`[{"id":1,"content":"a"}]`), `"a" has id 1; expected 0`},
	{"added id leaves a gap", withAdded(`[{"id":7,"content":"<s>"}]`), `"<s>" has id 7; expected 3`},
	{"added id taken", fileWith("", "", `{"a":0,"b":1,"ab":3}`, partMerges, partAdded, partPre, partDecoder), "both have id 3"},
	{"added without id", withAdded(`[{"content":"<s>"}]`), "has no id"},
	{"added empty", withAdded(`[{"id":3,"content":""}]`), "empty text"},
	{"added too long", withAdded(`[{"id":3,"content":"` + strings.Repeat("a", maxAddedBytes+1) + `"}]`), "1025 bytes"},
	{"added white space that strips", withAdded(`[{"id":3,"content":" ","lstrip":true}]`), "white space with lstrip"},
	{"added member unknown", withAdded(`[{"id":3,"content":"<s>","color":1}]`), "color"},

	{"pre_tokenizer type", withPre(`{"type":"Metaspace"}`), `pre_tokenizer type "Metaspace"`},
	{"pre_tokenizer without type", withPre(`{}`), `no "type"`},
	{"pre_tokenizer a string", withPre(`"Split"`), "pre_tokenizer is a JSON string"},
	{"pre_tokenizer after ByteLevel", withPre(`{"type":"Sequence","pretokenizers":[{"type":"ByteLevel","add_prefix_space":false},{"type":"Digits","individual_digits":true}]}`), "comes after ByteLevel"},
	{"sequence nested too deep", withPre(strings.Repeat(`{"type":"Sequence","pretokenizers":[`, 20) + strings.Repeat(`]}`, 20)), "nested more than 16 deep"},
	{"sequence member unknown", withPre(`{"type":"Sequence","pretokenizers":[],"x":1}`), "Sequence must have exactly"},
	{"too many parts", withPre(`{"type":"Sequence","pretokenizers":[` + strings.Repeat(partPre+",", 64) + partPre + `]}`), "more than the 64 parts"},
	{"split behavior", withPre(`{"type":"Split","pattern":{"Regex":"a"},"behavior":"Sideways"}`), `behavior is "Sideways"`},
	{"split pattern missing", withPre(`{"type":"Split","pattern":{},"behavior":"Isolated"}`), "exactly one of the members Regex and String"},
	{"split string empty", withPre(`{"type":"Split","pattern":{"String":""},"behavior":"Isolated"}`), "String pattern has 0 bytes"},
	{"split member unknown", withPre(`{"type":"Split","pattern":{"Regex":"a"},"behavior":"Isolated","x":1}`), `"x"`},
	{"digits without flag", withPre(`{"type":"Digits"}`), "individual_digits is missing"},
	{"ByteLevel without flag", withPre(`{"type":"ByteLevel"}`), "add_prefix_space is missing"},

	{"decoder missing", withDecoder(`null`), "decoder is null"},
	{"decoder type", withDecoder(`{"type":"WordPiece"}`), `decoder type "WordPiece"`},
	{"decoder empty", withDecoder(`{"type":"Sequence","decoders":[]}`), "empty Sequence"},
	{"decoder order", withDecoder(`{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteLevel"}]}`), `"ByteLevel" is not the first`},

	{"regex empty", withSplit(""), "0 bytes; expected 1 to"},
	{"regex too long", withSplit(strings.Repeat("a", maxPatternBytes+1)), "expected 1 to 16384"},
	{"regex group open", withSplit("(a"), "1 groups are not closed"},
	{"regex group closed", withSplit("a)"), ") closes no group"},
	{"regex look-behind", withSplit("(?<=a)b"), `group "(?<=" is not supported`},
	{"regex flags", withSplit("(?i)a"), `group "(?i)" is not supported`},
	{"regex anchor", withSplit("^a"), `'^' is not supported`},
	{"regex word class", withSplit(`\w+`), `\w is not supported`},
	{"regex back-reference", withSplit(`(a)\1`), `\1 is not supported`},
	{"regex trailing backslash", withSplit(`a\`), `ends in \`},
	{"regex possessive", withSplit("a++"), "possessive"},
	{"regex quantifier alone", withSplit("*a"), "follows nothing"},
	{"regex repeated look-ahead", withSplit("(?=a)*"), "follows nothing"},
	{"regex count order", withSplit("a{3,2}"), "wrong order"},
	{"regex count high", withSplit("a{1001}"), "count from 0 to 1000"},
	{"regex count open", withSplit("a{,3}"), "is not followed by a count"},
	{"regex count form", withSplit("a{3x}"), "not a quantifier of the form"},
	{"regex property unknown", withSplit(`\p{Foo}`), `\p{Foo} is not supported`},
	{"regex property short", withSplit(`\pL`), "followed by {Name}"},
	{"regex negated property in class", withSplit(`[a\P{L}]`), `\P{L} inside a character class is not supported`},
	{"regex class open", withSplit("[a"), "[ is not closed"},
	{"regex class empty", withSplit("[]a]"), "class is empty"},
	{"regex class in class", withSplit("[a[b]]"), "inside a character class"},
	{"regex class and", withSplit("[a&&b]"), "inside a character class"},
	{"regex range", withSplit("[z-a]"), "does not lead from a lower"},
	{"regex range of a class", withSplit(`[\s-a]`), "does not lead from a lower"},
}

func TestBrokenFiles(t *testing.T) {
	for _, c := range brokenFiles {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.file), "broken.json")
			if err == nil {
				t.Fatal("accepted")
			}
			text := err.Error()
			if !strings.HasPrefix(text, "tokenizer: broken.json: ") || !strings.Contains(text, c.want) {
				t.Errorf("error is\n%s\nwant a part\n%s", text, c.want)
			}
			if len(text) > 1000 || strings.Contains(text, "\n") {
				t.Errorf("error is not one short line: %q", text)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	folder := t.TempDir()
	if _, err := Open(filepath.Join(folder, "absent.json")); err == nil || !strings.Contains(err.Error(), "absent.json") {
		t.Errorf("absent file: %v", err)
	}
	big := filepath.Join(folder, "big.json")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxFileBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(big); err == nil || !strings.Contains(err.Error(), "expected at most 268435456") {
		t.Errorf("file too big: %v", err)
	}
	if _, err := Open(folder); err == nil || !strings.Contains(err.Error(), folder) {
		t.Errorf("folder: %v", err)
	}
}
