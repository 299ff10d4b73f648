package tokenizer

import (
	"regexp"
	"strings"
	"testing"
)

// everyMember has a value for each member that a file may have.
const everyMember = `{"version":"1.0","truncation":null,"padding":null,` +
	`"added_tokens":[{"id":3,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],` +
	`"normalizer":{"type":"Sequence","normalizers":[]},` +
	`"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{N}"},"behavior":"Isolated","invert":false},` +
	`{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]},` +
	`"post_processor":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true},"decoder":{"type":"ByteLevel","add_prefix_space":true},` +
	`"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,` +
	`"ignore_merges":false,"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`

// valueEnd is where the JSON value ends that begins at i.
func valueEnd(s string, i int) int {
	depth, quoted := 0, false
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case (c == '}' || c == ']' || c == ',') && depth == 0:
			return i
		case c == '}' || c == ']':
			depth--
		}
	}
	return i
}

// refusedInWords: a file is taken, or refused in one short line that names it and
// speaks of the file and not of Go.
func refusedInWords(t *testing.T, what, file string, mustFail bool) {
	t.Helper()
	_, err := Parse([]byte(file), "dir/tokenizer.json")
	if err == nil {
		if mustFail {
			t.Errorf("%s: it is taken", what)
		}
		return
	}
	text := err.Error()
	if !strings.HasPrefix(text, "tokenizer: dir/tokenizer.json: ") || len(text) > 700 || strings.ContainsAny(text, "\n\x00") ||
		regexp.MustCompile(`jsontext|unmarshal|Go |EOF|tokenizer\.[a-z]+JSON|strconv`).MatchString(text) {
		t.Errorf("%s: %.800s", what, text)
	}
}

func TestMessages(t *testing.T) {
	if _, err := Parse([]byte(everyMember), "whole"); err != nil {
		t.Fatal(err)
	}
	for n := range everyMember {
		refusedInWords(t, everyMember[:n], everyMember[:n], true)
	}
	long := strings.Repeat("y", 100_000)
	values := []string{"null", `"x"`, "5", "-1", "1.5", "1e999", "[]", "{}", "true", "[[[]]]", "[null]", `{"type":5}`, `{"type":null}`, `{"a":1,"a":2}`, `{"":""}`,
		strings.Repeat("[", 20_000), `"` + long + `"`, `{"` + long + `":1}`, `["` + long + `"]`, `"\u0000\n\u001b[31m"`, "\"\xff\"", "NaN", "'x'"}
	for _, m := range regexp.MustCompile(`"(\w+)":`).FindAllStringIndex(everyMember, -1) {
		before, name := everyMember[:m[0]], everyMember[m[0]:m[1]]
		end := valueEnd(everyMember, m[1])
		value, after := everyMember[m[1]:end], everyMember[end:]
		for _, v := range values {
			refusedInWords(t, name+v[:min(len(v), 30)], before+name+v+after, false)
		}
		// A processor's members are not read, for it changes no id.
		if processed := strings.LastIndex(before, "post_processor"); processed < 0 || strings.Contains(before[processed:], "decoder") {
			refusedInWords(t, name+" twice", before+name+value+","+name+value+after, true)
		}
		// What the processor and the decoder hold besides their type is not read.
		refusedInWords(t, name+" in capitals", before+strings.ToUpper(name)+value+after, !strings.Contains(before, "post_processor"))
	}
}
