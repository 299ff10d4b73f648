package main

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/exp/constraints"

	"smelt.example/smelt/internal/message"
)

// lineWidth is what tables keep to unless --wide is given.
const lineWidth = 120

// table lines up cells in columns. Rows are kept until write.
type table struct {
	columns []column
	rows    [][]string
	// width bounds the lines; 0: they are as long as they come. Where cells take more, those
	// of the columns in flow go on below, broken at blanks.
	width int
	flow  []int
}

type column struct {
	title string
	right bool
}

// gap stands between columns.
const gap = "  "

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the titles, unless all are empty, and the rows. A column with
// nothing in it takes no room.
func (t *table) write(w io.Writer, indent string, st style) error {
	widths := make([]int, len(t.columns))
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
		widths[i] = utf8.RuneCountInString(c.title)
		for _, r := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i]))
		}
	}
	t.narrow(widths, t.width-len(indent))
	if strings.Join(titles, "") != "" {
		if _, err := fmt.Fprintln(w, indent+st.dim(t.line(titles, widths))); err != nil {
			return err
		}
	}
	for _, r := range t.rows {
		for _, cells := range t.lines(r, widths) {
			if _, err := fmt.Fprintln(w, indent+t.line(cells, widths)); err != nil {
				return err
			}
		}
	}
	return nil
}

// narrow takes from the columns that flow, from the widest first, until lines are no
// longer than most, or no column can be narrower.
func (t *table) narrow(widths []int, most int) {
	if t.width == 0 {
		return
	}
	least := t.least()
	for t.length(widths) > most {
		widest := -1
		for _, i := range t.flow {
			if widths[i] > least[i] && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// length is that of a line.
func (t *table) length(widths []int) int {
	n := -len(gap)
	for _, w := range widths {
		if w > 0 {
			n += w + len(gap)
		}
	}
	return n
}

// least is how narrow each column can be: a piece is not broken.
func (t *table) least() []int {
	least := make([]int, len(t.columns))
	for i, c := range t.columns {
		least[i] = utf8.RuneCountInString(c.title)
		for _, r := range t.rows {
			for piece := range cuts(r[i]) {
				least[i] = max(least[i], columnsOf(piece))
			}
		}
	}
	return least
}

// lines are the lines that a row takes.
func (t *table) lines(row []string, widths []int) [][]string {
	lines := [][]string{slices.Clone(row)}
	for i, cell := range row {
		for k, part := range broken(cell, widths[i]) {
			if k == len(lines) {
				lines = append(lines, make([]string, len(row)))
			}
			lines[k][i] = part
		}
	}
	return lines
}

// longWord is of how many columns a word is that is cut within, after the signs of a sum
// of products.
const longWord = 40

// cuts are the pieces of a text after which a line may end: words, and parts of long ones.
func cuts(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for word := range strings.SplitAfterSeq(text, " ") {
			depth, from := 0, 0
			for i, c := range word {
				switch c {
				case '(':
					depth++
				case ')':
					depth--
				case '+', '*':
					if depth == 0 && columnsOf(word) > longWord {
						if !yield(word[from : i+1]) {
							return
						}
						from = i + 1
					}
				}
			}
			if !yield(word[from:]) {
				return
			}
		}
	}
}

// columnsOf is how wide a piece is at the end of a line.
func columnsOf(piece string) int { return utf8.RuneCountInString(strings.TrimRight(piece, " ")) }

// broken cuts a text that is wider into lines; others are left as they are.
func broken(text string, width int) []string {
	if utf8.RuneCountInString(text) <= width {
		return []string{text}
	}
	var lines []string
	line := ""
	for piece := range cuts(text) {
		if line != "" && columnsOf(line+piece) > width {
			lines = append(lines, strings.TrimRight(line, " "))
			line = ""
		}
		line += piece
	}
	return append(lines, line)
}

func (t *table) line(cells []string, widths []int) string {
	var b strings.Builder
	for i, cell := range cells {
		if widths[i] == 0 {
			continue
		}
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if t.columns[i].right {
			b.WriteString(pad + cell)
		} else {
			b.WriteString(cell + pad)
		}
		b.WriteString(gap)
	}
	return strings.TrimRight(b.String(), " ")
}

// grouped writes a count with thousands apart: 1,048,576.
func grouped[N constraints.Signed](n N) string { return message.Grouped(n) }

func bytesInWords(n int64) string { return message.Bytes(n) }

func countInWords(n int64) string {
	return message.InUnits(n, "", "thousand", "million", "billion", "trillion")
}

// plural is a count with its noun.
func plural(n int, noun string) string { return message.Plural(n, noun) }
