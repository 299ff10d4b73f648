package ir

import (
	"slices"

	"smelt.example/smelt/internal/ir/attr"
)

// Equal reports whether two verified modules are the same in all that the text form
// has: names, declarations, operations with their attributes, regions and results.
func Equal(a, b *Module) bool {
	return a.Name == b.Name && slices.Equal(a.Symbols, b.Symbols) &&
		slices.EqualFunc(a.Inputs, b.Inputs, equalValues) &&
		slices.EqualFunc(a.Params, b.Params, func(p, q *Param) bool {
			return p.Name == q.Name && p.Type.Equal(q.Type) && p.Encoding == q.Encoding
		}) &&
		slices.EqualFunc(a.States, b.States, func(s, t *State) bool {
			return s.Name == t.Name && s.Row.Equal(t.Row) && s.Keep.Equal(t.Keep) && s.Stored == t.Stored
		}) &&
		slices.EqualFunc(a.Nodes, b.Nodes, equalNodes) &&
		slices.EqualFunc(a.Regions, b.Regions, func(r, s *Region) bool {
			return r.Kind == s.Kind && r.Name == s.Name && r.From == s.From && r.To == s.To && slices.EqualFunc(r.Yields, s.Yields, equalValues)
		}) &&
		slices.EqualFunc(a.Results, b.Results, equalValues)
}

func equalNodes(m, n *Node) bool {
	return m.Op == n.Op && m.Symbol == n.Symbol && attr.Equal(m.Attr, n.Attr) && slices.EqualFunc(m.Args, n.Args, equalValues) && equalValues(m.Result, n.Result)
}

// equalValues: numbers count definitions, so that equal ones name the same place.
func equalValues(v, w *Value) bool { return v.ID == w.ID && v.Name == w.Name && v.Type.Equal(w.Type) }
