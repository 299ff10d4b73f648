package bundle

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/strictjson"
)

// encode writes the JSON of a bundle: the same value gives the same bytes.
func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("names and paths in a bundle must be UTF-8: %w", err)
	}
	return append(data, '\n'), nil
}

// decode reads one JSON value strictly into v: names of members match by exact
// case, none is unknown or there twice, nothing follows. Errors are one short line.
func decode(data []byte, v any) error {
	err := json.Unmarshal(data, v, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	return errors.New(explain(err))
}

// explain says where and why JSON could not be read.
func explain(err error) string {
	var meaning *json.SemanticError
	switch {
	case !errors.As(err, &meaning):
		return "found " + strictjson.Describe(err)
	case errors.Is(err, json.ErrUnknownName):
		return place(meaning.JSONPointer) + " is a name that is not known there"
	}
	found := message.Clip(string(meaning.JSONValue))
	if found == "" {
		found = strictjson.KindName(meaning.JSONKind)
	}
	return fmt.Sprintf("%s: found %s, expected %s", place(meaning.JSONPointer), found, expected(meaning))
}

// expected names what a place of the document is for.
func expected(e *json.SemanticError) string {
	if e.GoType == nil {
		return "something else"
	}
	switch kind := e.GoType.Kind().String(); {
	case strings.HasPrefix(kind, "int"):
		return "a whole number"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	case kind == "struct" || kind == "map":
		return "an object"
	case kind == "slice" || kind == "array":
		return "a list"
	case kind == "bool":
		return "true or false"
	case kind == "ptr":
		return "a " + e.GoType.Elem().Kind().String()
	default:
		return "a " + kind
	}
}

// place prints a JSON pointer for people, shortened.
func place(p jsontext.Pointer) string {
	if p == "" {
		return "the document"
	}
	return message.Line(string(p), 80)
}

// sealFormat is the end of a sealed document, sealed finds it, and sealBytes is its
// length.
const sealFormat = `,"sha256":"%s"}` + "\n"

var sealed = regexp.MustCompile(`^,"sha256":"([0-9a-f]{64})"}\n$`)

const sealBytes = len(sealFormat) - len("%s") + 2*sha256.Size

// seal encodes an object and ends it with a last member, "sha256": the hex SHA-256
// of all bytes of the file before the comma that precedes the member's name.
func seal(v any) (data []byte, sum string, err error) {
	if data, err = encode(v); err != nil {
		return nil, "", err
	}
	data = bytes.TrimSuffix(data, []byte("}\n"))
	sum = digest(data)
	return fmt.Appendf(data, sealFormat, sum), sum, nil
}

// unseal refuses a document whose bytes are not those that were sealed, and returns
// the seal.
func unseal(data []byte) (string, error) {
	m := sealed.FindSubmatch(data[max(0, len(data)-sealBytes):])
	if m == nil {
		return "", errors.New("it does not end with the SHA-256 of its bytes, so it is cut off or edited")
	}
	if found := digest(data[:len(data)-sealBytes]); found != string(m[1]) {
		return "", fmt.Errorf("its bytes have the SHA-256 %s..., its last member says %s..., so it is damaged or edited", found[:12], m[1][:12])
	}
	return string(m[1]), nil
}

// difference says where two JSON documents differ first.
func difference(found, want []byte) string {
	a, b := jsontext.NewDecoder(bytes.NewReader(found)), jsontext.NewDecoder(bytes.NewReader(want))
	for {
		x, errA := a.ReadToken()
		y, errB := b.ReadToken()
		if errA != nil || errB != nil {
			return "they differ in their spelling"
		}
		if x.Kind() != y.Kind() || x.String() != y.String() {
			return fmt.Sprintf("%s is %s, expected %s", place(b.StackPointer()), message.Clip(x.String()), message.Clip(y.String()))
		}
	}
}
