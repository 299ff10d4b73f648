package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/strictjson"
)

const (
	// MaxHeaderBytes is the longest header the format allows.
	MaxHeaderBytes = 100_000_000
	// MaxNameBytes is the longest tensor name this package takes.
	MaxNameBytes = 64 << 10

	lengthBytes = 8 // the header length in front of the header
	metadataKey = "__metadata__"
)

// A Header holds the contents of a file's JSON header.
type Header struct {
	Tensors  []Tensor // sorted by name
	Metadata map[string]string
}

// ParseHeader reads and checks the JSON header of a file of fileSize bytes.
// header is all of it, with its padding; the data starts at 8 + len(header).
// path only names the file in errors, which are of type *FormatError. The
// tensors returned have no data (Tensor.Data must not be called).
//
// Beyond the syntax it checks that no key appears twice, that each shape and
// element type agree with the byte range, and that the ranges cover the data
// section exactly: no overlap, no hole, nothing after the last tensor.
func ParseHeader(header []byte, fileSize int64, path string) (*Header, error) {
	p := newHeaderParser(header, path)
	if err := p.file(header); err != nil {
		p.problems.addf("%s", p.describe(err))
		return nil, p.problems.err()
	}
	if p.rangesKnown {
		checkRanges(p.tensors, lengthBytes+int64(len(header)), fileSize, p.problems)
	}
	if err := p.problems.err(); err != nil {
		return nil, err
	}
	slices.SortFunc(p.tensors, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	return &Header{Tensors: p.tensors, Metadata: p.metadata}, nil
}

// headerParser reads a header token by token. Its methods return an error
// only when the JSON cannot be read on; what is wrong with one tensor goes to
// problems.
type headerParser struct {
	strictjson.Reader
	problems *FormatError
	tensors  []Tensor
	metadata map[string]string
	shapes   []int64 // free tail of the block that shapes are cut from

	// rangesKnown is false once a byte range is missing or contradicts its
	// shape: holes and overlaps would then be reported for the wrong reason.
	rangesKnown bool
}

func newHeaderParser(header []byte, path string) *headerParser {
	// An entry takes at least 50 bytes; the bound keeps a hostile header
	// from reserving more than its size warrants.
	n := min(bytes.Count(header, []byte(`"data_offsets"`)), len(header)/50+1)
	return &headerParser{
		Reader:      strictjson.NewReader(header, words),
		problems:    &FormatError{Path: path},
		tensors:     make([]Tensor, 0, n),
		rangesKnown: true,
	}
}

// file reads the whole header: one object, then nothing but spaces.
func (p *headerParser) file(header []byte) error {
	if len(header) == 0 || header[0] != '{' {
		return errors.New("the header does not start with '{': this is not a safetensors file")
	}
	if err := p.Object(p.entry); err != nil {
		return err
	}
	rest := header[p.InputOffset():]
	if i := bytes.IndexFunc(rest, func(r rune) bool { return r != ' ' }); i >= 0 {
		return fmt.Errorf("byte %d of the header follows the JSON object and is not a space", len(header)-len(rest)+i)
	}
	return nil
}

// words are the strings that recur in every entry; the reader shares
// them instead of allocating each anew.
var words = func() map[string]string {
	m := map[string]string{"dtype": "dtype", "shape": "shape", "data_offsets": "data_offsets"}
	for d := range dtypes {
		m[string(d)] = string(d)
	}
	return m
}()

// entry reads the value of one key of the header.
func (p *headerParser) entry(key string) error {
	if key == metadataKey {
		return p.readMetadata()
	}
	if got, yes := p.Mismatch(jsontext.KindBeginObject); yes {
		p.rangesKnown = false
		p.problems.addf("tensor %s is %s, expected an object", message.Quote(key), strictjson.KindName(got))
		return p.SkipValue()
	}
	t := tensorParser{headerParser: p, tensor: Tensor{Name: key}}
	if err := p.Object(t.field); err != nil {
		return err
	}
	t.finish()
	return nil
}

// readMetadata takes null for no metadata, as the reference library does.
func (p *headerParser) readMetadata() error {
	if p.PeekKind() == jsontext.KindNull {
		return p.SkipValue()
	}
	if got, yes := p.Mismatch(jsontext.KindBeginObject); yes {
		p.problems.addf("%s is %s, expected an object of strings", metadataKey, strictjson.KindName(got))
		return p.SkipValue()
	}
	p.metadata = map[string]string{}
	return p.Object(func(key string) error {
		if got, yes := p.Mismatch(jsontext.KindString); yes {
			p.problems.addf("%s[%s] is %s, expected a string", metadataKey, message.Quote(key), strictjson.KindName(got))
			return p.SkipValue()
		}
		value, err := p.AnyText()
		p.metadata[key] = value
		return err
	})
}

// describe says where and why the header could not be read on.
func (p *headerParser) describe(err error) string {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return err.Error()
	}
	key := message.Quote(syntax.JSONPointer.LastToken())
	switch parent := syntax.JSONPointer.Parent(); {
	case errors.Is(err, jsontext.ErrDuplicateName) && parent == "":
		return fmt.Sprintf("tensor %s appears twice in the header (byte %d)", key, syntax.ByteOffset)
	case errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Sprintf("%s: key %s appears twice (byte %d of the header)", topKey(parent), key, syntax.ByteOffset)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return "invalid JSON: the header ends inside an object"
	case syntax.JSONPointer != "":
		return fmt.Sprintf("invalid JSON at byte %d of the header, in %s: %v", syntax.ByteOffset, topKey(syntax.JSONPointer), syntax.Err)
	}
	return fmt.Sprintf("invalid JSON at byte %d of the header: %v", syntax.ByteOffset, syntax.Err)
}

// topKey names the entry of the header that p lies in.
func topKey(p jsontext.Pointer) string {
	for key := range p.Tokens() {
		if key == metadataKey {
			return key
		}
		return "tensor " + message.Quote(key)
	}
	return "the header"
}

// shape copies dims to memory that lives as long as the header. Blocks hold
// the shapes of many tensors: one allocation each would be most of the work.
func (p *headerParser) shape(dims []int64) []int64 {
	if len(dims) > len(p.shapes) {
		p.shapes = make([]int64, 4096)
	}
	s := p.shapes[:len(dims):len(dims)]
	p.shapes = p.shapes[len(dims):]
	copy(s, dims)
	return s
}

// parseCount reads a JSON number that must be a whole number from 0 to 2^63-1.
func parseCount(raw []byte) (int64, string) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	switch {
	case err == nil && n >= 0 && raw[0] != '-':
		return n, ""
	case jsontext.Value(raw).Kind() != jsontext.KindNumber:
		return 0, "is not a number"
	case raw[0] == '-':
		return 0, "is negative"
	case errors.Is(err, strconv.ErrRange):
		return 0, "is too large"
	}
	return 0, "is not a whole number"
}
