package models

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/internal/strictjson"
	"smelt.example/smelt/models/checkpoint"
)

// An UnknownError says that a config.json names no architecture that smelt knows.
type UnknownError struct {
	File  string              // config.json with its folder
	Found string              // what names the architecture there, in words
	Known []arch.Architecture // that it could have named
}

func (e *UnknownError) Error() string {
	var known []string
	for _, a := range e.Known {
		known = append(known, fmt.Sprintf("%s (model_type %s, architectures %s)", a.Name, orList(a.ModelTypes), orList(a.Classes)))
	}
	return fmt.Sprintf("%s: found %s, expected an architecture that smelt knows: %s; give a checkpoint of one of them, or correct the file",
		e.File, e.Found, strings.Join(known, ", "))
}

// orList quotes names, with "or" between them.
func orList(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = message.Quote(n)
	}
	return strings.Join(quoted, " or ")
}

// choose finds the architecture that a checkpoint's configuration names by
// model_type or, for want of a known one, by architectures. Whether the two agree
// is for the architecture to judge.
func choose(ck *checkpoint.Checkpoint, known []arch.Architecture) (arch.Architecture, error) {
	file := filepath.Join(ck.Dir, "config.json")
	var findings strictjson.Findings
	top := strictjson.ParseObject(ck.ConfigJSON(), &findings)
	if top == nil {
		return arch.Architecture{}, fmt.Errorf("%s: %s; correct the file or fetch it again", file, strings.Join(findings.List(), "; "))
	}
	modelType, hasType := top.Get("model_type")
	classes, hasClasses := top.Get("architectures")
	for _, name := range words(modelType) {
		if i := slices.IndexFunc(known, func(a arch.Architecture) bool { return slices.Contains(a.ModelTypes, name) }); i >= 0 {
			return known[i], nil
		}
	}
	for _, name := range words(classes) {
		if i := slices.IndexFunc(known, func(a arch.Architecture) bool { return slices.Contains(a.Classes, name) }); i >= 0 {
			return known[i], nil
		}
	}
	found := findings.List() // a key that stands twice
	if hasType {
		found = append(found, "model_type "+strictjson.Show(modelType))
	}
	if hasClasses {
		found = append(found, "architectures "+strictjson.Show(classes))
	}
	if found == nil {
		found = []string{"neither model_type nor architectures"}
	}
	return arch.Architecture{}, &UnknownError{File: file, Found: strings.Join(found, " and "), Known: known}
}

// words are the strings of a JSON value that is one or a list of some.
func words(v jsontext.Value) []string {
	var one string
	if json.Unmarshal(v, &one) == nil {
		return []string{one}
	}
	var list []string
	if json.Unmarshal(v, &list) == nil {
		return list
	}
	return nil
}
