package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strconv"
	"strings"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
)

// weightsReport is the output of `smelt inspect --weights --json`. Field names are
// stable; docs/json.md explains them. It is written parameter by parameter, never held.
type weightsReport struct {
	Path       string         `json:"path"`
	Parameters []weightReport `json:"parameters"`
}

// weightReport is one parameter.
type weightReport struct {
	Name     string       `json:"name"`
	Layer    *int         `json:"layer"` // null outside layers
	Shape    []int64      `json:"shape"`
	Encoding string       `json:"encoding"` // "mixed" if its views differ
	Integer  bool         `json:"integer"`
	Bytes    int64        `json:"bytes"`
	Stem     string       `json:"stem"` // where the layout looks for it; {n} counts the leading index
	Form     string       `json:"form"` // which of the layout's alternatives, or ""
	Views    []viewReport `json:"views"`
}

// viewReport is a run of the parameter's rows in one stored matrix.
type viewReport struct {
	First       int          `json:"first"` // row of the parameter
	Rows        int          `json:"rows"`
	StoredFirst int          `json:"stored_first"` // row of the stored matrix
	Encoding    string       `json:"encoding"`
	Bytes       int64        `json:"bytes"`
	Skew        int          `json:"skew"` // of the first weight byte, modulo 16
	Weight      planeReport  `json:"weight"`
	Scales      *planeReport `json:"scales"` // null if the encoding has none
	Biases      *planeReport `json:"biases"` // null if the encoding has none
}

// planeReport is one stored tensor.
type planeReport struct {
	Tensor string  `json:"tensor"`
	File   string  `json:"file"` // in the checkpoint's folder
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Offset int64   `json:"offset"` // of the first byte in the file
	Bytes  int64   `json:"bytes"`
}

// params pairs the graph's parameters with their bindings, in the graph's
// order, all or those of one layer.
func params(m *models.Model, layer int) iter.Seq2[*ir.Param, *checkpoint.Param] {
	return func(yield func(*ir.Param, *checkpoint.Param) bool) {
		for i, p := range m.Graph.Params {
			if n, in := layerOf(p.Name); layer != allLayers && (!in || n != layer) {
				continue
			}
			if !yield(p, &m.Binding.Params[i]) {
				return
			}
		}
	}
}

// layerOf reads the layer out of a parameter's name.
func layerOf(name string) (layer int, in bool) {
	rest, in := strings.CutPrefix(name, "layers.")
	if !in {
		return 0, false
	}
	number, _, _ := strings.Cut(rest, ".")
	layer, err := strconv.Atoi(number)
	return layer, err == nil
}

func weightOf(declared *ir.Param, bound *checkpoint.Param) weightReport {
	r := weightReport{
		Name: declared.Name, Encoding: bound.Encoding(), Integer: bound.Integer,
		Stem: bound.Place.Stem, Form: bound.Place.Note, Views: make([]viewReport, len(bound.Views)),
	}
	if n, in := layerOf(declared.Name); in {
		r.Layer = &n
		r.Stem = strings.Replace(r.Stem, "{l}", strconv.Itoa(n), 1)
	}
	for _, d := range declared.Type.Shape {
		size, _ := d.Value()
		r.Shape = append(r.Shape, size)
	}
	for i := range bound.Views {
		r.Views[i] = viewOf(&bound.Views[i])
		r.Bytes += r.Views[i].Bytes
	}
	return r
}

func viewOf(v *checkpoint.View) viewReport {
	return viewReport{
		First: v.First, Rows: v.Rows, StoredFirst: v.StoredFirst, Encoding: v.EncodingName(), Bytes: v.Bytes(), Skew: v.Skew(),
		Weight: *planeOf(v.Weight), Scales: planeOf(v.Scales), Biases: planeOf(v.Biases),
	}
}

func planeOf(t *checkpoint.Tensor) *planeReport {
	if t == nil {
		return nil
	}
	return &planeReport{t.Name, filepath.Base(t.File.Path()), string(t.DType), t.Shape, t.Offset, t.Bytes}
}

