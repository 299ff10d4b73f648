package deepseekv4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// ConfigError is everything wrong with one configuration file.
type ConfigError struct {
	File string
	// Findings each name a key, what was found and what was expected.
	Findings []string
}

// maxShown bounds an error's length; a file can be wrong in thousands of places.
const maxShown = 40

// Error lists the findings, one a line after the first.
func (e *ConfigError) Error() string {
	shown, rest := e.Findings, ""
	if len(shown) > maxShown {
		rest = fmt.Sprintf("\n  and %d more", len(shown)-maxShown)
		shown = shown[:maxShown]
	}
	return fmt.Sprintf("%s: not a DeepSeek-V4 configuration smelt can use; correct the file or fetch it again:\n  %s%s",
		e.File, strings.Join(shown, "\n  "), rest)
}

// findings collects what is wrong (and what is merely odd) with one file.
type findings struct {
	file   string
	list   []string
	absent []string
	notes  []string
}

func (f *findings) wrong(key, found, expected string) {
	f.list = append(f.list, fmt.Sprintf("%s: found %s, expected %s", key, found, expected))
}

func (f *findings) note(s string) { f.notes = append(f.notes, s) }

func (f *findings) err() error {
	list := slices.Clone(f.list)
	if len(f.absent) > 0 {
		list = append(list, "missing keys: "+strings.Join(f.absent, ", "))
	}
	if len(list) == 0 {
		return nil
	}
	return &ConfigError{File: f.file, Findings: list}
}

// section is one JSON object of the file. Each read marks its key as known,
// so that what was never asked for can be listed. A null counts as absent.
type section struct {
	prefix  string
	members map[string]jsontext.Value
	known   map[string]bool
	nested  []*section
	out     *findings
}

// parseTop reads the file's one object, or reports why there is none and
// returns nil.
func parseTop(data []byte, out *findings) *section {
	const want = "one JSON object"
	if len(data) > maxConfigBytes {
		out.wrong("file", fmt.Sprintf("%d bytes", len(data)), fmt.Sprintf("at most %d", maxConfigBytes))
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	value, err := dec.ReadValue()
	if err == nil {
		value = value.Clone()
		if _, err = dec.ReadToken(); err == nil {
			err = errors.New("a second value after the first")
		}
	}
	if err != io.EOF || value == nil {
		out.wrong("file", syntaxFinding(err), want)
		return nil
	}
	if value.Kind() != '{' {
		out.wrong("file", abbreviated(value), want)
		return nil
	}
	return newSection("", value, out)
}

func syntaxFinding(err error) string {
	if err == io.EOF {
		return "nothing"
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return err.Error()
	}
	where := strings.ReplaceAll(strings.TrimPrefix(string(syntax.JSONPointer), "/"), "/", ".")
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Sprintf("the key %q twice (byte %d)", where, syntax.ByteOffset)
	}
	if where != "" {
		where = fmt.Sprintf(" in %q", where)
	}
	return fmt.Sprintf("no valid JSON%s at byte %d (%v)", where, syntax.ByteOffset, syntax.Err)
}

// newSection splits an object that is known to be valid JSON.
func newSection(prefix string, object jsontext.Value, out *findings) *section {
	s := &section{prefix: prefix, members: map[string]jsontext.Value{}, known: map[string]bool{}, out: out}
	dec := jsontext.NewDecoder(bytes.NewBuffer(object))
	if _, err := dec.ReadToken(); err != nil {
		return s
	}
	for dec.PeekKind() != '}' {
		name, errName := dec.ReadToken()
		key := name.String()
		value, errValue := dec.ReadValue()
		if err := errors.Join(errName, errValue); err != nil {
			out.wrong(prefix+key, err.Error(), "valid JSON")
			return s
		}
		s.members[key] = value.Clone()
	}
	return s
}

func (s *section) know(keys ...string) {
	for _, k := range keys {
		s.known[k] = true
	}
}

