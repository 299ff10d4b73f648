// Package strictjson reads the JSON files of a checkpoint, which others write:
// names match by exact case, text is valid UTF-8, a key that is read and stands
// twice is refused with its name, and messages stay short whatever a file holds.
// encoding/json does none of this. What Python writes beyond JSON, such as NaN, is
// refused only where it is read.
//
// Object is for files of some dozen keys, Reader for those of a hundred thousand.
package strictjson

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// A Reader reads one document. Errors of its methods are those of jsontext:
// *jsontext.SyntacticError, io.ErrUnexpectedEOF or, for an empty document,
// io.EOF.
type Reader struct {
	*jsontext.Decoder
	words map[string]string
	doc   Document
}

// NewReader reads document, which it does not modify, and in which no object may
// have a key twice. Strings that are keys of words are returned as the value
// there, without an allocation each.
func NewReader(document []byte, words map[string]string) Reader {
	doc := NewDocument(document)
	return Reader{jsontext.NewDecoder(bytes.NewBuffer(doc.Plain)), words, doc}
}

// NewLaxReader is NewReader of a document in which keys may stand several times:
// whoever reads one must look for the second.
func NewLaxReader(document []byte, words map[string]string) Reader {
	doc := NewDocument(document)
	return Reader{doc.decoder(), words, doc}
}

// ReadValue reads a value, and refuses one with anything in it that is no JSON.
// Values that SkipValue passes over may hold what Python writes.
func (r Reader) ReadValue() (jsontext.Value, error) {
	v, err := r.Decoder.ReadValue()
	if err == nil {
		err = r.doc.check(r.Decoder, v)
	}
	return v, err
}

// Mismatch reports whether the next value is of another kind than k, and
// which. It is false where no value follows: the next read says why.
func (r Reader) Mismatch(k jsontext.Kind) (got jsontext.Kind, yes bool) {
	got = r.PeekKind()
	return got, got != k && got != jsontext.KindInvalid
}

// Object reads an object, which the next value must be, and calls member with
// each key; member reads the value.
func (r Reader) Object(member func(key string) error) error {
	if _, err := r.ReadToken(); err != nil {
		return err
	}
	for r.PeekKind() != jsontext.KindEndObject {
		key, err := r.Text()
		if err != nil {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
	}
	_, err := r.ReadToken()
	return err
}

// Array reads an array, which the next value must be, and calls element with
// the source text of each value, valid during the call.
func (r Reader) Array(element func(raw []byte)) error {
	if _, err := r.ReadToken(); err != nil {
		return err
	}
	for r.PeekKind() != jsontext.KindEndArray {
		raw, err := r.ReadValue()
		if err != nil {
			return err
		}
		element(raw)
	}
	_, err := r.ReadToken()
	return err
}

// Text reads a string, which the next value must be.
func (r Reader) Text() (string, error) {
	raw, err := r.ReadValue()
	if err != nil {
		return "", err
	}
	return r.unquote(raw)
}

// AnyText is Text of a string that nothing depends on: U+FFFD stands for what is no
// character.
func (r Reader) AnyText() (string, error) {
	raw, err := r.Decoder.ReadValue()
	if err != nil {
		return "", err
	}
	return r.unquote(raw)
}

func (r Reader) unquote(raw jsontext.Value) (string, error) {
	if bytes.IndexByte(raw, '\\') >= 0 {
		plain, err := jsontext.AppendUnquote(nil, raw)
		return string(plain), err
	}
	inner := raw[1 : len(raw)-1]
	if word, ok := r.words[string(inner)]; ok {
		return word, nil
	}
	return string(inner), nil
}

// KindName names k for a message: "a string".
func KindName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	}
	return "something else"
}
