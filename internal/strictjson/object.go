package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
)

// Findings collects what is wrong with one file, and what is merely odd. The
// zero value is ready for use.
type Findings struct {
	Notes  []string // sentences, for people
	list   []string
	absent []string
}

// Wrong notes that the value of key is not as expected. found must be short.
func (f *Findings) Wrong(key, found, expected string) {
	f.list = append(f.list, fmt.Sprintf("%s: found %s, expected %s", message.Clip(key), found, expected))
}

// Note notes what is odd and harmless.
func (f *Findings) Note(sentence string) { f.Notes = append(f.Notes, sentence) }

// List is all that is wrong, one finding an element, missing keys in one at the end.
func (f *Findings) List() []string {
	list := slices.Clone(f.list)
	if len(f.absent) > 0 {
		list = append(list, "missing keys: "+strings.Join(f.absent, ", "))
	}
	return list
}

// Object is one JSON object of a file that others write. Names match by exact
// case. Reading a key marks it as known, so that what nobody asks for can be
// listed, and notes a finding if the key stands twice: one of the two values
// would be lost. Keys that are not read may stand several times and hold
// anything, also what Python writes and JSON does not know. A null counts as absent.
type Object struct {
	prefix  string // of keys in messages: "rope_scaling."
	members map[string]jsontext.Value
	times   map[string]int // of keys that stand more than once; 0 once that is noted
	known   map[string]bool
	nested  []*Object
	out     *Findings
}

// ParseObject reads a document that must be one JSON object, or notes in out
// why it is none and returns nil. The object refers to document, which must
// stay as it is.
func ParseObject(document []byte, out *Findings) *Object {
	const what, want = "file", "one JSON object"
	doc := NewDocument(document)
	d := doc.decoder()
	switch kind := d.PeekKind(); kind {
	case jsontext.KindBeginObject:
	case jsontext.KindInvalid:
		_, err := d.ReadToken()
		out.Wrong(what, Describe(err), want)
		return nil
	default:
		if raw, err := d.ReadValue(); err != nil {
			out.Wrong(what, Describe(err), want)
		} else {
			out.Wrong(what, Show(doc.written(d, raw)), want)
		}
		return nil
	}
	o, err := readObject(d, doc, "", out)
	if err == nil {
		_, err = d.ReadToken()
		if err == nil {
			err = errors.New("a second value after the first")
		}
	}
	if err != io.EOF {
		out.Wrong(what, Describe(err), want)
		return nil
	}
	return o
}

// newDecoder reads a document in which keys may stand several times.
func newDecoder(document []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(document), jsontext.AllowDuplicateNames(true))
}

// readObject splits the object that comes next into its members.
func readObject(d *jsontext.Decoder, doc Document, prefix string, out *Findings) (*Object, error) {
	o := &Object{prefix: prefix, members: map[string]jsontext.Value{}, times: map[string]int{}, known: map[string]bool{}, out: out}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	for d.PeekKind() != jsontext.KindEndObject {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		if _, there := o.members[key]; there {
			o.times[key] = max(o.times[key], 1) + 1
		}
		// The decoder's bytes hold until its next call, the document's for good.
		o.members[key] = doc.written(d, value)
	}
	_, err := d.ReadToken()
	return o, err
}

// Know marks keys as known that nobody needs to read.
func (o *Object) Know(keys ...string) {
	for _, k := range keys {
		o.known[k] = true
	}
}

// Rest lists the keys that are not known, sorted.
func (o *Object) Rest() []string {
	var list []string
	for k := range o.members {
		if !o.known[k] {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return list
}

// Unknown lists the keys that are not known, of the objects read in it too, those
// with their path; sorted.
func (o *Object) Unknown() []string {
	var list []string
	for _, k := range o.Rest() {
		list = append(list, o.prefix+k)
	}
	for _, n := range o.nested {
		list = append(list, n.Unknown()...)
	}
	slices.Sort(list)
	return list
}

// Get is the value of a key as the file has it, which may be NaN and the like; ok is
// false if it is absent or null, or stands twice, which is noted.
func (o *Object) Get(key string) (value jsontext.Value, ok bool) {
	o.known[key] = true
	if n, repeated := o.times[key]; repeated {
		if n > 0 {
			found := "the key twice"
			if n > 2 {
				found = fmt.Sprintf("the key %d times", n)
			}
			o.Wrong(key, found, "it once: one of the values would be lost")
			o.times[key] = 0
		}
		return nil, false
	}
	v, ok := o.members[key]
	return v, ok && v.Kind() != jsontext.KindNull
}

// Has reports whether a key is there and not null.
func (o *Object) Has(key string) bool {
	_, ok := o.Get(key)
	return ok
}

// Stated reports whether a key is there, null or not.
func (o *Object) Stated(key string) bool {
	o.known[key] = true
	_, ok := o.members[key]
	return ok
}

// Kind is the kind of a key's value, and does not read it.
func (o *Object) Kind(key string) jsontext.Kind { return o.members[key].Kind() }

// Path is how messages name a key.
func (o *Object) Path(key string) string { return o.prefix + key }

// Wrong notes that a key's value is not as expected.
func (o *Object) Wrong(key, found, expected string) { o.out.Wrong(o.prefix+key, found, expected) }

// Note notes what is odd and harmless.
func (o *Object) Note(sentence string) { o.out.Note(sentence) }

// Missing notes that a key is needed and not there.
func (o *Object) Missing(key string) {
	if _, repeated := o.times[key]; !repeated {
		o.out.absent = append(o.out.absent, o.prefix+key)
	}
}

// Describe says in some words and at most about 200 bytes why a document could
// not be read: an error of jsontext or of this package's readers.
func Describe(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "no valid JSON: the text ends too early"
	}
	if err == io.EOF {
		return "nothing"
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return message.Clip(err.Error())
	}
	where := pointerInWords(syntax.JSONPointer)
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Sprintf("the key %s twice (byte %d)", where, syntax.ByteOffset)
	}
	if where != "" {
		where = " in " + where
	}
	return fmt.Sprintf("no valid JSON%s at byte %d (%s)", where, syntax.ByteOffset, message.Clip(syntax.Err.Error()))
}

// pointerInWords is a quoted path of keys, of a long one its beginning and depth.
func pointerInWords(p jsontext.Pointer) string {
	if p == "" {
		return ""
	}
	const most = 4
	var words []string
	depth := 0
	for word := range p.Tokens() {
		if depth++; depth <= most {
			words = append(words, word)
		}
	}
	where := message.Quote(strings.Join(words, "."))
	if depth > most {
		where += fmt.Sprintf(" (%d levels deep)", depth)
	}
	return where
}