// names returns the keys in order.
func (s *section) names() []string {
	names := make([]string, 0, len(s.members))
	for k := range s.members {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

func (s *section) unknown() []string {
	var list []string
	for _, k := range s.names() {
		if !s.known[k] {
			list = append(list, s.prefix+k)
		}
	}
	for _, n := range s.nested {
		list = append(list, n.unknown()...)
	}
	slices.Sort(list)
	return list
}

func (s *section) get(key string) (jsontext.Value, bool) {
	s.know(key)
	v, ok := s.members[key]
	return v, ok && v.Kind() != 'n'
}

func (s *section) has(key string) bool {
	_, ok := s.get(key)
	return ok
}

func (s *section) wrong(key, found, expected string) { s.out.wrong(s.prefix+key, found, expected) }

func (s *section) missing(key string) { s.out.absent = append(s.out.absent, s.prefix+key) }

// object returns the object under key, or nil if it is absent or something else.
func (s *section) object(key string) *section {
	v, ok := s.get(key)
	if !ok {
		return nil
	}
	if v.Kind() != '{' {
		s.wrong(key, abbreviated(v), "an object")
		return nil
	}
	n := newSection(s.prefix+key+".", v, s.out)
	s.nested = append(s.nested, n)
	return n
}

// list returns the elements of the array under key; ok is false if it is
// absent or something else.
func (s *section) list(key string) (elements []jsontext.Value, ok bool) {
	v, ok := s.get(key)
	if !ok {
		return nil, false
	}
	if v.Kind() != '[' {
		s.wrong(key, abbreviated(v), "a list")
		return nil, false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(v))
	_, err := dec.ReadToken()
	for err == nil && dec.PeekKind() != ']' {
		var e jsontext.Value
		if e, err = dec.ReadValue(); err == nil {
			elements = append(elements, e.Clone())
		}
	}
	if err != nil {
		s.wrong(key, err.Error(), "a list")
		return nil, false
	}
	return elements, true
}

func (s *section) boolean(key string) (value, ok bool) {
	v, ok := s.get(key)
	if !ok {
		return false, false
	}
	if k := v.Kind(); k != 't' && k != 'f' {
		s.wrong(key, abbreviated(v), "true or false")
		return false, false
	}
	return v.Kind() == 't', true
}

// word reads a string that must be one of allowed.
func (s *section) word(key string, allowed ...string) (string, bool) {
	v, ok := s.get(key)
	if !ok {
		return "", false
	}
	if w, isText := unquoted(v); isText && slices.Contains(allowed, w) {
		return w, true
	}
	s.wrong(key, abbreviated(v), oneOf(allowed))
	return "", false
}

// words reads a non-empty list of strings.
func (s *section) words(key string) ([]string, bool) {
	elements, ok := s.list(key)
	if !ok {
		return nil, false
	}
	words := make([]string, len(elements))
	for i, e := range elements {
		w, isText := unquoted(e)
		if !isText {
			s.wrong(fmt.Sprintf("%s[%d]", key, i), abbreviated(e), "a string")
			return nil, false
		}
		words[i] = w
	}
	if len(words) == 0 {
		s.wrong(key, "an empty list", "at least one entry")
		return nil, false
	}
	return words, true
}

// integer reads a whole number from lo to hi.
func (s *section) integer(key string, lo, hi int) (int, bool) {
	v, ok := s.get(key)
	if !ok {
		return 0, false
	}
	return s.whole(key, v, lo, hi)
}

func (s *section) needInteger(key string, lo, hi int) int {
	if !s.has(key) {
		s.missing(key)
	}
	n, _ := s.integer(key, lo, hi)
	return n
}

// whole converts one value; key is only for the message. 4096.0 is whole.
func (s *section) whole(key string, v jsontext.Value, lo, hi int) (int, bool) {
	if v.Kind() == '0' {
		f, err := strconv.ParseFloat(string(v), 64)
		if err == nil && f == math.Trunc(f) && float64(lo) <= f && f <= float64(hi) {
			return int(f), true
		}
	}
	want := fmt.Sprintf("a whole number from %d to %d", lo, hi)
	if lo == hi {
		want = fmt.Sprintf("%d, the only value DeepSeek-V4 is defined for", lo)
	}
	s.wrong(key, abbreviated(v), want)
	return 0, false
}

// bound is one end of a number's range.
type bound struct {
	words string
	holds func(float64) bool
}

func above(x float64) bound {
	return bound{fmt.Sprintf("above %g", x), func(v float64) bool { return v > x }}
}

func atLeast(x float64) bound {
	return bound{fmt.Sprintf("at least %g", x), func(v float64) bool { return v >= x }}
}

func atMost(x float64) bound {
	return bound{fmt.Sprintf("at most %g", x), func(v float64) bool { return v <= x }}
}

func (s *section) number(key string, low, high bound) (float64, bool) {
	v, ok := s.get(key)
	if !ok {
		return 0, false
	}
	if v.Kind() == '0' {
		f, err := strconv.ParseFloat(string(v), 64)
		if err == nil && low.holds(f) && high.holds(f) {
			return f, true
		}
	}
	s.wrong(key, abbreviated(v), "a number "+low.words+" and "+high.words)
	return 0, false
}

func (s *section) needNumber(key string, low, high bound) float64 {
	if !s.has(key) {
		s.missing(key)
	}
	f, _ := s.number(key, low, high)
	return f
}

// tokenIDs reads an id or a list of ids from 0 to highest.
func (s *section) tokenIDs(key string, highest int) []int32 {
	v, ok := s.get(key)
	if !ok {
		return nil
	}
	elements := []jsontext.Value{v}
	if v.Kind() == '[' {
		elements, _ = s.list(key)
	}
	var ids []int32
	for _, e := range elements {
		if id, ok := s.whole(key, e, 0, highest); ok {
			ids = append(ids, int32(id))
		}
	}
	return ids
}

func unquoted(v jsontext.Value) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err == nil
}

func quoted(s string) string { return strconv.Quote(shorten(s)) }

func text(n int) string { return strconv.Itoa(n) }

// abbreviated shows a value as the file spells it, cut to a readable length.
func abbreviated(v jsontext.Value) string {
	if w, ok := unquoted(v); ok {
		return quoted(w)
	}
	return shorten(string(v))
}

func shorten(s string) string {
	const keep = 60
	if len(s) <= keep {
		return s
	}
	return strings.ToValidUTF8(s[:keep], "") + "..."
}

func oneOf(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = strconv.Quote(w)
	}
	return strings.Join(list, " or ")
}
