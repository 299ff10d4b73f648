package dialog

import (
	"errors"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema is a client's schema, compared with answers in no more than maxSteps: references
// may have a short schema look at the same value exponentially often.
type schema struct {
	compiled *jsonschema.Schema
	left     int // steps of the comparison that goes on
}

// maxSteps is the limit of a comparison: a second at most, and some 100 MB of errors. A
// step is a part of the schema for a part of the answer.
const maxSteps = 1 << 20

var errSteps = fmt.Errorf("not checked: more than %d steps to compare", maxSteps)

// errDynamic refuses what refers to schemas that depend on the way there.
var errDynamic = errors.New("not checked: $dynamicRef and $recursiveRef")

// newSchema has each schema that can be reached count its visits. Its format is what the
// validator looks at before it goes on to others.
func newSchema(compiled *jsonschema.Schema) (*schema, error) {
	s := &schema{compiled: compiled}
	seen := map[*jsonschema.Schema]bool{compiled: true}
	for queue := []*jsonschema.Schema{compiled}; len(queue) > 0; queue = queue[1:] {
		next := queue[0]
		if next.DynamicRef != nil || next.RecursiveRef != nil {
			return nil, errDynamic
		}
		once, each := parts(next)
		for _, p := range append(once, each...) {
			if !seen[p] {
				seen[p] = true
				queue = append(queue, p)
			}
		}
		s.count(next, total(once), total(each))
	}
	return s, nil
}

// count has a schema count a visit: its parts, some once and some for each child of the
// value.
func (s *schema) count(at *jsonschema.Schema, once, each int) {
	own := jsonschema.Format{}
	if at.Format != nil {
		own = *at.Format
	}
	at.Format = &jsonschema.Format{Name: own.Name, Validate: func(v any) error {
		steps := 1 + once
		switch v := v.(type) {
		case map[string]any:
			steps += each * len(v)
		case []any:
			steps += each * len(v)
		case string:
			steps += len(v) / 64
		}
		// Where none are left every schema fails at once, and the comparison ends.
		if s.left -= steps; s.left < 0 {
			s.left = -1
			return errSteps
		}
		if own.Validate == nil {
			return nil
		}
		return own.Validate(v)
	}}
}

// validate compares a value.
func (s *schema) validate(v any) error {
	s.left = maxSteps
	err := s.compiled.Validate(v)
	if s.left < 0 {
		return errSteps
	}
	return err
}

// total is the cost of looking at schemas that fail at once.
func total(list []*jsonschema.Schema) (steps int) {
	for _, s := range list {
		steps += 1 + len(s.Required)
		if s.Enum != nil {
			steps += size(s.Enum.Values)
		}
		if s.Const != nil {
			steps += size(*s.Const)
		}
	}
	return steps
}

// size counts the parts of a value.
func size(v any) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			n += size(x)
		}
	case []any:
		for _, x := range v {
			n += size(x)
		}
	}
	return n
}

// parts are the schemas that a schema has a value, or some one child of it, compared with,
// and those that it has every child compared with.
func parts(s *jsonschema.Schema) (once, each []*jsonschema.Schema) {
	add := func(to *[]*jsonschema.Schema, list ...*jsonschema.Schema) {
		for _, p := range list {
			if p != nil {
				*to = append(*to, p)
			}
		}
	}
	add(&once, s.Ref, s.Not, s.If, s.Then, s.Else, s.ContentSchema)
	for _, list := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf, s.PrefixItems} {
		add(&once, list...)
	}
	for _, named := range []map[string]*jsonschema.Schema{s.Properties, s.DependentSchemas} {
		for _, p := range named {
			add(&once, p)
		}
	}
	for _, d := range s.Dependencies {
		if p, ok := d.(*jsonschema.Schema); ok {
			add(&once, p)
		}
	}
	add(&each, s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems)
	for _, p := range s.PatternProperties {
		add(&each, p)
	}
	for _, some := range []any{s.AdditionalProperties, s.AdditionalItems, s.Items} {
		switch p := some.(type) {
		case *jsonschema.Schema:
			add(&each, p)
		case []*jsonschema.Schema:
			add(&once, p...)
		}
	}
	return once, each
}

// brief is an error without all but the first cause of each: there may be a million.
func brief(err error) error {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return err
	}
	short := *v
	for at := &short; len(at.Causes) > 0; at = at.Causes[0] {
		first := *at.Causes[0]
		at.Causes = []*jsonschema.ValidationError{&first}
	}
	return &short
}
