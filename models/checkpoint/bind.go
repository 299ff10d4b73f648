package checkpoint

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/indices"
	"smelt.example/smelt/internal/models/schema"
	"smelt.example/smelt/ir"
)

// A Binding is a graph's parameters as views of a checkpoint. Every byte of
// every tensor is in exactly one view or in one ignored tensor.
type Binding struct {
	Layout  string
	Forms   []string // which alternatives the layout's places took, in words
	Params  []Param  // in the graph's order
	Ignored []Ignored
	Notes   []string
}

// Ignored is how much is left unused, and why.
type Ignored struct {
	Prefix  string // of the tensors' names, with {l} for any number
	Reason  string
	Tensors int
	Bytes   int64
}

// Param returns the bound parameter of that name, or nil.
func (b *Binding) Param(name string) *Param {
	for i := range b.Params {
		if b.Params[i].Name == name {
			return &b.Params[i]
		}
	}
	return nil
}

// Bind finds every parameter of the model in the checkpoint and accounts for
// every tensor. Nothing is read or copied: what the values of some must be is
// looked at by the checkpoint's Ready. All findings are reported in one
// *Findings: parameters without tensors, tensors without a place, wrong
// shapes and types, contradictions with config.json. On success the graph's
// parameters carry the names of their encodings. models.Bind calls it with what the
// model's architecture says.
func Bind(c *Checkpoint, m schema.Model) (*Binding, error) {
	indexed, err := indices.Params(m.Graph)
	if err != nil {
		return nil, err
	}
	findings := &Findings{Path: c.Dir}
	gone := c.absent.report(m.Ignores, findings)
	if err := findings.Err(); err != nil {
		return nil, err // the parameters of what is gone are not missing for another reason
	}
	layout := recognise(c.tensors, m.Layouts, findings)
	if layout == nil {
		return nil, findings
	}
	b := newBinder(c, m, layout)
	for _, p := range m.Graph.Params {
		b.param(p)
	}
	b.out.Notes = append(b.out.Notes, gone...)
	b.leftovers(m.Ignores)
	b.superseded()
	b.secondPlaces()
	b.checkDeclared()
	b.report(findings)
	if err := findings.Err(); err != nil {
		findings.addSized(m.Sized)
		return nil, err
	}
	for i, p := range m.Graph.Params {
		p.Encoding = b.out.Params[i].Encoding()
	}
	b.declaredNotes()
	c.ready = sync.OnceValue(func() error { return b.out.checkIndices(c.Dir, indexed, m.Sized) })
	return &b.out, nil
}

type binder struct {
	checkpoint *Checkpoint
	layout     *schema.Layout
	rules      map[string]*schema.Rule // by parameter pattern
	shapes     map[string]matrix       // by parameter name
	index      map[string]int          // tensor name -> number
	tensors    []Tensor                // of the checkpoint
	claims     [][]claim               // per tensor
	declared   schema.Declared
	quants     map[string]encoding.Encoding // by stem without the layout's wrapper; integers have none
	out        Binding

	missing    []absence // findings, by kind
	gaps       []gap     // beside missing: parameters of which some tensors are there
	badStorage []string
	bad        map[*Tensor]bool // weights that badStorage speaks of
	unclaimed  []absence
	twice      []string
	doubled    []string
	disagree   []string
}

// matrix is a parameter's size as its views see it.
type matrix struct {
	lead       int // leading dimension of three, else 1
	rows, cols int // all rows
	dims       []int64
	integer    bool
}

func matrixOf(t ir.Type) matrix {
	m := matrix{lead: 1, rows: 1, integer: t.Elem == ir.I32}
	for _, d := range t.Shape {
		n, _ := d.Value() // the verifier knows parameters are constant
		m.dims = append(m.dims, n)
	}
	m.cols = int(m.dims[len(m.dims)-1])
	for _, d := range m.dims[:len(m.dims)-1] {
		m.rows *= int(d)
	}
	if len(m.dims) == 3 {
		m.lead = int(m.dims[0])
	}
	return m
}