// writeWeightsJSON streams one object, each parameter on a line of its own.
func writeWeightsJSON(w *bufio.Writer, m *models.Model, layer int) error {
	path, err := json.Marshal(m.Checkpoint.Dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, `{"path": %s, "parameters": [`, path)
	separator := "\n"
	for declared, bound := range params(m, layer) {
		line, err := json.Marshal(weightOf(declared, bound))
		if err != nil {
			return err
		}
		w.WriteString(separator)
		if _, err := w.Write(line); err != nil {
			return err
		}
		separator = ",\n"
	}
	_, err = w.WriteString("\n]}\n")
	return err
}

// writeWeights prints a table with one line for each parameter; wide is with the file
// and the tensor that it is stored in.
func writeWeights(w io.Writer, m *models.Model, layer int, st style, wide bool) error {
	t := table{columns: []column{{"parameter", false}, {"shape", false}, {"encoding", false}, {"bytes", true}, {"views", true}, {"skew", true}}}
	if wide {
		t.columns = append(t.columns, column{"file", false}, column{"stored as", false})
	}
	for declared, bound := range params(m, layer) {
		r := weightOf(declared, bound)
		skew := common(r.Views, "mixed", func(v viewReport) string { return strconv.Itoa(v.Skew) })
		cells := []string{r.Name, dims(r.Shape), r.Encoding, bytesInWords(r.Bytes), grouped(len(r.Views)), skew}
		if wide {
			file := common(r.Views, "several", func(v viewReport) string { return v.Weight.File })
			stored := common(r.Views, r.Stem, func(v viewReport) string { return v.Weight.Tensor })
			cells = append(cells, file, stored)
		}
		t.add(cells...)
	}
	return t.write(w, "", st)
}

// common returns what all views say, or `differ` if they do not agree.
func common(views []viewReport, differ string, say func(viewReport) string) string {
	first := say(views[0])
	for _, v := range views[1:] {
		if say(v) != first {
			return differ
		}
	}
	return first
}

// writeViews prints each parameter with all its views below it.
func writeViews(w io.Writer, m *models.Model, layer int, st style) error {
	for declared, bound := range params(m, layer) {
		r := weightOf(declared, bound)
		head := []string{st.bold(r.Name), dims(r.Shape), r.Encoding, bytesInWords(r.Bytes)}
		if r.Form != "" {
			head = append(head, r.Form)
		}
		if _, err := fmt.Fprintln(w, strings.Join(head, "  ")); err != nil {
			return err
		}
		t := table{columns: make([]column, 8)}
		for i := range r.Views {
			r.Views[i].addTo(&t, r.Encoding == "mixed")
		}
		if err := t.write(w, "  ", st); err != nil {
			return err
		}
	}
	return nil
}

// addTo adds a line for each plane of the view.
func (v *viewReport) addTo(t *table, withEncoding bool) {
	rows, skew := span(v.First, v.Rows), ""
	if v.Skew != 0 {
		skew = fmt.Sprintf("skew %d", v.Skew)
	}
	part := ""
	if stored := rowsOf(v.Weight.Shape); v.Rows != stored {
		part = fmt.Sprintf("%s of %d", span(v.StoredFirst, v.Rows), stored)
	}
	plane := "weight"
	if withEncoding {
		plane = v.Encoding
	}
	for _, p := range []struct {
		name string
		*planeReport
	}{{plane, &v.Weight}, {"scales", v.Scales}, {"biases", v.Biases}} {
		if p.planeReport == nil {
			continue
		}
		t.add(rows, p.name, p.Tensor, part, p.DType+" "+dims(p.Shape), p.File, fmt.Sprintf("at %d", p.Offset), skew)
		rows, part, skew = "", "", ""
	}
}

func span(first, rows int) string {
	if rows == 1 {
		return fmt.Sprintf("row %d", first)
	}
	return fmt.Sprintf("rows %d-%d", first, first+rows-1)
}

// rowsOf is the number of rows of a stored matrix, all dimensions but the last.
func rowsOf(shape []int64) int {
	n := 1
	for _, d := range shape[:len(shape)-1] {
		n *= int(d)
	}
	return n
}

func dims(shape []int64) string {
	parts := make([]string, len(shape))
	for i, d := range shape {
		parts[i] = strconv.FormatInt(d, 10)
	}
	return strings.Join(parts, "x")
}
