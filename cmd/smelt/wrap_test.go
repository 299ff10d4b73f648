package main

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// screenOf is what a terminal shows of a text, line by line: of its controls it knows those
// that wrapper writes.
func screenOf(t *testing.T, text string, width int) (lines []string) {
	t.Helper()
	line, at := []rune{}, 0
	for runes := []rune(text); len(runes) > 0; {
		c := runes[0]
		runes = runes[1:]
		switch {
		case c == '\n':
			lines, line, at = append(lines, string(line)), nil, 0
		case c == 0x1b:
			sequence, rest, _ := strings.Cut(string(runes), "K")
			if left, after, ok := strings.Cut(string(runes), "D"); ok && len(left) < len(sequence) {
				sequence, rest = left+"D", after
			}
			switch n, err := strconv.Atoi(strings.Trim(sequence, "[D")); {
			case sequence == "[":
				line = line[:at]
			case err == nil && n <= at:
				at -= n
			default:
				t.Fatalf("the terminal is told %q at column %d", sequence, at)
			}
			runes = []rune(rest)
		default:
			if at == width {
				lines, line, at = append(lines, string(line)), nil, 0
			}
			line = append(line[:at], c)
			at++
		}
	}
	return append(lines, string(line))
}

// TestWrap: however a text is cut into pieces, lines break between words, only where the next
// word has no room, and nothing else changes.
func TestWrap(t *testing.T) {
	words := []string{"a", "of", "the", "wind", "harbour", "extraordinarily", "naïve", "“so”", "semi-detached"}
	for range 300 {
		width := 20 + rand.IntN(40)
		var text strings.Builder
		for range rand.IntN(120) {
			text.WriteString(words[rand.IntN(len(words))])
			text.WriteString([]string{" ", " ", " ", " ", "\n", "\n\n"}[rand.IntN(6)])
		}
		w, written := wrapper{width: width}, ""
		for rest := text.String(); rest != ""; {
			n := 1 + rand.IntN(len(rest))
			piece := strings.ToValidUTF8(rest[:n], "")
			if len(piece) != n {
				continue
			}
			written, rest = written+w.wrap(piece), rest[n:]
		}
		var want []string
		for _, line := range strings.Split(text.String(), "\n") {
			want = append(want, fill(line, width-1)...)
		}
		got := screenOf(t, written, width)
		for i := range got {
			got[i] = strings.TrimRight(got[i], " ")
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("width %d:\n%s\nwant\n%s", width, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// fill breaks a line into lines of at most some letters.
func fill(text string, most int) (lines []string) {
	line := ""
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line = word
		case len([]rune(line))+1+len([]rune(word)) > most:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// TestWrapLeaves: code, letters of another width, words without end and text for no terminal
// are written as they are.
func TestWrapLeaves(t *testing.T) {
	long := strings.Repeat("word ", 30)
	for name, text := range map[string]string{
		"code": "```go\n" + long + "\n```\n", "wide letters": "潮 " + long, "no blanks": strings.Repeat("x", 100) + " " + long,
	} {
		if w := (wrapper{width: 40}); w.wrap(text) != text {
			t.Errorf("%s: %q", name, (&wrapper{width: 40}).wrap(text))
		}
	}
	if w := (wrapper{}); w.wrap(long) != long {
		t.Error("no terminal: lines are broken")
	}
	after := "```\ncode\n```\n" + long
	if w := (wrapper{width: 40}); !strings.Contains(w.wrap(after), "\x1b[K\n") {
		t.Error("text behind code is not broken")
	}
}
