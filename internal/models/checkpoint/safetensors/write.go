package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/output"
)

// An Out is a tensor to be written. Its data comes from Data or, when Stream
// is set, from Stream, which must write exactly as many bytes as shape and
// type say: for tensors too large to hold at once.
type Out struct {
	Name   string
	DType  DType
	Shape  []int64
	Data   []byte
	Stream func(io.Writer) error
}

// Write writes a file, as Encode does. It appears under path complete or not at all;
// one that was there before is replaced.
func Write(path string, tensors []Out, metadata map[string]string) error {
	err := output.Replace(path, func(w io.Writer) error { return Encode(w, path, tensors, metadata) })
	var format *FormatError
	if err != nil && !errors.As(err, &format) { // which names the path
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return err
}

// Encode writes what a file holds the way the reference implementation does: widest
// elements first and then by name, the header padded with spaces to eight bytes, so
// that every tensor is aligned to its elements. Nothing is written of tensors that
// are not in order. Errors name the tensor at fault, and the file as path.
func Encode(w io.Writer, path string, tensors []Out, metadata map[string]string) error {
	l, err := layOut(path, ordered(tensors), metadata)
	if err != nil {
		return err
	}
	if err := l.checkData(path); err != nil {
		return err
	}
	if _, err := w.Write(l.header); err != nil {
		return err
	}
	for i, t := range l.tensors {
		if err := t.writeTo(w, l.sizes[i]); err != nil {
			return fmt.Errorf("tensor %s: %w", message.Quote(t.Name), err)
		}
	}
	return nil
}

// A layout is a file before its data: its tensors in order, the bytes of each,
// and the header with its length in front.
type layout struct {
	tensors []Out
	sizes   []int64
	header  []byte
}

// inOrder is the order in which files are written: the largest types first, so that each
// tensor lies aligned, then by name.
func inOrder(aType DType, aName string, bType DType, bName string) int {
	return cmp.Or(cmp.Compare(sizeOf(bType), sizeOf(aType)), cmp.Compare(aName, bName))
}

// ordered is tensors in that order.
func ordered(tensors []Out) []Out {
	return slices.SortedStableFunc(slices.Values(tensors), func(a, b Out) int { return inOrder(a.DType, a.Name, b.DType, b.Name) })
}

// layOut checks what the header says of tensors, which lie in this order, and builds it.
func layOut(path string, tensors []Out, metadata map[string]string) (*layout, error) {
	l := &layout{tensors: tensors}
	var err error
	if l.sizes, err = checkOuts(path, l.tensors); err != nil {
		return nil, err
	}
	l.header, err = buildHeader(path, l.tensors, l.sizes, metadata)
	return l, err
}

// checkData requires Data to have as many bytes as shapes and types say.
func (l *layout) checkData(path string) error {
	problems := &FormatError{Path: path, Advice: "nothing was written"}
	for i, t := range l.tensors {
		if t.Stream == nil && int64(len(t.Data)) != l.sizes[i] {
			problems.addf("tensor %s: %s%v takes %d bytes, its data has %d", message.Quote(t.Name), t.DType, t.Shape, l.sizes[i], len(t.Data))
		}
	}
	return problems.err()
}

// checkOuts returns the number of bytes of each tensor.
func checkOuts(path string, tensors []Out) ([]int64, error) {
	problems := &FormatError{Path: path, Advice: "nothing was written"}
	sizes := make([]int64, len(tensors))
	seen := map[string]bool{}
	for i, t := range tensors {
		name := message.Quote(t.Name)
		size, fits := byteCount(t.Shape, sizeOf(t.DType))
		complaint := checkDType(t.DType)
		switch {
		case t.Name == metadataKey || !utf8.ValidString(t.Name) || len(t.Name) > MaxNameBytes:
			problems.addf("tensor %s: a name is UTF-8, at most %d bytes and not %s", name, MaxNameBytes, metadataKey)
		case seen[t.Name]:
			problems.addf("tensor %s is given twice", name)
		case complaint != "":
			problems.addf("tensor %s: %s", name, complaint)
		case len(t.Shape) > MaxDims:
			problems.addf("tensor %s: %d dimensions, at most %d are supported", name, len(t.Shape), MaxDims)
		case !fits:
			problems.addf("tensor %s: shape %v is negative or too large", name, t.Shape)
		}
		seen[t.Name], sizes[i] = true, size
	}
	return sizes, problems.err()
}

// buildHeader returns the length and the padded JSON.
func buildHeader(path string, tensors []Out, sizes []int64, metadata map[string]string) ([]byte, error) {
	b := append(make([]byte, lengthBytes), '{')
	if len(metadata) > 0 {
		b = append(b, `"`+metadataKey+`":{`...)
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			if i > 0 {
				b = append(b, ',')
			}
			if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
				return nil, formatErrorf(path, "metadata %s is not UTF-8", message.Quote(key))
			}
			b = appendQuote(b, key)
			b = append(b, ':')
			b = appendQuote(b, metadata[key])
		}
		b = append(b, '}')
	}
	var offset int64
	for i, t := range tensors {
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		end := offset + sizes[i]
		if end < offset {
			return nil, formatErrorf(path, "tensor %s: the file would pass 2^63-1 bytes", message.Quote(t.Name))
		}
		b = t.appendEntry(b, offset, end)
		offset = end
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	n := len(b) - lengthBytes
	if n > MaxHeaderBytes {
		return nil, formatErrorf(path, "the header would have %d bytes, the format allows %d", n, MaxHeaderBytes)
	}
	binary.LittleEndian.PutUint64(b, uint64(n))
	return b, nil
}

func (t Out) appendEntry(b []byte, begin, end int64) []byte {
	b = appendQuote(b, t.Name)
	b = append(b, `:{"dtype":"`...)
	b = append(b, t.DType...)
	b = append(b, `","shape":`...)
	b = appendNumbers(b, t.Shape)
	b = append(b, `,"data_offsets":`...)
	b = appendNumbers(b, []int64{begin, end})
	return append(b, '}')
}

// appendQuote appends s, which is valid UTF-8 (the only error there is).
func appendQuote(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

func appendNumbers(b []byte, numbers []int64) []byte {
	b = append(b, '[')
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return append(b, ']')
}

func (t Out) writeTo(w io.Writer, size int64) error {
	if t.Stream == nil {
		_, err := w.Write(t.Data)
		return err
	}
	c := &countingWriter{w: w, left: size}
	if err := t.Stream(c); err != nil {
		return err
	}
	if c.left != 0 {
		return fmt.Errorf("the stream ended after %d of %d bytes", size-c.left, size)
	}
	return nil
}

// countingWriter refuses to pass on more than left bytes.
type countingWriter struct {
	w    io.Writer
	left int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		return 0, fmt.Errorf("the stream has more bytes than shape and dtype say (%d too many)", int64(len(p))-c.left)
	}
	n, err := c.w.Write(p)
	c.left -= int64(n)
	return n, err
}
