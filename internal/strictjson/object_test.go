package strictjson

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// read reads the keys a, b.c and l of a document, as a program would.
func read(document string) (string, []string) {
	var out Findings
	top := ParseObject([]byte(document), &out)
	if top == nil {
		return "", out.List()
	}
	var got []string
	if n, ok := top.Integer("a", 0, 9); ok {
		got = append(got, fmt.Sprint("a=", n))
	}
	if inner := top.Object("b"); inner != nil {
		if v, ok := inner.Number("c", AtLeast(0), AtMost(1)); ok {
			got = append(got, fmt.Sprint("c=", v))
		}
	}
	if l := top.Integers("l", 0, 9); len(l) > 0 {
		got = append(got, fmt.Sprint("l=", l))
	}
	return strings.Join(append(got, "unknown="+strings.Join(top.Unknown(), ",")), " "), out.List()
}

func TestObjectReads(t *testing.T) {
	for _, c := range []struct{ document, want string }{
		{`{"a": 1, "b": {"c": 0.5}, "l": [1, 2]}`, "a=1 c=0.5 l=[1 2] unknown="},
		{` { "\u0061" : 4.0 } `, "a=4 unknown="},
		{`{"A": 1, "B": {"c": 1}, "b": {"C": 1}}`, "unknown=A,B,b.C"}, // exact case
		{`{"a": null, "b": null, "l": 3}`, "l=[3] unknown="},
		{`{"x": 1, "x": 2, "X": 3, "a": 5}`, "a=5 unknown=X,x"},
		{`{"x": {"a": 1, "a": 2}, "b": {"y": 1, "y": [], "c": 1}}`, "c=1 unknown=b.y,x"},
		{`{"x": ` + strings.Repeat(`{"a":[`, 4000) + strings.Repeat(`]}`, 4000) + `, "a": 2}`, "a=2 unknown=x"},
		{`{"": 1, "a": 7, "\n": {}}`, "a=7 unknown=,\n"},
	} {
		if got, wrong := read(c.document); got != c.want || len(wrong) > 0 {
			t.Errorf("%.80s: got %q, %q; want %q", c.document, got, wrong, c.want)
		}
	}
}

func TestObjectRefuses(t *testing.T) {
	for _, c := range []struct {
		document string
		want     []string
	}{
		{`{"a": 1, "a": 1}`, []string{"a: found the key twice, expected it once: one of the values would be lost"}},
		{`{"a": 1, "\u0061": null, "a": 3}`, []string{"a: found the key 3 times, expected it once: one of the values would be lost"}},
		{`{"a": null, "a": 3, "l": [1, "x", -1, 10]}`, []string{"a: found the key twice", `l: found "x"`, "l: found -1", "l: found 10"}},
		{`{"b": {"c": 0, "c": 1}, "a": "1"}`, []string{`a: found "1", expected a whole number from 0 to 9`, "b.c: found the key twice"}},
		{`{"b": {}, "b": {"c": 1}}`, []string{"b: found the key twice"}},
		{`{"b": [], "l": {}}`, []string{"b: found [], expected an object", "l: found {}, expected a whole number"}},
		{`{"a": 1`, []string{"file: found no valid JSON: the text ends too early, expected one JSON object"}},
		{``, []string{"file: found nothing"}},
		{` `, []string{"file: found nothing"}},
		{`{"a": 1}{`, []string{"file: found a second value"}},
		{`{"a": 1} x`, []string{"file: found no valid JSON at byte 9"}},
		{`"` + strings.Repeat("x", 1000) + `"`, []string{`file: found "xxx`}},
		{strings.Repeat(`{"`+strings.Repeat("k", 500)+`":`, 11000), []string{`(10000 levels deep)`}},
		{"{\"a\xff\": 1}", []string{"file: found no valid JSON"}},
	} {
		got, wrong := read(c.document)
		if len(wrong) != len(c.want) {
			t.Errorf("%.60s: got %s, %.500q; want %q", c.document, got, wrong, c.want)
			continue
		}
		for i, w := range wrong {
			if !strings.Contains(w, c.want[i]) || len(w) > 450 || strings.ContainsAny(w, "\n\x00") {
				t.Errorf("%.60s: %.500q, want %q", c.document, w, c.want[i])
			}
		}
	}
}

// FuzzObject: no document panics, findings are short, and the document stays as it is.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{"a": 1, "b": {"c": 0.5}, "l": [1, 2]}`, `{"a": 1, "a": 2}`, `[`, `{"b": {"c": 0, "c": 1}}`, `{"l":["x"]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		before := slices.Clone(document)
		_, wrong := read(string(document))
		for _, w := range wrong[:min(len(wrong), 50)] {
			if len(w) > 900 {
				t.Fatalf("a finding of %d bytes: %q", len(w), w)
			}
		}
		if !slices.Equal(before, document) {
			t.Fatal("the document was modified")
		}
	})
}
