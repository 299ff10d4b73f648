// Package message shows text from outside in error messages: quoted, so that
// control characters do no harm, and shortened, for a tensor's name may be as
// long as a file.
package message

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/exp/constraints"
)

// Quote quotes s and shows at most its first 200 bytes, fewer where quoting makes
// them more than twice as long.
func Quote(s string) string {
	const limit = 200
	cut := prefix(s, limit)
	quoted := strconv.Quote(cut)
	for len(quoted) > 2*limit+2 {
		cut = prefix(cut, len(cut)/2)
		quoted = strconv.Quote(cut)
	}
	if len(cut) == len(s) {
		return quoted
	}
	return fmt.Sprintf("%s... (%d bytes)", quoted, len(s))
}

// Clip shows at most the first 60 bytes of a text or JSON value as they are
// written, on one line.
func Clip(value string) string {
	const limit = 60
	if len(value) <= limit {
		return onOneLine(value)
	}
	return onOneLine(prefix(value, limit)) + "..."
}

// Line shows at most the first limit bytes of a text on one line.
func Line(s string, limit int) string {
	if len(s) <= limit {
		return onOneLine(s)
	}
	return onOneLine(prefix(s, limit)) + "..."
}

// prefix is at most the first n bytes of s, and no part of a character.
func prefix(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// onOneLine has spaces for line ends and other control characters.
func onOneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// Count is "1 tensor" or "3 tensors".
func Count[N constraints.Signed](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Ranges is ascending numbers in words: "0 to 2, 5".
func Ranges(numbers []int) string {
	var parts []string
	for len(numbers) > 0 {
		n := 1
		for n < len(numbers) && numbers[n] == numbers[0]+n {
			n++
		}
		part := strconv.Itoa(numbers[0])
		if n > 1 {
			part += " to " + strconv.Itoa(numbers[n-1])
		}
		parts, numbers = append(parts, part), numbers[n:]
	}
	return strings.Join(parts, ", ")
}

// List joins at most the first 20 of names, each clipped, and counts the rest.
func List(names []string) string {
	const most = 20
	var shown []string
	for _, n := range names[:min(len(names), most)] {
		shown = append(shown, Clip(n))
	}
	if len(names) > most {
		shown = append(shown, fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(shown, ", ")
}
