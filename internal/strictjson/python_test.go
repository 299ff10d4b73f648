package strictjson

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// What Python writes beyond JSON does no harm where nobody reads it.
func TestPythonUnread(t *testing.T) {
	for _, c := range []struct{ document, want string }{
		{`{"x": NaN, "a": 1}`, "a=1 unknown=x"},
		{`{"a": 1, "x": Infinity}`, "a=1 unknown=x"},
		{`{"a": 1, "x": [-Infinity,NaN, Infinity]}`, "a=1 unknown=x"},
		{`{"b": {"c": 0.5, "deep": {"x": [{"y": -Infinity}]}}}`, "c=0.5 unknown=b.deep"},
		{"\xef\xbb\xbf" + `{"a": 2}`, "a=2 unknown="},
		{"\xef\xbb\xbf\n " + `{"a": 2, "x":NaN}`, "a=2 unknown=x"},
		{`{"x": "\ud83d", "a": 3}`, "a=3 unknown=x"},
		{`{"x": "\uDE00\ud83d\ud83d\ude00 and \"\\\ud83d", "a": 3}`, "a=3 unknown=x"},
		{`{"x": "\uD83D", "a": 3}`, "a=3 unknown=x"},
		{`{"x": "\udc00\udc00", "y": "\ud83d\n", "a": 3}`, "a=3 unknown=x,y"},
		{`{"\ud83d": 1, "a": 3}`, "a=3 unknown=\ufffd"},
		{`{"x": "NaN", "y": "a, NaN, Infinity", "NaN": 1, "a": 4}`, "a=4 unknown=NaN,x,y"},
		{`{"l": [1, 2], "x": {"NaN": NaN}}`, "l=[1 2] unknown=x"},
	} {
		if got, wrong := read(c.document); got != c.want || len(wrong) > 0 {
			t.Errorf("%s: got %q, %q; want %q", c.document, got, wrong, c.want)
		}
	}
}

// Where it is read it is refused by the key, as the file spells it.
func TestPythonRead(t *testing.T) {
	for _, c := range []struct{ document, want string }{
		{`{"a": NaN}`, "a: found NaN, expected a whole number"},
		{`{"a": -Infinity}`, "a: found -Infinity, expected a whole number"},
		{`{"b": {"c": Infinity}}`, "b.c: found Infinity, expected a number"},
		{`{"b": {"c": -Infinity}}`, "b.c: found -Infinity, expected a number"},
		{`{"b": NaN}`, "b: found NaN, expected an object"},
		{`{"l": [1, NaN, 2]}`, "l: found NaN, expected a whole number"},
		{`{"a": "\ud83d"}`, `a: found "\ud83d", expected a whole number`},
		{`NaN`, "file: found NaN, expected one JSON object"},
		{"\xef\xbb\xbfNaN", "file: found NaN, expected one JSON object"},
		{"\xef\xbb\xbf", "file: found nothing"},
		// None of these is what Python writes.
		{`{"x": nan}`, "file: found no valid JSON"},
		{`{"x": +Infinity}`, "file: found no valid JSON"},
		{`{"x": --Infinity}`, "file: found no valid JSON"},
		{`{"x": 1NaN}`, "file: found no valid JSON"},
		{`{"x": NaN1}`, "file: found no valid JSON"},
		{`{"x": NaNNaN}`, "file: found no valid JSON"},
		{`{"x": Infinit}`, "file: found no valid JSON"},
		{`{NaN: 1}`, "file: found no valid JSON"},
		{`{"x": '\ud83d'}`, "file: found no valid JSON"},
		{"{\"x\": 1}\xef\xbb\xbf", "file: found no valid JSON"},
	} {
		got, wrong := read(c.document)
		if len(wrong) != 1 || !strings.Contains(wrong[0], c.want) {
			t.Errorf("%s: got %q, %q; want %q", c.document, got, wrong, c.want)
		}
	}
}

