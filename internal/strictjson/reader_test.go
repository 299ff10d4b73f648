package strictjson

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// dump writes a document of objects, arrays and scalars the way the reader
// delivers it.
func dump(r Reader, b *strings.Builder) error {
	switch r.PeekKind() {
	case jsontext.KindBeginObject:
		return r.Object(func(key string) error {
			fmt.Fprintf(b, "<%s>", key)
			return dump(r, b)
		})
	case jsontext.KindBeginArray:
		return r.Array(func(raw []byte) { fmt.Fprintf(b, "[%s]", raw) })
	case jsontext.KindString:
		s, err := r.Text()
		fmt.Fprintf(b, "%q", s)
		return err
	}
	raw, err := r.ReadValue()
	b.Write(raw)
	return err
}

func TestReader(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"members in order", `{"b": 1, "a": {"c\n": "\u0041"}}`, `<b>1<a><c` + "\n" + `>"A"`},
		{"array", `{"a": [1, "x", {"y": 2}]}`, `<a>[1]["x"][{"y": 2}]`},
		{"shared word", `{"word": "word"}`, `<WORD>"WORD"`},
		{"escaped word is read as it is", `{"wor\u0064": 1}`, `<word>1`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b strings.Builder
			err := dump(NewReader([]byte(test.in), map[string]string{"word": "WORD"}), &b)
			if err != nil || b.String() != test.want {
				t.Errorf("got %s, %v, want %s", b.String(), err, test.want)
			}
		})
	}
}

func TestReaderRefuses(t *testing.T) {
	var anySyntax *jsontext.SyntacticError
	tests := []struct {
		name, in string
		want     error
	}{
		{"nothing", "", io.EOF},
		{"cut in an object", `{"a":`, io.ErrUnexpectedEOF},
		{"cut in an array", `{"a":[1`, io.ErrUnexpectedEOF},
		{"key twice", `{"a":1,"a":2}`, jsontext.ErrDuplicateName},
		{"key twice, escaped", `{"a":1,"\u0061":2}`, jsontext.ErrDuplicateName},
		{"key twice in a skipped value", `{"a":[{"b":1,"b":2}]}`, jsontext.ErrDuplicateName},
		{"not UTF-8", "{\"\xff\":1}", nil},
		{"bare word", `{a:1}`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b strings.Builder
			err := dump(NewReader([]byte(test.in), nil), &b)
			if test.want == nil && !errors.As(err, &anySyntax) || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestMismatch(t *testing.T) {
	kinds := map[string]jsontext.Kind{
		"null": jsontext.KindNull, "true": jsontext.KindTrue, `"s"`: jsontext.KindString,
		"-1": jsontext.KindNumber, "{}": jsontext.KindBeginObject, "[]": jsontext.KindBeginArray,
	}
	names := map[string]bool{}
	for text, kind := range kinds {
		r := NewReader([]byte(text), nil)
		if got, yes := r.Mismatch(kind); yes || got != kind {
			t.Errorf("%s: %v, %v", text, got, yes)
		}
		if got, yes := r.Mismatch(jsontext.KindFalse); !yes || got != kind {
			t.Errorf("%s against false: %v, %v", text, got, yes)
		}
		names[KindName(kind)] = true
	}
	if len(names) != len(kinds) {
		t.Errorf("kinds share names: %v", names)
	}
	if _, yes := NewReader(nil, nil).Mismatch(jsontext.KindNull); yes {
		t.Error("the end of the document counts as a mismatch")
	}
}
