package main

import (
	"cmp"
	"slices"

	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/ir/ops"
	"smelt.example/smelt/models"
)

// inspectReport is the output of `smelt inspect --json`, and the data of the page. Field
// names are stable; docs/json.md explains them. Lists are never null.
type inspectReport struct {
	Path       string          `json:"path"`
	Model      string          `json:"model"`
	Sizes      any             `json:"sizes"` // an object; its keys are the architecture's
	Parameters parameterCounts `json:"parameters"`
	Storage    storageReport   `json:"storage"`
	Encodings  []encodingRow   `json:"encodings"`
	Ignored    []ignoredRow    `json:"ignored"`
	Notes      []string        `json:"notes"`
	Unknown    []string        `json:"unknown_config_keys"`

	architecture string      // for the page
	lines        []arch.Line // Sizes for the page
}

// parameterCounts counts numbers, not tensors. See activeValues.
type parameterCounts struct {
	Total  int64 `json:"total"`            // real numbers of the graph
	Active int64 `json:"active_per_token"` // of them those one token meets
	Routed int64 `json:"routed_experts"`   // of Total
	Tables int64 `json:"integers"`         // entries of routing tables, not in Total
}

type storageReport struct {
	Layout   string   `json:"layout"`
	Forms    []string `json:"forms"`
	Declared string   `json:"declared"` // by config.json; "" if it says nothing
	Files    int      `json:"files"`
	Bytes    int64    `json:"bytes"` // of the files, headers included
	Tensors  int      `json:"tensors"`
	// Unaligned16 counts tensors whose first byte is at no multiple of 16 of
	// the file, UnalignedElement those at no multiple of their element's size.
	Unaligned16      int `json:"unaligned_16"`
	UnalignedElement int `json:"unaligned_element"`
}

// encodingRow sums up all views stored in one encoding. A parameter stored in
// two encodings counts in both.
type encodingRow struct {
	Encoding   string  `json:"encoding"`
	Integer    bool    `json:"integer"`
	Parameters int     `json:"parameters"`
	Values     int64   `json:"values"`
	Bytes      int64   `json:"bytes"`
	Bits       float64 `json:"bits_per_value"` // scales and biases included
}

// ignoredRow counts the tensors that a rule leaves unused, by the prefix of their names.
type ignoredRow struct {
	Prefix  string `json:"prefix"`
	Reason  string `json:"reason"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

func summarise(m *models.Model) *inspectReport {
	r := &inspectReport{
		Path: m.Checkpoint.Dir, Model: m.Graph.Name, Sizes: m.Sizes, Parameters: countParameters(m),
		Storage: storageOf(m), Encodings: encodingsOf(m), Ignored: []ignoredRow{},
		Notes: joined(m.Notes, m.Binding.Notes), Unknown: joined(m.Unknown),
		architecture: m.Architecture, lines: m.Lines,
	}
	for _, g := range m.Binding.Ignored {
		r.Ignored = append(r.Ignored, ignoredRow{g.Prefix, g.Reason, g.Tensors, g.Bytes})
	}
	return r
}

// joined is all lists in one, which is empty and not null in JSON.
func joined(lists ...[]string) []string {
	all := []string{}
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func countParameters(m *models.Model) parameterCounts {
	var n parameterCounts
	active := activeValues(m.Graph)
	for i, p := range m.Graph.Params {
		values := elements(p.Type)
		if m.Binding.Params[i].Integer {
			n.Tables += values
			continue
		}
		n.Total += values
		n.Active += active[i]
	}
	for _, node := range m.Graph.Nodes {
		if node.Op == ops.ExpertMatmul {
			n.Routed += elements(node.Args[2].Type)
		}
	}
	return n
}

func storageOf(m *models.Model) storageReport {
	ck := m.Checkpoint
	s := storageReport{
		Layout: m.Binding.Layout, Forms: joined(m.Binding.Forms), Declared: m.Stored,
		Files: len(ck.Files),
	}
	for _, f := range ck.Files {
		s.Bytes += f.Size()
		s.Tensors += len(f.Tensors())
	}
	for _, t := range ck.Tensors() {
		if t.Offset%16 != 0 {
			s.Unaligned16++
		}
		if size, _ := t.DType.Size(); t.Offset%int64(max(1, size)) != 0 {
			s.UnalignedElement++
		}
	}
	return s
}

// encodingsOf sums up the views by encoding: weights before integers, most
// values first.
func encodingsOf(m *models.Model) []encodingRow {
	type sum struct {
		encodingRow
		param int // the last one counted
	}
	sums := map[string]*sum{}
	for i := range m.Binding.Params {
		p := &m.Binding.Params[i]
		for k := range p.Views {
			v := &p.Views[k]
			name := v.EncodingName()
			s := sums[name]
			if s == nil {
				s = &sum{encodingRow{Encoding: name, Integer: p.Integer}, -1}
				sums[name] = s
			}
			if s.param != i {
				s.Parameters++
				s.param = i
			}
			s.Values += int64(v.Rows) * int64(p.Cols)
			s.Bytes += v.Bytes()
		}
	}
	rows := make([]encodingRow, 0, len(sums))
	for _, s := range sums {
		s.Bits = float64(s.Bytes) * 8 / float64(s.Values)
		rows = append(rows, s.encodingRow)
	}
	slices.SortFunc(rows, func(a, b encodingRow) int {
		switch {
		case a.Integer && !b.Integer:
			return 1
		case b.Integer && !a.Integer:
			return -1
		}
		return cmp.Or(cmp.Compare(b.Values, a.Values), cmp.Compare(a.Encoding, b.Encoding))
	})
	return rows
}