func newBinder(c *Checkpoint, m schema.Model, layout *schema.Layout) *binder {
	b := &binder{
		checkpoint: c, layout: layout, rules: map[string]*schema.Rule{}, shapes: map[string]matrix{}, declared: m.Declared,
		index: make(map[string]int, len(c.tensors)), tensors: c.tensors, claims: make([][]claim, len(c.tensors)), bad: map[*Tensor]bool{}, quants: map[string]encoding.Encoding{},
		out: Binding{Layout: layout.Name, Params: make([]Param, 0, len(m.Graph.Params)), Notes: slices.Clone(c.Notes)},
	}
	for i := range layout.Rules {
		b.rules[layout.Rules[i].Param] = &layout.Rules[i]
	}
	for i := range c.tensors {
		b.index[c.tensors[i].Name] = i
	}
	for _, p := range m.Graph.Params {
		b.shapes[p.Name] = matrixOf(p.Type)
	}
	return b
}

// param binds one parameter of the graph.
func (b *binder) param(p *ir.Param) {
	pattern, layer := schema.Generalise(p.Name)
	rule := b.rules[pattern]
	if rule == nil {
		b.missing = append(b.missing, absence{p.Name, p.Name + ": layout " + b.layout.Name + " has no rule for it"})
		return
	}
	m := b.shapes[p.Name]
	place := b.choose(rule, layer, m)
	if place == nil {
		var names []string
		for _, pl := range rule.Places {
			names = append(names, pl.Expected(p.Name, pl.At(layer, 0)))
		}
		b.lacksAll(rule.Places, layer, m, names[0])
		text := fmt.Sprintf("%s %v: looked for %s", p.Name, m.dims, strings.Join(names, " or "))
		for _, pl := range rule.Places {
			text += b.orphans(pl.At(layer, 0))
		}
		b.missing = append(b.missing, absence{names[0], text})
		return
	}
	out := Param{Name: p.Name, Rows: m.rows, Cols: m.cols, Integer: m.integer, Place: *place, checkpoint: b.checkpoint}
	if place.PerIndex() {
		b.bindEach(&out, *place, layer, m)
	} else {
		b.bindWhole(&out, *place, layer, m)
	}
	if place.Note != "" && !slices.Contains(b.out.Forms, place.Note) {
		b.out.Forms = append(b.out.Forms, place.Note)
	}
	b.out.Params = append(b.out.Params, out)
}

