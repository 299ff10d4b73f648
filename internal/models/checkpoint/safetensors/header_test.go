package safetensors

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// entry is the JSON of one tensor of bytes.
func entry(name string, begin, end int64) string {
	return fmt.Sprintf(`%q:{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]}`, name, end-begin, begin, end)
}

func parse(header string, dataBytes int64) (*Header, error) {
	return ParseHeader([]byte(header), int64(8+len(header))+dataBytes, "some.safetensors")
}

// TestBrokenHeaders: each header has one fault and gives one problem that
// names the culprit.
func TestBrokenHeaders(t *testing.T) {
	one := func(fields string) string { return `{"w":{` + fields + `}}` }
	tests := []struct {
		name   string
		header string
		data   int64
		want   []string
	}{
		{"empty header", ``, 0, []string{"does not start with '{'"}},
		{"leading space", ` {}`, 0, []string{"does not start with '{'"}},
		{"array", `[]`, 0, []string{"does not start with '{'"}},
		{"ends early", `{"w":{"dtype":"U8"`, 0, []string{"invalid JSON", "ends inside an object"}},
		{"only brace", `{`, 0, []string{"ends inside an object"}},
		{"bad token", `{"w":{"dtype":U8}}`, 0, []string{"invalid JSON at byte 14", `tensor "w"`}},
		{"bad token at top", `{x}`, 0, []string{"invalid JSON at byte 1 of the header:"}},
		{"trailing comma", `{` + entry("w", 0, 4) + `,}`, 4, []string{"invalid JSON at byte 52"}},
		{"trailing object", `{}{}`, 0, []string{"byte 2 of the header follows the JSON object"}},
		{"trailing newline", "{}  \n", 0, []string{"byte 4 of the header", "not a space"}},
		{"invalid UTF-8 name", "{\"w\xff\":{}}", 0, []string{"invalid JSON", "UTF-8"}},
		{"lone surrogate", `{"w\ud800":{}}`, 0, []string{"invalid JSON"}},
		{"same tensor twice", `{` + entry("w", 0, 4) + `,` + entry("w", 4, 8) + `}`, 8, []string{`tensor "w" appears twice`}},
		{"same tensor twice, escaped", `{` + entry("w", 0, 4) + `,"\u0077":{}}`, 4, []string{`tensor "w" appears twice`}},
		{"same field twice", one(`"dtype":"U8","dtype":"I8"`), 0, []string{`tensor "w"`, `key "dtype" appears twice`}},
		{"same metadata twice", `{"__metadata__":{"a":"1","a":"2"}}`, 0, []string{"__metadata__", `key "a" appears twice`}},
		{"metadata twice", `{"__metadata__":{},"__metadata__":{}}`, 0, []string{`"__metadata__" appears twice`}},
		{"metadata a list", `{"__metadata__":[1]}`, 0, []string{"__metadata__ is an array"}},
		{"metadata null twice", `{"__metadata__":null,"__metadata__":null}`, 0, []string{`"__metadata__" appears twice`}},
		{"metadata null, then an object", `{"__metadata__":null,"__metadata__":{}}`, 0, []string{`"__metadata__" appears twice`}},
		{"metadata false", `{"__metadata__":false}`, 0, []string{"__metadata__ is a boolean"}},
		{"metadata of null", `{"__metadata__":{"format":null}}`, 0, []string{`__metadata__["format"] is null, expected a string`}},
		{"metadata nul", `{"__metadata__":nul}`, 0, []string{"invalid JSON"}},
		{"tensor null", `{"w":null}`, 0, []string{`tensor "w" is null, expected an object`}},
		{"metadata number", `{"__metadata__":{"a":1}}`, 0, []string{`__metadata__["a"] is a number, expected a string`}},
		{"tensor a string", `{"w":"U8"}`, 0, []string{`tensor "w" is a string, expected an object`}},
		{"unknown field", one(`"dtype":"U8","shape":[1],"data_offsets":[0,1],"stride":[{"x":1}]`), 1, []string{`tensor "w"`, `unknown field "stride"`}},
		{"no dtype", one(`"shape":[1],"data_offsets":[0,1]`), 1, []string{`tensor "w": dtype is missing`}},
		{"no shape", one(`"dtype":"U8","data_offsets":[0,1]`), 1, []string{`tensor "w": shape is missing`}},
		{"no offsets", one(`"dtype":"U8","shape":[1]`), 1, []string{`tensor "w": data_offsets is missing`}},
		{"dtype a number", one(`"dtype":8,"shape":[1],"data_offsets":[0,1]`), 1, []string{`tensor "w": dtype is a number, expected a string`}},
		{"unknown dtype", one(`"dtype":"Q4_K","shape":[1],"data_offsets":[0,1]`), 1, []string{`tensor "w": unknown dtype "Q4_K"`}},
		{"lower-case dtype", one(`"dtype":"bf16","shape":[1],"data_offsets":[0,2]`), 2, []string{`unknown dtype "bf16"`}},
		{"sub-byte dtype", one(`"dtype":"F4","shape":[2],"data_offsets":[0,1]`), 1, []string{`tensor "w": dtype F4`, "not supported"}},
		{"shape a number", one(`"dtype":"U8","shape":1,"data_offsets":[0,1]`), 1, []string{`tensor "w": shape is a number, expected an array`}},
		{"negative dimension", one(`"dtype":"U8","shape":[2,-1],"data_offsets":[0,1]`), 1, []string{`tensor "w": shape[1] = -1 is negative`}},
		{"minus zero", one(`"dtype":"U8","shape":[-0],"data_offsets":[0,0]`), 0, []string{`shape[0] = -0 is negative`}},
		{"fraction", one(`"dtype":"U8","shape":[1.5],"data_offsets":[0,1]`), 1, []string{`shape[0] = 1.5 is not a whole number`}},
		{"exponent", one(`"dtype":"U8","shape":[1e0],"data_offsets":[0,1]`), 1, []string{`shape[0] = 1e0 is not a whole number`}},
		{"string dimension", one(`"dtype":"U8","shape":["1"],"data_offsets":[0,1]`), 1, []string{`shape[0] = "1" is not a number`}},
		{"dimension over int64", one(`"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]`), 1, []string{`is too large`}},
		{"product over int64", one(`"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,1]`), 1, []string{`tensor "w": shape [4294967296 4294967296] of U8 has more than 2^63-1 bytes`}},
		{"product over int64 by dtype", one(`"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,0]`), 0, []string{`more than 2^63-1 bytes`}},
		{"nine dimensions", one(`"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]`), 1, []string{`tensor "w": 9 dimensions, at most 8`}},
		{"shape and range differ", one(`"dtype":"BF16","shape":[2,3],"data_offsets":[0,6]`), 6, []string{`tensor "w": BF16[2 3] takes 12 bytes, data_offsets [0, 6] hold 6`}},
		{"three offsets", one(`"dtype":"U8","shape":[1],"data_offsets":[0,1,2]`), 1, []string{`data_offsets has 3 numbers`}},
		{"no offset", one(`"dtype":"U8","shape":[0],"data_offsets":[]`), 0, []string{`data_offsets has 0 numbers`}},
		{"offsets an object", one(`"dtype":"U8","shape":[1],"data_offsets":{"a":0}`), 1, []string{`data_offsets is an object, expected [begin, end]`}},
		{"negative offset", one(`"dtype":"U8","shape":[1],"data_offsets":[-1,0]`), 1, []string{`data_offsets[0] = -1 is negative`}},
		{"ends before it begins", one(`"dtype":"U8","shape":[1],"data_offsets":[2,1]`), 2, []string{`tensor "w": data_offsets [2, 1] end before they begin`}},
		{"range after the data", one(`"dtype":"U8","shape":[9],"data_offsets":[0,9]`), 4, []string{`truncated`, `9 bytes of data, the file has 4`, `1 tensor from "w" on`, "download"}},
		{"hole in front", `{` + entry("w", 2, 4) + `}`, 4, []string{`no tensor covers 2 bytes of data before the first tensor "w"`}},
		{"hole between", `{` + entry("a", 0, 4) + `,` + entry("b", 7, 9) + `}`, 9, []string{`3 bytes of data between tensors "a" and "b"`}},
		{"hole at the end", `{` + entry("b", 0, 2) + `,` + entry("a", 2, 4) + `}`, 9, []string{`5 bytes of data after the last tensor "a"`}},
		{"data without tensors", `{}`, 3, []string{"no tensor covers 3 bytes of data in a file without tensors"}},
		{"overlap", `{` + entry("a", 0, 4) + `,` + entry("b", 3, 6) + `}`, 6, []string{`tensors "a" and "b" overlap: bytes [0, 4) and [3, 6)`}},
		{"one inside another", `{` + entry("a", 0, 9) + `,` + entry("b", 3, 6) + `}`, 9, []string{`tensors "a" and "b" overlap`}},
		{"same range twice", `{` + entry("a", 0, 4) + `,` + entry("b", 0, 4) + `}`, 4, []string{`tensors "a" and "b" overlap`}},
		{"empty tensor inside another", `{` + entry("a", 0, 4) + `,` + entry("b", 2, 2) + `}`, 4, []string{`tensors "a" and "b" overlap`}},
		{"long name", `{` + entry(strings.Repeat("n", MaxNameBytes+1), 0, 1) + `}`, 1, []string{"nnn", "(65537 bytes)", "longer than 65536 bytes"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(test.header, test.data)
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("got %v, want a *FormatError", err)
			}
			if len(format.Problems) != 1 || format.Omitted != 0 {
				t.Fatalf("one fault gives %d problems: %v", len(format.Problems), err)
			}
			for _, part := range append(test.want, "some.safetensors: ") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}

func TestManyProblemsAreOneShortError(t *testing.T) {
	var entries []string
	for i := range 100 {
		entries = append(entries, fmt.Sprintf(`"w%d":{"dtype":"X%d","shape":[],"data_offsets":[0,1]}`, i, i))
	}
	_, err := parse("{"+strings.Join(entries, ",")+"}", 1)
	var format *FormatError
	if !errors.As(err, &format) || len(format.Problems) != maxProblems || format.Omitted != 100-maxProblems {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"100 problems", `"w0"`, `"w7"`, "and 92 more"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q:\n%v", part, err)
		}
	}
}

func TestHeaderAccepted(t *testing.T) {
	tests := []struct {
		name   string
		header string
		data   int64
		want   string
	}{
		{"empty", `{}`, 0, "[] map[]"},
		{"padded", `{}      `, 0, "[] map[]"},
		{"scalar", `{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4, "[s F32[]@0+4] map[]"},
		{"order of names, fields and data", `{"b":{"data_offsets":[3,4],"shape":[1],"dtype":"I8"},` + entry("a", 4, 6) + `,` + entry("c", 0, 3) + `}`, 6,
			"[a U8[2]@4+2 b I8[1]@3+1 c U8[3]@0+3] map[]"},
		{"empty tensors", `{` + entry("e", 2, 2) + `,` + entry("a", 0, 2) + `,` + entry("z", 0, 0) + `,` + entry("y", 2, 4) + `}`, 4,
			"[a U8[2]@0+2 e U8[0]@2+0 y U8[2]@2+2 z U8[0]@0+0] map[]"},
		{"escapes and spaces", `{ "\u0077\/\n" : { "\u0064type" : "\u00558" , "shape" : [ 1 ] , "data_offsets" : [ 0 , 1 ] } }`, 1, "[w/\n U8[1]@0+1] map[]"},
		{"metadata null", `{"__metadata__":null}`, 0, `[] map[]`},
		{"metadata null before a tensor", `{"__metadata__": null ,` + entry("w", 0, 4) + `}`, 4, `[w U8[4]@0+4] map[]`},
		{"metadata null behind a tensor", `{` + entry("w", 0, 4) + `,"__metadata__":null}  `, 4, `[w U8[4]@0+4] map[]`},
		{"metadata", `{"__metadata__":{"format":"mlx","\u0061":"\"x\""}}`, 0, `[] map[a:"x" format:mlx]`},
		{"zero times huge", `{"w":{"dtype":"F64","shape":[0,4611686018427387904],"data_offsets":[0,0]}}`, 0, "[w F64[0 4611686018427387904]@0+0] map[]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, err := parse(test.header, test.data)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range h.Tensors {
				got = append(got, fmt.Sprintf("%s@%d+%d", x, x.Offset-int64(8+len(test.header)), x.Bytes))
			}
			if s := fmt.Sprint(got, h.Metadata); s != test.want {
				t.Errorf("got  %s\nwant %s", s, test.want)
			}
		})
	}
}

// TestPython: what Python writes beyond JSON is refused where it is read. Metadata
// is not.
func TestPython(t *testing.T) {
	for _, metadata := range []string{`"\ud83d"`, `"a\udc00b"`, `"\ud83d\ude00"`, `"NaN"`, `"a: NaN, Infinity"`} {
		if h, err := parse(`{"__metadata__":{"x":`+metadata+`},`+entry("a", 0, 4)+`}`, 4); err != nil || len(h.Tensors) != 1 {
			t.Errorf("%s: %v", metadata, err)
		}
	}
	for _, c := range []struct{ header, want string }{
		{`{"\ud83d":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, `\ud83d is half of a surrogate pair, no character`},
		{`{"a":NaN}`, `tensor "a" is a number, expected an object`},
		{`{"a":{"dtype":"\udc00","shape":[4],"data_offsets":[0,4]}}`, `in tensor "a": \udc00 is half of a surrogate pair`},
		{`{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,4]}}`, `in tensor "a": NaN is no number of JSON`},
		{`{"a":{"dtype":"U8","shape":[4],"data_offsets":[-Infinity,4]}}`, `in tensor "a": -Infinity is no number of JSON`},
	} {
		if _, err := parse(c.header, 4); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "some.safetensors") {
			t.Errorf("%s: %v, want %s", c.header, err, c.want)
		}
	}
}
