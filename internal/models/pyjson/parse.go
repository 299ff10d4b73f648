package pyjson

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep lists and objects may nest.
const MaxDepth = 500

// SyntaxError says where a text is not JSON.
type SyntaxError struct {
	Offset          int // in bytes
	Found, Expected string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("JSON, byte %d: found %s, expected %s", e.Offset, e.Found, e.Expected)
}

// Parse reads a text as Python's json.loads does: NaN, Infinity and -Infinity are
// numbers, and of a repeated key the last value stands in the first one's place. The
// error is a *SyntaxError.
func Parse(text string) (Value, error) { return parse(text, true) }

// Valid reports whether a text is JSON by RFC 8259, without Python's numbers, and
// nests no deeper than MaxDepth.
func Valid(text string) bool {
	_, err := parse(text, false)
	return err == nil
}

func parse(text string, python bool) (Value, error) {
	r := reader{text: text, python: python}
	v, err := r.value(0)
	if err != nil {
		return Value{}, err
	}
	if r.blanks(); r.at < len(text) {
		return Value{}, r.fail("the end")
	}
	return v, nil
}

type reader struct {
	text   string
	at     int
	python bool
}

func (r *reader) fail(expected string) error {
	found := "the end"
	if r.at < len(r.text) {
		c, _ := utf8.DecodeRuneInString(r.text[r.at:])
		found = strconv.QuoteRune(c)
	}
	return &SyntaxError{Offset: r.at, Found: found, Expected: expected}
}

func (r *reader) blanks() {
	for r.at < len(r.text) && strings.IndexByte(" \t\n\r", r.text[r.at]) >= 0 {
		r.at++
	}
}

// take consumes a word if it stands next.
func (r *reader) take(word string) bool {
	if !strings.HasPrefix(r.text[r.at:], word) {
		return false
	}
	r.at += len(word)
	return true
}

func (r *reader) value(depth int) (Value, error) {
	r.blanks()
	if depth > MaxDepth {
		return Value{}, r.fail(fmt.Sprintf("at most %d lists and objects in one another", MaxDepth))
	}
	for _, word := range []string{"true", "false", "null"} {
		if r.take(word) {
			return Value{kind: scalar, text: word}, nil
		}
	}
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if r.python && r.take(word) {
			return Value{kind: scalar, text: word}, nil
		}
	}
	switch {
	case r.take(`"`):
		text, err := r.rest()
		return Value{kind: str, text: text}, err
	case r.take("["):
		return r.list(depth)
	case r.take("{"):
		return r.object(depth)
	}
	return r.number()
}

func (r *reader) list(depth int) (Value, error) {
	v := Value{kind: list}
	if r.blanks(); r.take("]") {
		return v, nil
	}
	for {
		item, err := r.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.items = append(v.items, item)
		if r.blanks(); r.take("]") {
			return v, nil
		}
		if !r.take(",") {
			return v, r.fail(`"," or "]"`)
		}
	}
}

func (r *reader) object(depth int) (Value, error) {
	v, places := Value{kind: object}, map[string]int{}
	if r.blanks(); r.take("}") {
		return v, nil
	}
	for {
		if r.blanks(); !r.take(`"`) {
			return v, r.fail("a key in quotes")
		}
		key, err := r.rest()
		if err != nil {
			return v, err
		}
		if r.blanks(); !r.take(":") {
			return v, r.fail(`":"`)
		}
		item, err := r.value(depth + 1)
		if err != nil {
			return v, err
		}
		if i, again := places[key]; again {
			v.items[i] = item
		} else {
			places[key] = len(v.keys)
			v.keys, v.items = append(v.keys, key), append(v.items, item)
		}
		if r.blanks(); r.take("}") {
			return v, nil
		}
		if !r.take(",") {
			return v, r.fail(`"," or "}"`)
		}
	}
}

// rest reads a string behind its opening quote.
func (r *reader) rest() (string, error) {
	var out []byte
	for r.at < len(r.text) {
		c := r.text[r.at]
		switch {
		case c == '"':
			r.at++
			return string(out), nil
		case c < ' ':
			return "", r.fail("no control character in a string")
		case c == '\\':
			r.at++
			var err error
			if out, err = r.escape(out); err != nil {
				return "", err
			}
		default:
			out = append(out, c)
			r.at++
		}
	}
	return "", r.fail(`a closing "`)
}

// escape reads what stands behind a backslash.
func (r *reader) escape(out []byte) ([]byte, error) {
	if r.take("u") {
		c, err := r.hex()
		if err != nil {
			return out, err
		}
		if utf16.IsSurrogate(c) && strings.HasPrefix(r.text[r.at:], `\u`) {
			back := r.at
			r.at += 2
			low, err := r.hex()
			if err != nil {
				return out, err
			}
			if pair := utf16.DecodeRune(c, low); pair != utf8.RuneError {
				return utf8.AppendRune(out, pair), nil
			}
			r.at = back
		}
		return utf8.AppendRune(out, c), nil // half a pair becomes U+FFFD
	}
	if r.at < len(r.text) {
		if i := strings.IndexByte(`"\/nrtbf`, r.text[r.at]); i >= 0 {
			r.at++
			return append(out, "\"\\/\n\r\t\b\f"[i]), nil
		}
	}
	return out, r.fail("an escape of JSON")
}

func (r *reader) hex() (rune, error) {
	if len(r.text)-r.at >= 4 {
		if n, err := strconv.ParseUint(r.text[r.at:r.at+4], 16, 16); err == nil {
			r.at += 4
			return rune(n), nil
		}
	}
	return 0, r.fail("four hexadecimal digits")
}

func (r *reader) number() (Value, error) {
	start := r.at
	r.take("-")
	if !r.take("0") && !r.digits() {
		r.at = start
		return Value{}, r.fail("a JSON value")
	}
	if back := r.at; r.take(".") && !r.digits() {
		r.at = back
	}
	if back := r.at; r.take("e") || r.take("E") {
		if !r.take("+") {
			r.take("-")
		}
		if !r.digits() {
			r.at = back
		}
	}
	return Value{kind: scalar, text: number(r.text[start:r.at])}, nil
}

func (r *reader) digits() bool {
	start := r.at
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at > start
}