// recognise picks the layout, or notes that there is none and returns nil.
func recognise(tensors []Tensor, layouts []schema.Layout, findings *Findings) *schema.Layout {
	if layout := schema.Recognise(layouts, tensors); layout != nil {
		return layout
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

// choose picks the first place of which the checkpoint has any tensor.
func (b *binder) choose(rule *schema.Rule, layer string, m matrix) *schema.Place {
	for i := range rule.Places {
		pl := &rule.Places[i]
		n := 1
		if pl.PerIndex() {
			n = int(m.dims[0])
		}
		for k := range n {
			if w, _ := b.find(pl.At(layer, k)); w != nil {
				return pl
			}
		}
	}
	return nil
}

// find looks up the weight of a stem, and if there is one its companions.
func (b *binder) find(stem string) (weight *Tensor, planes [3]*Tensor) {
	weight = b.tensor(stem + ".weight")
	if weight == nil {
		weight = b.tensor(stem)
	}
	if weight == nil {
		return nil, planes
	}
	planes = b.companionsOf(stem)
	planes[encoding.Weight] = weight
	return weight, planes
}

// companions are the names under which a weight's scales and biases lie
// beside it, by the suffixes that converters use.
var companions = [...]struct{ scales, biases string }{
	{".scale", ""},            // DeepSeek
	{".scales", ".biases"},    // MLX
	{".weight_scale_inv", ""}, // transformers, DeepSeek before V4; despite the name it multiplies
	{"_scale_inv", ""},        // transformers' stacked experts, which have no ".weight"
	{".weight_scale", ""},     // Quark, compressed-tensors
}

// companionsOf finds scales and biases in one spelling; if a second one
// exists too, its tensors stay without a place.
func (b *binder) companionsOf(stem string) (planes [3]*Tensor) {
	for _, c := range companions {
		if s := b.tensor(stem + c.scales); s != nil {
			planes[encoding.Scales] = s
		}
		if c.biases != "" {
			planes[encoding.Biases] = b.tensor(stem + c.biases)
		}
		if planes != [3]*Tensor{} {
			break
		}
	}
	return planes
}

// orphans tells of companions of a missing weight, which are then accounted for.
func (b *binder) orphans(stem string) string {
	planes := b.companionsOf(stem)
	b.claimAll(planes)
	var found []string
	for _, t := range planes {
		if t != nil {
			found = append(found, describe(t))
		}
	}
	if found == nil {
		return ""
	}
	return "; found only " + strings.Join(found, " and ")
}

func (b *binder) tensor(name string) *Tensor {
	if i, ok := b.index[name]; ok {
		return &b.tensors[i]
	}
	return nil
}

// bindEach binds one stored tensor to each index of the leading dimension.
func (b *binder) bindEach(out *Param, place schema.Place, layer string, m matrix) {
	per := m.rows / int(m.dims[0])
	for n := range int(m.dims[0]) {
		stem := place.At(layer, n)
		if w, _ := b.find(stem); w == nil {
			name := place.Expected(out.Name, stem)
			b.lacks(place, layer, int(m.dims[0]), n, name)
			b.missing = append(b.missing, absence{name, fmt.Sprintf("%s[%d] [%d %d]: looked for %s%s", out.Name, n, per, m.cols, name, b.orphans(stem))})
			continue
		}
		v, ok := b.stored(out.Name, stem, matrix{lead: 1, rows: per, cols: m.cols, dims: []int64{int64(per), int64(m.cols)}, integer: m.integer})
		if !ok {
			continue
		}
		v.First, v.Rows = n*per, per
		b.claim(v)
		out.Views = append(out.Views, v)
	}
}

// bindWhole binds one stored tensor, or this parameter's share of the rows of
// a fused one.
func (b *binder) bindWhole(out *Param, place schema.Place, layer string, m matrix) {
	before, total, ok := b.share(out.Name, place, layer, m)
	if !ok {
		return
	}
	per := m.rows / m.lead // this parameter's rows of each leading index
	whole := m
	whole.rows = total * m.lead
	if len(place.Fused) > 0 {
		whole.dims = slices.Clone(m.dims)
		whole.dims[len(m.dims)-2] = int64(total)
	}
	v, ok := b.stored(place.Tenants(out.Name, layer), place.At(layer, 0), whole)
	if !ok {
		return
	}
	if per == total {
		v.Rows = m.rows
		b.claim(v)
		out.Views = []View{v}
		return
	}
	for n := range m.lead {
		part := v
		part.First, part.Rows, part.StoredFirst = n*per, per, n*total+before
		b.claim(part)
		out.Views = append(out.Views, part)
	}
}

// share finds a parameter's place among those fused with it: the rows before
// it and the rows of all, per leading index.
func (b *binder) share(name string, place schema.Place, layer string, m matrix) (before, total int, ok bool) {
	if len(place.Fused) == 0 {
		return 0, m.rows / m.lead, true
	}
	found := false
	for _, pattern := range place.Fused {
		other := schema.Fill(pattern, layer)
		o, known := b.shapes[other]
		if !known {
			b.missing = append(b.missing, absence{other, fmt.Sprintf("%s: is stored together with %s, which the graph lacks", name, other)})
			return 0, 0, false
		}
		if other == name {
			found, before = true, total
		}
		total += o.rows / o.lead
	}
	return before, total, found
}
