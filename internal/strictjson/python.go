package strictjson

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
)

// Python's json module, which wrote most files of checkpoints, writes more than
// JSON: NaN, Infinity and -Infinity are numbers to it, and a string may hold one
// half of a surrogate pair ("\ud83d"). Editors put a byte-order mark before a file.
// None of it matters where nobody reads the value, and the JSON package stops at
// all of it.

// A Document is the text of a file that others wrote. Plain is the same text with
// what the JSON package does not take replaced, byte for byte, so that offsets in
// one are offsets in the other. Whoever reads a value from Plain asks whether it was
// replaced.
type Document struct {
	Text, Plain []byte
	odd         []span // what was replaced, in order; never the byte-order mark
}

// span is a range of bytes.
type span struct{ from, to int }

// NewDocument looks for what is no JSON in a text, which must stay as it is.
func NewDocument(text []byte) Document {
	d := Document{Text: text, Plain: text}
	if bytes.HasPrefix(text, byteOrderMark) {
		d.replace(0, "   ")
	}
	if !mayBeOdd(text) {
		return d
	}
	for i := 0; i < len(text); {
		if text[i] == '"' {
			i = d.skipString(i)
			continue
		}
		word := oddNumber(text, i)
		if word == "" {
			i++
			continue
		}
		d.replace(i, oddNumbers[word])
		d.odd = append(d.odd, span{i, i + len(word)})
		i += len(word)
	}
	return d
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// oddNumbers has numbers of JSON of the same length for those that are none.
var oddNumbers = map[string]string{"NaN": "0.0", "Infinity": "0.000000", "-Infinity": "-0.000000"}

// oddNumber is the number at text[i] that is no JSON, or "".
func oddNumber(text []byte, i int) string {
	if c := text[i]; c != 'N' && c != 'I' && c != '-' {
		return ""
	}
	for word := range oddNumbers {
		if bytes.HasPrefix(text[i:], []byte(word)) && stands(text, i, i+len(word)) {
			return word
		}
	}
	return ""
}

// stands reports whether text[from:to] is a value by itself and no part of one.
func stands(text []byte, from, to int) bool {
	return (from == 0 || bytes.IndexByte([]byte(" \t\r\n:,[\xbf"), text[from-1]) >= 0) &&
		(to == len(text) || bytes.IndexByte([]byte(" \t\r\n,]}"), text[to]) >= 0)
}

// mayBeOdd is a quick look: false for nearly all files.
func mayBeOdd(text []byte) bool {
	for _, word := range []string{"NaN", "Infinity"} {
		for at := 0; ; {
			i := bytes.Index(text[at:], []byte(word))
			if i < 0 {
				break
			}
			i += at
			at = i + len(word)
			if i == 0 || text[i-1] == '-' || stands(text, i, at) {
				return true
			}
		}
	}
	for _, escape := range []string{`\ud`, `\uD`} {
		if bytes.Contains(text, []byte(escape)) {
			return true
		}
	}
	return false
}

// skipString returns the end of the string that begins at i, and replaces halves of
// surrogate pairs in it.
func (d *Document) skipString(i int) int {
	for i++; i < len(d.Text); i++ {
		switch d.Text[i] {
		case '"':
			return i + 1
		case '\\':
			n, lone := escape(d.Text[i:])
			if lone {
				d.replace(i, `\ufffd`)
				d.odd = append(d.odd, span{i, i + n})
			}
			i += n - 1
		}
	}
	return i
}

// escape is the length of the escape that a text begins with, a surrogate pair
// being one, and whether it is half of a pair.
func escape(text []byte) (n int, lone bool) {
	unit, ok := codeUnit(text)
	switch {
	case !ok:
		return 2, false
	case unit&^0x7ff != 0xd800:
		return 6, false
	}
	if next, ok := codeUnit(text[6:]); ok && unit&0x400 == 0 && next&^0x3ff == 0xdc00 {
		return 12, false
	}
	return 6, true
}

// codeUnit reads an escape \uXXXX.
func codeUnit(text []byte) (unit rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, c := range text[2:6] {
		digit := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
		if digit < 0 || c < '0' {
			return 0, false
		}
		unit = unit<<4 | rune(digit)
	}
	return unit, true
}

// replace puts bytes into Plain, which is made a copy first.
func (d *Document) replace(at int, with string) {
	if len(d.odd) == 0 && &d.Plain[0] == &d.Text[0] {
		d.Plain = slices.Clone(d.Text)
	}
	copy(d.Plain[at:], with)
}

// decoder reads Plain, in which keys may stand several times.
func (d Document) decoder() *jsontext.Decoder { return newDecoder(d.Plain) }

// written is a value that was just read by a decoder of Plain, as the file has it.
func (d Document) written(r *jsontext.Decoder, value []byte) jsontext.Value {
	end := int(r.InputOffset())
	return d.Text[end-len(value) : end : end]
}

// check is an error if something that is no JSON lies in the value that a decoder of
// Plain just read.
func (d Document) check(r *jsontext.Decoder, value []byte) error {
	if len(d.odd) == 0 {
		return nil
	}
	end := int(r.InputOffset())
	i, _ := slices.BinarySearchFunc(d.odd, end-len(value), func(s span, from int) int { return s.from - from })
	if i == len(d.odd) || d.odd[i].from >= end {
		return nil
	}
	return d.refusal(d.odd[i], r.StackPointer())
}

func (d Document) refusal(s span, where jsontext.Pointer) error {
	what := string(d.Text[s.from:s.to])
	err := fmt.Errorf("%s is no number of JSON", what)
	if what[0] == '\\' {
		err = fmt.Errorf("%s is half of a surrogate pair, no character", message.Clip(what))
	}
	return &jsontext.SyntacticError{ByteOffset: int64(s.from), JSONPointer: where, Err: err}
}

// Refuse is an error, a *jsontext.SyntacticError, if something that is no JSON
// stands where read says that it is read: in the value at a pointer, or in the last
// key of it. It is nil for a text that is no JSON for other reasons.
func (d Document) Refuse(read func(at jsontext.Pointer) bool) error {
	if len(d.odd) == 0 {
		return nil
	}
	r := d.decoder()
	for _, s := range d.odd {
		for r.InputOffset() < int64(s.to) {
			if _, err := r.ReadToken(); err != nil {
				return nil
			}
		}
		if at := r.StackPointer(); read(at) {
			return d.refusal(s, at)
		}
	}
	return nil
}
