package text

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/participle/v2"
	"github.com/alecthomas/participle/v2/lexer"
)

// syntaxError says what the grammar expected and what the text has instead.
// begun tells whether the module's name was read.
func syntaxError(file, src string, begun bool, err error) error {
	var (
		bad participle.Error
		lex *lexer.Error
	)
	if !errors.As(err, &bad) {
		return &Error{file, 1, 1, err.Error()}
	}
	at := bad.Position()
	out := &Error{File: file, Line: at.Line, Column: at.Column}
	var token *participle.UnexpectedTokenError
	switch {
	case errors.As(err, &lex):
		out.Message = badCharacter(src[at.Offset:])
	case errors.As(err, &token):
		out.Message = "expected " + expectation(token.Message(), begun) + ", found " + found(token.Unexpected)
	default:
		out.Message = bad.Message()
	}
	return out
}

func badCharacter(rest string) string {
	if rest[0] == '"' {
		return "the string does not end on its line"
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return fmt.Sprintf("unexpected character %q", r)
}

func found(t lexer.Token) string {
	const longest = 40
	switch {
	case t.EOF():
		return "the end of the text"
	case len(t.Value) > longest:
		return fmt.Sprintf("%q...", t.Value[:longest])
	}
	return fmt.Sprintf("%q", t.Value)
}

// items says in words what a grammar item stands for.
var items = map[string]string{
	"<global>": "a name like @layers.0.w",
	"<ident>":  "a word",
	"<int>":    "a number",
	"<value>":  "a value like %x",
	"RefAST":   "a value like %x",
	"TypeAST":  "a type like tensor<T x 128 x f32>",
	"ExprAST":  "an integer expression",
	"TermAST":  "an integer expression",
	"ValueAST": "a value of the attribute",
	"FieldAST": "an attribute like axis = 1",
	`"return"`: "a statement (in this order: symbol, input, param, state, %value = operation or region, return)",
}

// expectation finds the first grammar item that a message of the parser
// expects: unexpected token "x" (expected ":" TypeAST).
func expectation(message string, begun bool) string {
	const expected = "(expected "
	at := strings.LastIndex(message, expected)
	switch {
	case at < 0 && begun:
		return "the end of the text"
	case at < 0:
		return "module @name"
	}
	first, _, _ := strings.Cut(strings.TrimSuffix(message[at+len(expected):], ")"), " ")
	if words, known := items[first]; known {
		return words
	}
	return first
}

// checkDepth bounds the parser's recursion: it counts open brackets outside
// comments and strings.
func checkDepth(file, src string) error {
	depth, line, start := 0, 1, 0
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case '\n':
			line, start = line+1, i+1
		case '#':
			for i+1 < len(src) && src[i+1] != '\n' {
				i++
			}
		case '"':
			i = stringEnd(src, i)
		case '(', '[', '{', '<':
			if depth++; depth > maxDepth {
				return &Error{file, line, i - start + 1, fmt.Sprintf("more than %d brackets are open", maxDepth)}
			}
		case ')', ']', '}', '>':
			depth = max(depth-1, 0)
		}
	}
	return nil
}

// stringEnd is the index of the quote that ends the string which begins at i,
// or i if the string does not end on its line.
func stringEnd(src string, i int) int {
	for j := i + 1; j < len(src) && src[j] != '\n'; j++ {
		switch src[j] {
		case '\\':
			j++
		case '"':
			return j
		}
	}
	return i
}
