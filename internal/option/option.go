// Package option has the errors about options. A program knows an option by its
// Go field, the command line by its flag; one error serves both.
package option

import (
	"errors"
	"fmt"
	"strings"
)

// Name is an option: the Go name of its field, such as "TopP".
type Name string

// Speller is an error that names options.
type Speller interface {
	error
	// Spell is Error with every option's name replaced.
	Spell(name func(Name) string) string
}

// Error is an error about options, as Errorf makes it.
type Error struct {
	format string
	args   []any
	plain  error
}

// Errorf is fmt.Errorf. Arguments of type Name are options; the format prints
// them with %s.
func Errorf(format string, args ...any) error {
	return &Error{format, args, fmt.Errorf(format, args...)}
}

// Error is the text with options by their Go names.
func (e *Error) Error() string { return e.plain.Error() }

// Unwrap leads to the errors that the format wraps.
func (e *Error) Unwrap() error { return e.plain }

// Names are the options that the error is about, in the order of its text.
func (e *Error) Names() []string {
	var names []string
	for _, x := range e.args {
		if n, ok := x.(Name); ok {
			names = append(names, string(n))
		}
	}
	return names
}

// Spell is Error with every option's name replaced.
func (e *Error) Spell(name func(Name) string) string {
	args := make([]any, len(e.args))
	for i, x := range e.args {
		switch x := x.(type) {
		case Name:
			args[i] = name(x)
		case error:
			args[i] = errors.New(Text(x, name))
		default:
			args[i] = x
		}
	}
	return fmt.Errorf(e.format, args...).Error()
}

// Text is an error's text with every option's name replaced, also those of the
// errors it wraps.
func Text(err error, name func(Name) string) string {
	if s, ok := err.(Speller); ok {
		return s.Spell(name)
	}
	var inner []error
	switch x := err.(type) {
	case interface{ Unwrap() error }:
		inner = []error{x.Unwrap()}
	case interface{ Unwrap() []error }:
		inner = x.Unwrap()
	}
	text := err.Error()
	for _, e := range inner {
		if e != nil {
			text = strings.Replace(text, e.Error(), Text(e, name), 1)
		}
	}
	return text
}
