package pyjson

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// TestSpelling: texts as Python 3.11's json.dumps(json.loads(text), ensure_ascii=False)
// writes them.
func TestSpelling(t *testing.T) {
	for _, x := range [][2]string{
		{` { "b" : [ 1 , 2.50 , { } , [ ] ] , "a" : null } `, `{"b": [1, 2.5, {}, []], "a": null}`},
		{`{"a":1,"b":2,"a":3}`, `{"a": 3, "b": 2}`},
		{`[1E3,-0.0,-0,1e-7,0.0001,0.00001,1e15,1e16,123456789012345678901234567890,1e400,-1e400]`,
			`[1000.0, -0.0, 0, 1e-07, 0.0001, 1e-05, 1000000000000000.0, 1e+16, 123456789012345678901234567890, Infinity, -Infinity]`},
		{`[NaN,-Infinity,Infinity]`, `[NaN, -Infinity, Infinity]`},
		{`[5e-324,1.7976931348623157e308,0.1,100.0,1.0e-10,12345.678e100]`, `[5e-324, 1.7976931348623157e+308, 0.1, 100.0, 1e-10, 1.2345678e+104]`},
		{`"\u00e9\ud83d\ude00\/\"\\\n\r\t\b\f\u0001\u007f\u2028<>&"`, "\"é😀/\\\"\\\\\\n\\r\\t\\b\\f\\u0001\u007f\u2028<>&\""},
		{`"\ud83dx"`, "\"\uFFFDx\""},
	} {
		v, err := Parse(x[0])
		if err != nil || v.String() != x[1] {
			t.Errorf("%s\n got  %s, %v\n want %s", x[0], v, err, x[1])
		}
	}
}

func TestTrue(t *testing.T) {
	for text, want := range map[string]bool{
		"null": false, "false": false, "0": false, "-0": false, "0.0": false, "-0e9": false, `""`: false, "[]": false, "{}": false,
		"true": true, "1": true, "-0.5": true, "1e-300": true, "NaN": true, `" "`: true, `"0"`: true, "[0]": true, `{"":0}`: true, "123456789012345678901234567890": true, "1e999": true,
	} {
		v, err := Parse(text)
		if err != nil || v.True() != want {
			t.Errorf("%s: %v, %v", text, v.True(), err)
		}
	}
}

func TestRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, text := range []string{"", "07", "1.", "1e", "-", "+1", ".5", "\uFEFF1", `"a`, "\"a\nb\"", `"\x"`, `"\u12"`, `"\u+123"`, `{"a"}`, `{"a":1,}`, `{a:1}`, "[1,]", "[1 2]", "1 2", "tru", "nan", deep(MaxDepth + 2), strings.Repeat("[", 1<<20)} {
		_, err := Parse(text)
		if !errors.As(err, new(*SyntaxError)) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if _, err := Parse(deep(MaxDepth)); err != nil {
		t.Error(err)
	}
	if Valid("[NaN]") || Valid("-Infinity") || !Valid(`{"a":1,"a":[2.50e3]}`) {
		t.Error("Valid goes by Python's numbers")
	}
}

// FuzzValid compares with the standard library, and what is written is read again.
func FuzzValid(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"\u00e9\ud800"]}`, "[]", `""`, "-0", "1e5", " null "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(text, "[")+strings.Count(text, "{") <= MaxDepth && Valid(text) != json.Valid([]byte(text)) {
			t.Fatalf("%q: found %v, encoding/json %v", text, Valid(text), json.Valid([]byte(text)))
		}
		if v, err := Parse(text); err == nil {
			again, err := Parse(v.String())
			if err != nil || again.String() != v.String() {
				t.Fatalf("%q becomes %s, which becomes %s, %v", text, v, again, err)
			}
		}
	})
}
