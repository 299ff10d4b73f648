package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/strictjson"
)

// Limits of what is read of a request.
const (
	maxDepth    = 512
	maxParts    = 1 << 20         // tokens of JSON but for numbers: each may cost far more than its bytes
	bodyTimeout = 5 * time.Minute // for all of a body
)

// read reads the whole body. Only then does the request's context end when the client
// leaves.
func (c *Call) read() ([]byte, error) {
	if e := c.r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, &Error{Status: http.StatusUnsupportedMediaType, Message: fmt.Sprintf("found Content-Encoding %.40q; send the body as it is", e)}
	}
	limit := c.Options.MaxBody
	large := &Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body has more than %d bytes, which is the limit", limit)}
	if c.r.ContentLength > limit {
		return nil, large
	}
	// Writers that cannot set deadlines are those of tests.
	c.control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer c.control.SetReadDeadline(time.Time{})
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, large
	case err != nil:
		return nil, &Error{Status: http.StatusBadRequest, Message: "the body did not arrive whole", Cause: err}
	}
	return body, nil
}

// Decode reads the body, one JSON object. Unknown fields are passed over, known ones of
// another type are errors that name them.
func (c *Call) Decode(into any) error {
	body, err := c.read()
	if err != nil {
		return err
	}
	return Decode(body, into)
}

// Decode is Call.Decode for a body that has been read.
func Decode(body []byte, into any) error {
	body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	if err := checkForm(body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, into, reading); err != nil {
		return decodeError("", err)
	}
	return nil
}

// DecodeValue is Decode for a value that has been read with a body, of the field that is
// named.
func DecodeValue(field string, value jsontext.Value, into any) error {
	if err := json.Unmarshal(value, into, reading); err != nil {
		return decodeError(field, err)
	}
	return nil
}

// reading takes what clients send: a name that comes twice counts the last time, and
// halves of surrogate pairs become U+FFFD.
var reading = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// checkForm refuses a body that would take far more memory than it has bytes.
func checkForm(body []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(body), reading)
	for parts := 0; ; {
		token, err := d.ReadToken()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return decodeError("", err)
		}
		if token.Kind() != jsontext.KindNumber {
			parts++
		}
		switch {
		case d.StackDepth() > maxDepth:
			return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("the body, byte %d: found lists and objects more than %d deep, which is the limit", d.InputOffset(), maxDepth)}
		case parts > maxParts:
			return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("the body, byte %d: found more than %d names, texts, lists and objects, which is the limit", d.InputOffset(), maxParts)}
		}
	}
}

// decodeError says where a body, or the value of one of its fields, is not what was
// expected.
func decodeError(field string, err error) error {
	var own *Error
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.As(err, &own):
		if errors.As(err, &semantic) && own.Param == "" {
			own.Param = within(field, semantic.JSONPointer)
			own.Message = own.Param + ": " + own.Message
		}
		return own
	case errors.As(err, &semantic):
		return semanticError(field, semantic)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Status: http.StatusBadRequest, Message: "the body is empty or cut off; expected one JSON object"}
	case errors.As(err, &syntax):
		return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("the body, byte %d: expected one JSON object: %v", syntax.ByteOffset, syntax.Err)}
	}
	return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("the body: %v", err)}
}

func semanticError(field string, e *json.SemanticError) *Error {
	found := strictjson.KindName(e.JSONKind)
	if e.JSONKind == jsontext.KindNumber && len(e.JSONValue) > 0 {
		found = fmt.Sprintf("%.40s", e.JSONValue)
	}
	param := within(field, e.JSONPointer)
	text := fmt.Sprintf("found %s, expected %s", found, typeWord(e.GoType))
	if param == "" {
		return &Error{Status: http.StatusBadRequest, Message: "the body: " + text}
	}
	return Invalid(param, "%s", text)
}

// within is a JSON pointer in a field as people write paths: messages[0].content.
func within(field string, p jsontext.Pointer) string {
	var b strings.Builder
	b.WriteString(field)
	for token := range p.Tokens() {
		switch _, err := strconv.Atoi(token); {
		case err == nil && b.Len() > 0:
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
	}
	return strings.ToValidUTF8(fmt.Sprintf("%.200s", b.String()), "")
}

func typeWord(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "another type"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint64:
		return "a whole number in range"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}
