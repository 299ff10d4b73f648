// Package pyjson reads and writes JSON as the json module of Python does: keys keep
// their order, integers their digits, and floats get Python's shortest spelling.
// Chat templates that were written in Python show JSON to models in this spelling, so
// prompts need it to the byte.
package pyjson

import (
	"math"
	"strconv"
	"strings"
)

// Value is a JSON value. The zero value is no value.
type Value struct {
	kind  kind
	text  string   // of a string, its characters; of another scalar, its spelling
	keys  []string // of an object, in order
	items []Value  // of a list, or the values of keys
}

type kind uint8

const (
	scalar kind = iota + 1 // a number, true, false or null
	str
	list
	object
)

// Member is a key of an object with its value.
type Member struct {
	Key   string
	Value Value
}

// Members lists an object's members in order; ok is false for other values.
func (v Value) Members() (members []Member, ok bool) {
	if v.kind != object {
		return nil, false
	}
	for i, k := range v.keys {
		members = append(members, Member{k, v.items[i]})
	}
	return members, true
}

// Text returns the characters of a string; ok is false for other values.
func (v Value) Text() (text string, ok bool) { return v.text, v.kind == str }

// True tells whether Python takes the value for true: not null, false, zero, or what is empty.
func (v Value) True() bool {
	switch v.kind {
	case str:
		return v.text != ""
	case list, object:
		return len(v.items) > 0
	case scalar:
		number, err := strconv.ParseFloat(v.text, 64)
		return v.text != "null" && v.text != "false" && (err != nil || number != 0)
	}
	return false
}

// String spells the value as json.dumps(value, ensure_ascii=False) does.
func (v Value) String() string { return string(v.append(nil)) }

func (v Value) append(dst []byte) []byte {
	switch v.kind {
	case str:
		return append(AppendEscaped(append(dst, '"'), v.text), '"')
	case list:
		dst = append(dst, '[')
		for i, item := range v.items {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = item.append(dst)
		}
		return append(dst, ']')
	case object:
		dst = append(dst, '{')
		for i, item := range v.items {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(AppendEscaped(append(dst, '"'), v.keys[i]), `": `...)
			dst = item.append(dst)
		}
		return append(dst, '}')
	}
	return append(dst, v.text...)
}

// AppendEscaped appends text as it stands between the quotes of a JSON string. Only
// quotes, backslashes and characters below a blank are escaped.
func AppendEscaped(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	for i := range len(text) {
		c := text[i]
		at := strings.IndexByte("\"\\\n\r\t\b\f", c)
		switch {
		case at >= 0:
			dst = append(dst, '\\', `"\nrtbf`[at])
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// number spells a JSON number as Python writes what it read.
func number(text string) string {
	if !strings.ContainsAny(text, ".eE") {
		if text == "-0" {
			return "0"
		}
		return text
	}
	f, _ := strconv.ParseFloat(text, 64) // beyond the range it is infinite, as in Python
	if math.IsInf(f, 0) {
		return strings.TrimPrefix(strings.Replace(strconv.FormatFloat(f, 'g', -1, 64), "Inf", "Infinity", 1), "+")
	}
	short := strconv.FormatFloat(f, 'e', -1, 64)
	_, exponent, _ := strings.Cut(short, "e")
	if e, _ := strconv.Atoi(exponent); e < -4 || e >= 16 {
		return short
	}
	plain := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(plain, ".") {
		plain += ".0"
	}
	return plain
}

// Text is a string as a value.
func Text(text string) Value { return Value{kind: str, text: text} }
