package schema

import (
	"slices"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/models/checkpoint/container"
)

// A Layout is a table from a graph's parameters to the names under which one
// family of checkpoints stores them. It is recognised from the names found.
//
// Patterns are names with placeholders: {l} is any number (the same in both
// columns), {n} runs over the parameter's leading dimension.
type Layout struct {
	Name  string
	Marks []string // prefixes, with {l}, of names that only this layout has
	Rules []Rule
	// Wrapper begins every name, if it is not empty. Places and marks have it too.
	Wrapper string
}

// Under is the layout of checkpoints with a wrapper before every name.
func (l Layout) Under(wrapper string) Layout {
	out := Layout{Name: l.Name + " under " + wrapper, Wrapper: wrapper + l.Wrapper}
	for _, m := range l.Marks {
		out.Marks = append(out.Marks, wrapper+m)
	}
	for _, r := range l.Rules {
		places := slices.Clone(r.Places)
		for i := range places {
			places[i].Stem = wrapper + places[i].Stem
		}
		out.Rules = append(out.Rules, Rule{Param: r.Param, Places: places})
	}
	return out
}

// A Rule says where one parameter, or one of each layer, is stored.
type Rule struct {
	Param  string  // pattern of the graph's parameter name
	Places []Place // alternatives; the first that the checkpoint has is taken
}

// A Place is one way to store a parameter. The weight is the tensor Stem+".weight",
// or Stem itself; scales and biases lie beside it.
type Place struct {
	// Stem is the name's pattern. With {n} there is one tensor for each index
	// of the parameter's leading dimension, otherwise one for all of it.
	Stem string
	// Fused lists the parameters (patterns) that share the tensor's rows, in
	// order, this one among them; of a parameter with three dimensions, the
	// rows of each leading index. Empty: the tensor is this parameter's alone.
	Fused []string
	// Note names the alternative in a word for people, or is empty.
	Note string
}

// An Ignore is a prefix, with {l}, of names that are left unused, and why.
type Ignore struct{ Prefix, Reason string }

// Covers tells whether the rule leaves a tensor of that name unused.
func (g Ignore) Covers(name string) bool {
	pattern, number := Generalise(name)
	return strings.HasPrefix(pattern, g.Prefix) && (number != "" || !strings.Contains(g.Prefix, layerPlaceholder))
}

// layerPlaceholder and indexPlaceholder are the two placeholders of patterns.
const (
	layerPlaceholder = "{l}"
	indexPlaceholder = "{n}"
)

// Generalise replaces the first component of a name that is a number by {l}:
// "layers.12.attn" becomes "layers.{l}.attn" and "12". Numbers are canonical
// (no leading zeros), so the pair is unique.
func Generalise(name string) (pattern, number string) {
	for rest, from := name, 0; ; {
		part, after, more := strings.Cut(rest, ".")
		if isIndex(part) {
			return name[:from] + layerPlaceholder + name[from+len(part):], part
		}
		if !more {
			return name, ""
		}
		from += len(part) + 1
		rest = after
	}
}

func isIndex(s string) bool {
	return s != "" && len(s) < 8 && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}

// Fill puts a layer's number in its place in a pattern.
func Fill(pattern, layer string) string {
	return strings.Replace(pattern, layerPlaceholder, layer, 1)
}

// At is the stem of a layer, and of the n-th of tensors for each leading index.
func (p Place) At(layer string, n int) string {
	return strings.Replace(Fill(p.Stem, layer), indexPlaceholder, strconv.Itoa(n), 1)
}

// Stems lists the place's stems for a parameter whose leading dimension is n: one, or
// one for each leading index.
func (p Place) Stems(layer string, n int) []string {
	if !p.PerIndex() {
		return []string{Fill(p.Stem, layer)}
	}
	var stems []string
	for k := range n {
		stems = append(stems, p.At(layer, k))
	}
	return stems
}

// Expected is the name that a stem's weight most likely has, for messages; the
// stem alone and with ".weight" are both accepted.
func (p Place) Expected(param, stem string) string {
	if strings.HasSuffix(param, ".weight") || p.PerIndex() {
		return stem + ".weight"
	}
	return stem
}

// Tenants names the parameters that share the place.
func (p Place) Tenants(param, layer string) string {
	if len(p.Fused) == 0 {
		return param
	}
	var names []string
	for _, f := range p.Fused {
		names = append(names, Fill(f, layer))
	}
	return strings.Join(names, " over ")
}

// PerIndex tells whether there is a tensor for each leading index.
func (p Place) PerIndex() bool { return strings.Contains(p.Stem, indexPlaceholder) }

// Recognise picks the layout that has the most names of its own, the first of equals;
// nil if none has any.
func Recognise(layouts []Layout, tensors []container.Tensor) *Layout {
	counts := make([]int, len(layouts))
	for _, t := range tensors {
		pattern, _ := Generalise(t.Name)
		for i := range layouts {
			if hasPrefix(pattern, layouts[i].Marks) {
				counts[i]++
			}
		}
	}
	best := -1
	for i, n := range counts {
		if n > 0 && (best < 0 || n > counts[best]) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	return &layouts[best]
}

// Matrix finds, by names alone, the tensor [rows, any columns] that holds a parameter:
// for graphs whose sizes follow from headers. It is nil for a parameter that is not
// stored as one matrix of its own; what is wrong with that, binding says.
func (l *Layout) Matrix(lookup func(name string) (container.Tensor, bool), param string) *container.Tensor {
	pattern, layer := Generalise(param)
	for _, rule := range l.Rules {
		if rule.Param != pattern {
			continue
		}
		for _, place := range rule.Places {
			if place.PerIndex() || len(place.Fused) > 0 {
				continue
			}
			stem := Fill(place.Stem, layer)
			for _, name := range []string{stem + ".weight", stem} {
				if t, ok := lookup(name); ok && len(t.Shape) == 2 {
					return &t
				}
			}
		}
	}
	return nil
}

func hasPrefix(name string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
