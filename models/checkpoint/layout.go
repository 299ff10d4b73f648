package checkpoint

import (
	"fmt"
	"strconv"
	"strings"
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
}

// A Rule says where one parameter, or one of each layer, is stored.
type Rule struct {
	Param  string  // pattern of the graph's parameter name
	Places []Place // alternatives; the first that the checkpoint has is taken
}

// A Place is one way to store a parameter. The weight is the tensor Stem+".weight",
// or Stem itself; scales and biases lie beside it (see companions).
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

func (g Ignore) covers(name string) bool {
	pattern, number := generalise(name)
	return strings.HasPrefix(pattern, g.Prefix) && (number != "" || !strings.Contains(g.Prefix, layerPlaceholder))
}

// companions are the names under which a weight's scales and biases lie
// beside it, by the suffixes that converters use.
var companions = [...]struct{ scales, biases string }{
	{".scale", ""},         // DeepSeek
	{".scales", ".biases"}, // MLX
}

// layerPlaceholder and indexPlaceholder are the two placeholders of patterns.
const (
	layerPlaceholder = "{l}"
	indexPlaceholder = "{n}"
)

// generalise replaces the first component of a name that is a number by {l}:
// "layers.12.attn" becomes "layers.{l}.attn" and "12". Numbers are canonical
// (no leading zeros), so the pair is unique.
func generalise(name string) (pattern, number string) {
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

func fill(pattern, layer string) string {
	return strings.Replace(pattern, layerPlaceholder, layer, 1)
}

func (p Place) stem(layer string, n int) string {
	return strings.Replace(fill(p.Stem, layer), indexPlaceholder, strconv.Itoa(n), 1)
}

// stems lists the place's stems for a parameter of m's size: one, or one for
// each leading index.
func (p Place) stems(layer string, m matrix) []string {
	if !p.perIndex() {
		return []string{fill(p.Stem, layer)}
	}
	var stems []string
	for n := range int(m.dims[0]) {
		stems = append(stems, p.stem(layer, n))
	}
	return stems
}

// expected is the name that a stem's weight most likely has, for messages; the
// stem alone and with ".weight" are both accepted.
func (p Place) expected(param, stem string) string {
	if strings.HasSuffix(param, ".weight") || p.perIndex() {
		return stem + ".weight"
	}
	return stem
}

// tenants names the parameters that share the place.
func (p Place) tenants(param, layer string) string {
	if len(p.Fused) == 0 {
		return param
	}
	var names []string
	for _, f := range p.Fused {
		names = append(names, fill(f, layer))
	}
	return strings.Join(names, " over ")
}

func (p Place) perIndex() bool { return strings.Contains(p.Stem, indexPlaceholder) }

// recognise picks the layout that has the most names of its own, or notes
// that there is none and returns nil.
func recognise(tensors []Tensor, layouts []Layout, findings *Findings) *Layout {
	counts := make([]int, len(layouts))
	for _, t := range tensors {
		pattern, _ := generalise(t.Name)
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
	if best >= 0 {
		return &layouts[best]
	}
	var items []string
	for _, l := range layouts {
		items = append(items, fmt.Sprintf("expected for %s: %s*", l.Name, strings.Join(l.Marks, "*, ")))
	}
	for i, t := range tensors[:min(len(tensors), 5)] {
		items = append(items, fmt.Sprintf("found %s (%d of %d tensors)", describe(&t), i+1, len(tensors)))
	}
	findings.Add("the tensors' names are of no layout smelt knows", "this is another kind of model, or a conversion to report", items...)
	return nil
}

// StoredMatrices finds, by names alone, the tensor [rows, any columns] that holds
// each parameter: for graphs whose sizes follow from headers. It is nil for a
// parameter that is not stored as one matrix of its own; Bind says what is wrong
// with that.
func StoredMatrices(c *Checkpoint, layouts []Layout, params ...string) []*Tensor {
	found := make([]*Tensor, len(params))
	layout := recognise(c.tensors, layouts, &Findings{}) // which Bind reports
	if layout == nil {
		return found
	}
	for i, param := range params {
		found[i] = c.matrixOf(layout, param)
	}
	return found
}

// matrixOf is the tensor that a layout stores a parameter in, nil if there is none
// or it holds something else too.
func (c *Checkpoint) matrixOf(layout *Layout, param string) *Tensor {
	pattern, layer := generalise(param)
	for _, rule := range layout.Rules {
		if rule.Param != pattern {
			continue
		}
		for _, place := range rule.Places {
			if place.perIndex() || len(place.Fused) > 0 {
				continue
			}
			stem := fill(place.Stem, layer)
			for _, name := range []string{stem + ".weight", stem} {
				if t, ok := c.Lookup(name); ok && len(t.Shape) == 2 {
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
