package strictjson

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
)

// Object is the object under key, or nil if it is absent or something else,
// which is noted.
func (o *Object) Object(key string) *Object {
	v, ok := o.Get(key)
	if !ok {
		return nil
	}
	if v.Kind() != jsontext.KindBeginObject {
		o.Wrong(key, Show(v), "an object")
		return nil
	}
	doc := NewDocument(v)
	n, err := readObject(doc.decoder(), doc, o.prefix+key+".", o.out)
	if err != nil {
		o.Wrong(key, Describe(err), "an object")
		return nil
	}
	o.nested = append(o.nested, n)
	return n
}

// List is the elements of the array under key; ok is false if it is absent or
// something else, which is noted.
func (o *Object) List(key string) (elements []jsontext.Value, ok bool) {
	v, ok := o.Get(key)
	if !ok {
		return nil, false
	}
	if v.Kind() != jsontext.KindBeginArray {
		o.Wrong(key, Show(v), "a list")
		return nil, false
	}
	doc := NewDocument(v)
	d := doc.decoder()
	_, err := d.ReadToken()
	for err == nil && d.PeekKind() != jsontext.KindEndArray {
		var e jsontext.Value
		if e, err = d.ReadValue(); err == nil {
			elements = append(elements, doc.written(d, e))
		}
	}
	if err != nil {
		o.Wrong(key, Describe(err), "a list")
		return nil, false
	}
	return elements, true
}

// Boolean is the truth value under key; ok is false if it is absent or something
// else, which is noted.
func (o *Object) Boolean(key string) (value, ok bool) {
	v, ok := o.Get(key)
	if !ok {
		return false, false
	}
	if k := v.Kind(); k != jsontext.KindTrue && k != jsontext.KindFalse {
		o.Wrong(key, Show(v), "true or false")
		return false, false
	}
	return v.Kind() == jsontext.KindTrue, true
}

// Word is the string under key, which must be one of allowed.
func (o *Object) Word(key string, allowed ...string) (string, bool) {
	v, ok := o.Get(key)
	if !ok {
		return "", false
	}
	if w, isText := unquoted(v); isText && slices.Contains(allowed, w) {
		return w, true
	}
	o.Wrong(key, Show(v), OneOf(allowed))
	return "", false
}

// Words is the list of strings under key, which must not be empty.
func (o *Object) Words(key string) ([]string, bool) {
	elements, ok := o.List(key)
	if !ok {
		return nil, false
	}
	words := make([]string, len(elements))
	for i, e := range elements {
		w, isText := unquoted(e)
		if !isText {
			o.Wrong(fmt.Sprintf("%s[%d]", key, i), Show(e), "a string")
			return nil, false
		}
		words[i] = w
	}
	if len(words) == 0 {
		o.Wrong(key, "an empty list", "at least one entry")
		return nil, false
	}
	return words, true
}

// Integer is the whole number under key, from lo to hi.
func (o *Object) Integer(key string, lo, hi int) (int, bool) {
	v, ok := o.Get(key)
	if !ok {
		return 0, false
	}
	return o.Whole(key, v, lo, hi)
}

// NeedInteger is Integer of a key that must be there.
func (o *Object) NeedInteger(key string, lo, hi int) int {
	if !o.Has(key) {
		o.Missing(key)
	}
	n, _ := o.Integer(key, lo, hi)
	return n
}

// Integers are the whole numbers from lo to hi under key: one, or a list of them.
// Those that are something else are noted and left out.
func (o *Object) Integers(key string, lo, hi int) (list []int) {
	v, ok := o.Get(key)
	if !ok {
		return nil
	}
	elements := []jsontext.Value{v}
	if v.Kind() == jsontext.KindBeginArray {
		elements, _ = o.List(key)
	}
	for _, e := range elements {
		if n, ok := o.Whole(key, e, lo, hi); ok {
			list = append(list, n)
		}
	}
	return list
}

// Texts are the strings under key: one, or a list of them. Those that are something
// else are noted and left out.
func (o *Object) Texts(key string) (list []string) {
	v, ok := o.Get(key)
	if !ok {
		return nil
	}
	elements := []jsontext.Value{v}
	if v.Kind() == jsontext.KindBeginArray {
		elements, _ = o.List(key)
	}
	for _, e := range elements {
		if text, ok := unquoted(e); ok {
			list = append(list, text)
		} else {
			o.Wrong(key, Show(e), "a string, or a list of them")
		}
	}
	return list
}

// Whole converts one value; key is only for the message. 4096.0 is whole.
func (o *Object) Whole(key string, v jsontext.Value, lo, hi int) (int, bool) {
	if v.Kind() == jsontext.KindNumber {
		f, err := strconv.ParseFloat(string(v), 64)
		if err == nil && f == math.Trunc(f) && float64(lo) <= f && f <= float64(hi) {
			return int(f), true
		}
	}
	want := fmt.Sprintf("a whole number from %d to %d", lo, hi)
	if lo == hi {
		want = fmt.Sprintf("%d, the only value smelt can use", lo)
	}
	o.Wrong(key, Show(v), want)
	return 0, false
}

// Bound is one end of a number's range.
type Bound struct {
	words string
	holds func(float64) bool
}

// Above is the bound of numbers greater than x.
func Above(x float64) Bound {
	return Bound{fmt.Sprintf("above %g", x), func(v float64) bool { return v > x }}
}

// AtLeast is the bound of numbers not less than x.
func AtLeast(x float64) Bound {
	return Bound{fmt.Sprintf("at least %g", x), func(v float64) bool { return v >= x }}
}

// AtMost is the bound of numbers not greater than x.
func AtMost(x float64) Bound {
	return Bound{fmt.Sprintf("at most %g", x), func(v float64) bool { return v <= x }}
}

// Number is the number under key, which both bounds must hold for.
func (o *Object) Number(key string, low, high Bound) (float64, bool) {
	v, ok := o.Get(key)
	if !ok {
		return 0, false
	}
	if v.Kind() == jsontext.KindNumber {
		f, err := strconv.ParseFloat(string(v), 64)
		if err == nil && low.holds(f) && high.holds(f) {
			return f, true
		}
	}
	o.Wrong(key, Show(v), "a number "+low.words+" and "+high.words)
	return 0, false
}

// NeedNumber is Number of a key that must be there.
func (o *Object) NeedNumber(key string, low, high Bound) float64 {
	if !o.Has(key) {
		o.Missing(key)
	}
	f, _ := o.Number(key, low, high)
	return f
}

func unquoted(v jsontext.Value) (string, bool) {
	if v.Kind() != jsontext.KindString {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err == nil
}

// Show is a value as the file spells it, cut to a readable length.
func Show(v jsontext.Value) string {
	if w, ok := unquoted(v); ok {
		return strconv.Quote(message.Clip(w))
	}
	return message.Clip(string(v))
}

// OneOf lists words that are allowed.
func OneOf(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = strconv.Quote(w)
	}
	return strings.Join(list, " or ")
}
