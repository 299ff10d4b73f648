package tokenizer

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/strictjson"
)

// refusal is an error whose text needs no further context.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

func refuse(format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...)}
}

// explain rewords an error of the JSON package in terms of the file, for the part named
// where ("" is the whole). The result is short whatever the file holds.
func explain(where string, err error) error {
	var refused *refusal
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return refuse("%s has the member %s twice", place(where, syntax.JSONPointer.Parent()), message.Quote(syntax.JSONPointer.LastToken()))
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return refuse("found %s; download it again", strictjson.Describe(err))
	case errors.As(err, &semantic) && errors.Is(err, json.ErrUnknownName):
		return refuse("%s has a member %s, which is not supported", place(where, semantic.JSONPointer.Parent()), message.Quote(semantic.JSONPointer.LastToken()))
	case errors.As(err, &semantic):
		found := "a JSON " + kindName(semantic.JSONKind)
		if len(semantic.JSONValue) > 0 {
			found = strictjson.Show(semantic.JSONValue)
		}
		return refuse("%s: found %s, expected %s; download the file again or correct it", place(where, semantic.JSONPointer), found, expected(semantic.GoType))
	}
	return refuse("%s: %s", place(where, ""), message.Line(err.Error(), 200))
}

// place names a value below a part of the file: added_tokens[0].id.
func place(where string, p jsontext.Pointer) string {
	for token := range p.Tokens() {
		if _, err := strconv.Atoi(token); err == nil {
			where += "[" + token + "]"
			continue
		}
		if where != "" {
			where += "."
		}
		where += token
	}
	if where == "" {
		return "the file"
	}
	return message.Clip(where)
}

// expected names the JSON that a Go type is read from.
func expected(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int32:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}
