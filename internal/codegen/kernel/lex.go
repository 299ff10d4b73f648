package kernel

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/message"
)

// Limits of a kernel's text.
const (
	maxText  = 8 << 20
	maxDepth = 200

	maxMessage = 400 // bytes of an error; a word of the text may have millions
)

// Error says what is wrong with a kernel's text, and where.
type Error struct {
	Line, Column int
	Message      string
}

func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }

// lexer cuts the text into tokens: names (also %lane, %step.T), numbers,
// quoted strings, line ends, and marks.
type lexer struct {
	src  string
	at   int // of the token
	next int // behind it
	tok  string
}

func isWord(c byte) bool {
	return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// advance moves to the next token; the empty token is the end.
func (l *lexer) advance() error {
	for l.next < len(l.src) && (l.src[l.next] == ' ' || l.src[l.next] == '\t' || l.src[l.next] == '\r') {
		l.next++
	}
	l.at = l.next
	if l.at >= len(l.src) {
		l.tok = ""
		return nil
	}
	end, err := l.end()
	if err != nil {
		return err
	}
	l.tok, l.next = l.src[l.at:end], end
	return nil
}

// end finds where the token at l.at ends.
func (l *lexer) end() (int, error) {
	c := l.src[l.at]
	switch {
	case c == '"':
		for i := l.at + 1; i < len(l.src) && l.src[i] != '\n'; i++ {
			switch l.src[i] {
			case '\\':
				i++
			case '"':
				return i + 1, nil
			}
		}
		return 0, l.errorf("a string does not end on its line")
	case isWord(c), c == '%' && l.at+1 < len(l.src) && isWord(l.src[l.at+1]), l.negative():
		i := l.at + 1
		for i < len(l.src) && (isWord(l.src[i]) || (l.src[i] == '-' || l.src[i] == '+') && l.inExponent(i)) {
			i++
		}
		return i, nil
	}
	for _, mark := range []string{"<<", ">>", "<=", ">=", "==", "!=", "+="} {
		if strings.HasPrefix(l.src[l.at:], mark) {
			return l.at + 2, nil
		}
	}
	if strings.IndexByte("\n{}()[]=<>+-*/%&|^,", c) >= 0 {
		return l.at + 1, nil
	}
	return 0, l.errorf("unexpected character %q", c)
}

// negative reports whether a minus begins a number: one stands right behind it.
func (l *lexer) negative() bool {
	rest := l.src[l.at:]
	return len(rest) > 1 && rest[0] == '-' && (rest[1] >= '0' && rest[1] <= '9' || strings.HasPrefix(rest, "-inf"))
}

// inExponent reports whether the sign at i belongs to a number such as 1e-06.
func (l *lexer) inExponent(i int) bool {
	first := l.src[l.at]
	return (first >= '0' && first <= '9' || first == '-') && l.src[i-1] == 'e'
}

func (l *lexer) errorf(format string, args ...any) error {
	line := 1 + strings.Count(l.src[:l.at], "\n")
	column := l.at - strings.LastIndexByte(l.src[:l.at], '\n')
	return &Error{line, column, message.Line(fmt.Sprintf(format, args...), maxMessage)}
}