// A Reader passes over what is skipped and refuses what is read, with its place.
func TestPythonReader(t *testing.T) {
	const document = "\xef\xbb\xbf" + `{"skip": {"x": [NaN, "\ud83d"]}, "n": Infinity, "s": "a\udc00", "\ud83d": 1, "l": [1, -Infinity]}`
	read := func(key string) (text string, err error) {
		r := NewReader([]byte(document), nil)
		err = r.Object(func(k string) error {
			switch {
			case k != key || key == "skip":
				return r.SkipValue()
			case key == "s":
				_, err := r.Text()
				return err
			case key == "l":
				return r.Array(func([]byte) {})
			}
			_, err := r.ReadValue()
			return err
		})
		return "", err
	}
	for key, want := range map[string]string{
		"n": `no valid JSON in "n" at byte 41 (Infinity is no number of JSON)`,
		"s": `no valid JSON in "s"`,
	} {
		if _, err := read(key); err == nil || !strings.Contains(Describe(err), want) {
			t.Errorf("%s: %v, want %s", key, err, want)
		}
	}
	// A key is always read.
	if _, err := read("skip"); err == nil || !strings.Contains(Describe(err), `\ud83d is half of a surrogate pair`) {
		t.Errorf("a key: %v", err)
	}
	r := NewReader([]byte(`{"s": "a\udc00\u0041"}`), nil)
	var text string
	if err := r.Object(func(string) (err error) { text, err = r.AnyText(); return err }); err != nil || text != "a\ufffdA" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestRefuse(t *testing.T) {
	doc := NewDocument([]byte(`{"a": {"b": [0, NaN], "c": "\ud83d"}, "d": 1}`))
	for _, c := range []struct {
		read jsontext.Pointer
		want string
	}{
		{"/a/b/1", `no valid JSON in "a.b.1" at byte 16 (NaN is no number of JSON)`},
		{"/a/c", `no valid JSON in "a.c" at byte 28 (\ud83d is half of a surrogate pair, no character)`},
		{"/d", ""},
	} {
		err := doc.Refuse(func(at jsontext.Pointer) bool { return at == c.read })
		if (err == nil) != (c.want == "") || err != nil && Describe(err) != c.want {
			t.Errorf("%s: %v, want %s", c.read, err, c.want)
		}
	}
}

// FuzzDocument: JSON stays as it is; of anything else only what Python writes is
// replaced, in a copy, and what was replaced is refused where it is read.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{`{"a": NaN}`, "\xef\xbb\xbf{}", `["\ud83d", "\ud83d\ude00", -Infinity]`, `{"b": {"c": Infinity, "x": NaN}}`, `"\u`, `[1NaN]`, `\ud8`, `{"l":[NaN]}`, "", `{"NaN":"Infinity"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := slices.Clone(text)
		doc := NewDocument(text)
		if !bytes.Equal(text, before) {
			t.Fatal("the document was modified")
		}
		if len(doc.Plain) != len(text) {
			t.Fatalf("%d bytes became %d", len(text), len(doc.Plain))
		}
		if jsontext.Value(text).IsValid(jsontext.AllowDuplicateNames(true)) && !bytes.Equal(doc.Plain, text) {
			t.Fatalf("%q is JSON and became %q", text, doc.Plain)
		}
		if again := NewDocument(doc.Plain); len(again.odd) > 0 {
			t.Fatalf("%q is left with %v", doc.Plain, again.odd)
		}
		rest := slices.Clone(doc.Plain)
		copy(rest, text[:min(3, len(text))])
		for i, s := range doc.odd {
			word := string(text[s.from:s.to])
			if i > 0 && s.from < doc.odd[i-1].to || word != "NaN" && word != "Infinity" && word != "-Infinity" && !strings.HasPrefix(word, `\u`) {
				t.Fatalf("%q was replaced", word)
			}
			copy(rest[s.from:], word)
		}
		if !bytes.Equal(rest, text) {
			t.Fatalf("%q: other bytes than those listed were replaced: %q", text, doc.Plain)
		}
		if len(doc.odd) > 0 && jsontext.Value(doc.Plain).IsValid(jsontext.AllowDuplicateNames(true)) {
			if err := doc.Refuse(func(jsontext.Pointer) bool { return true }); err == nil {
				t.Fatalf("%q is not refused", text)
			}
			d := doc.decoder()
			v, err := d.ReadValue()
			if err != nil || doc.check(d, v) == nil {
				t.Fatalf("%q is not refused as it is read, %v", text, err)
			}
			if got := fmt.Sprint(string(doc.written(d, v))); !strings.Contains(string(text), got) {
				t.Fatalf("%q: shown as %q", text, got)
			}
		}
	})
}
