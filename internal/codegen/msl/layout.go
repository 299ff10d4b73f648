package msl

import "strings"

const (
	lineWidth    = 110
	indentWidth  = 4
	continuation = 2 * indentWidth
)

// brk marks, in the text of a statement, a space where the line may end. A
// statement that fits on a line shows it as a space.
const brk = "\t"

// lines lays a statement out. A long one is broken where brackets nest least,
// not before 60% of the width unless it must be.
func lines(indent int, s string) []string {
	var out []string
	margin, depth := indent*indentWidth, 0
	for margin+len(s) > lineWidth {
		at := breakOf(s, lineWidth-margin, depth)
		if at < 0 {
			break
		}
		out = append(out, spaces(margin)+strings.ReplaceAll(s[:at], brk, " "))
		depth += nesting(s[:at])
		s = s[at+1:]
		margin = indent*indentWidth + continuation
	}
	return append(out, spaces(margin)+strings.ReplaceAll(s, brk, " "))
}

// breakOf chooses the break of s, -1 if it has none.
func breakOf(s string, width, depth int) int {
	best, bestDepth := -1, 0
	for i := range len(s) {
		switch s[i] {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case brk[0]:
			if best >= 0 && i > width {
				return best
			}
			if best < width*6/10 || depth <= bestDepth {
				best, bestDepth = i, depth
			}
		}
	}
	return best
}

// nesting is how many more brackets s opens than it closes.
func nesting(s string) int {
	n := 0
	for _, c := range s {
		switch c {
		case '(', '[':
			n++
		case ')', ']':
			n--
		}
	}
	return n
}

// remark lays out a comment; what does not fit goes on, indented further.
func remark(indent int, text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		lead := spaces(indent*indentWidth) + "// "
		words := strings.Split(strings.TrimRight(line, " "), " ")
		own := 0 // the line's own indentation
		for own < len(words)-1 && words[own] == "" {
			own++
		}
		at := lead + spaces(own)
		for i, w := range words[own:] {
			if i > 0 && len(at)+1+len(w) > lineWidth {
				out = append(out, at)
				at = lead + spaces(own+indentWidth) + w
				continue
			}
			if i > 0 {
				at += " "
			}
			at += w
		}
		out = append(out, strings.TrimRight(at, " "))
	}
	return out
}

func spaces(n int) string { return strings.Repeat(" ", n) }
