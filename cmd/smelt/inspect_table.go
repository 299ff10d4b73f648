package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/exp/constraints"

	"smelt.example/smelt/internal/message"
)

// table lines up cells in columns. Rows are kept until write.
type table struct {
	columns []column
	rows    [][]string
}

type column struct {
	title string
	right bool
}

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
	if strings.Join(titles, "") != "" {
		if _, err := fmt.Fprintln(w, indent+st.dim(t.line(titles, widths))); err != nil {
			return err
		}
	}
	for _, r := range t.rows {
		if _, err := fmt.Fprintln(w, indent+t.line(r, widths)); err != nil {
			return err
		}
	}
	return nil
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
		b.WriteString("  ")
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
