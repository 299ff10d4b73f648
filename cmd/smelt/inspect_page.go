package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// write prints the report as a page for people.
func (r *inspectReport) write(w io.Writer, st style) error {
	p := page{w: w, st: st}
	p.printf("%s  %s\n\n", st.bold(r.architecture), r.Path)
	p.parameters(r.Parameters)
	for _, l := range r.lines {
		p.line(l.Label, "%s", l.Text)
	}
	p.storage(r.Storage)
	p.encodings(r.Encodings)
	p.ignored(r.Ignored)
	p.list("Notes", r.Notes)
	p.list("Unknown keys of config.json", r.Unknown)
	return p.err
}

// page writes sections and keeps the first error.
type page struct {
	w   io.Writer
	st  style
	err error
}

func (p *page) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *page) heading(title string) { p.printf("\n%s\n", p.st.bold(title)) }

// line prints one property.
func (p *page) line(label, format string, args ...any) {
	p.printf("  %s %s\n", p.st.dim(fmt.Sprintf("%-13s", label)), fmt.Sprintf(format, args...))
}

func (p *page) parameters(n parameterCounts) {
	p.line("parameters", "%s, of them %s active per token", countInWords(n.Total), countInWords(n.Active))
	p.line("", "%s in routed experts", countInWords(n.Routed))
}

func (p *page) storage(s storageReport) {
	p.heading("Storage")
	p.line("layout", "%s", strings.Join(append([]string{s.Layout}, s.Forms...), "; "))
	if s.Declared != "" {
		p.line("declared", "%s (config.json)", s.Declared)
	}
	p.line("files", "%s, %s, %s", plural(s.Files, "file"), bytesInWords(s.Bytes), plural(s.Tensors, "tensor"))
	p.line("alignment", "%s", alignment(s))
}

// alignment says at what offsets tensors start.
func alignment(s storageReport) string {
	if s.Unaligned16 == 0 {
		return "every tensor starts at a multiple of 16 bytes"
	}
	text := plural(s.Unaligned16, "tensor") + " not at a multiple of 16 bytes, "
	if s.UnalignedElement == 0 {
		return text + "all at one of their element's size"
	}
	return text + grouped(s.UnalignedElement) + " not even at one of their element's size"
}

// encodings prints the table with the sum of all weights; integer tables,
// which are no weights, follow it.
func (p *page) encodings(rows []encodingRow) {
	t := table{columns: []column{{"encoding", false}, {"parameters", true}, {"values", true}, {"bytes", true}, {"bits/weight", true}}}
	sum := encodingRow{Encoding: "all weights"}
	var tables []encodingRow
	for _, r := range rows {
		if r.Integer {
			tables = append(tables, r)
			continue
		}
		sum.Values, sum.Bytes = sum.Values+r.Values, sum.Bytes+r.Bytes
		t.add(r.cells()...)
	}
	sum.Bits = float64(sum.Bytes) * 8 / float64(sum.Values)
	all := sum.cells()
	all[1] = "" // parameters of mixed encodings would count twice
	t.add(all...)
	for _, r := range tables {
		r.Encoding += " (routing tables)"
		t.add(r.cells()...)
	}
	p.printf("\n")
	if p.err == nil {
		p.err = t.write(p.w, "  ", p.st)
	}
}

func (r encodingRow) cells() []string {
	return []string{r.Encoding, grouped(r.Parameters), grouped(r.Values), bytesInWords(r.Bytes), strconv.FormatFloat(r.Bits, 'f', 3, 64)}
}

func (p *page) ignored(rows []ignoredRow) {
	if len(rows) == 0 {
		return
	}
	p.heading("Not used")
	for _, r := range rows {
		p.printf("  %s  %s, %s: %s\n", p.st.yellow(r.Prefix+"*"), plural(r.Tensors, "tensor"), bytesInWords(r.Bytes), r.Reason)
	}
}

func (p *page) list(title string, items []string) {
	if len(items) == 0 {
		return
	}
	p.heading(title)
	for _, item := range items {
		p.printf("  %s\n", item)
	}
}
