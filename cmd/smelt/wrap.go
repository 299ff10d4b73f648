package main

import (
	"fmt"
	"strings"
)

// wrapper breaks the lines of a text between words where a terminal would break them
// anywhere. Text is shown as it comes: a word that turns out too long for its line is taken
// away there and begins the next one. Lines of code stay as they are.
type wrapper struct {
	width int // of the terminal; 0 leaves text alone

	column int             // of the cursor
	word   strings.Builder // the one that is being written, if it began on this line
	start  strings.Builder // of the line, up to what could be a fence
	code   bool            // between fences
	lost   bool            // how wide this line is, is not known
}

// fence begins and ends code in the text of models.
const fence = "```"

// wrap is what to write for a further piece of the text.
func (w *wrapper) wrap(piece string) string {
	if w.width < 20 { // no room for words
		return piece
	}
	var out strings.Builder
	for _, c := range piece {
		w.put(&out, c)
	}
	return out.String()
}

func (w *wrapper) put(out *strings.Builder, c rune) {
	if c == '\n' {
		if w.start.String() == fence {
			w.code = !w.code
		}
		w.begin()
		out.WriteRune(c)
		return
	}
	if w.start.Len() < len(fence) {
		w.start.WriteRune(c)
	}
	if !narrow(c) { // the terminal breaks what it alone can measure
		w.lost = true
	}
	if w.lost || w.code {
		out.WriteRune(c)
		return
	}
	if c == ' ' {
		w.word.Reset()
		if w.column >= w.width-1 { // the line's end stands for it
			return
		}
	} else {
		if w.column >= w.width-1 && !w.carry(out) {
			w.lost = true
		}
		w.word.WriteRune(c)
	}
	w.column++
	out.WriteRune(c)
}

// carry takes the word to the next line, unless that has no more room for it.
func (w *wrapper) carry(out *strings.Builder) bool {
	word := w.word.String()
	n := len([]rune(word))
	if n >= w.width-2 {
		return false
	}
	if n > 0 {
		fmt.Fprintf(out, "\x1b[%dD", n)
	}
	out.WriteString("\x1b[K\n" + word)
	start := w.start.String()
	w.begin()
	w.start.WriteString(start) // it is the same line of the text
	w.word.WriteString(word)
	w.column = n
	return true
}

// begin is at the beginning of a line.
func (w *wrapper) begin() {
	w.column, w.lost = 0, false
	w.word.Reset()
	w.start.Reset()
}

// narrow tells of characters that surely take one cell.
func narrow(c rune) bool {
	return c >= ' ' && c < 0x7f || c > 0xa0 && c < 0x300 && c != 0xad || c >= 0x2010 && c <= 0x2026
}
