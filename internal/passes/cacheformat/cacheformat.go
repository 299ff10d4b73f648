// Package cacheformat chooses how the states of a module are stored.
package cacheformat

import (
	"fmt"
	"slices"
	"strings"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Formats says how the rows that attention looks at, and the index keys that
// choose among them, are stored. Everything else a model keeps stays float32.
type Formats struct {
	Rows string // f32, bf16 or fp8 (fp8_b64_rN, N being the rotated elements)
	Keys string // f32, bf16 or fp4 (hadamard, then fp4_b32)
	// RopeExact keeps the rotated elements of fp8 rows as computed, where the
	// stored format rounds them to bf16: the model's own simulation, for
	// comparing with its outputs. Such rows are stored as f32.
	RopeExact bool
}

// Choice says how a state is stored and why, for reports.
type Choice struct{ State, Format, Why string }

// String is the choice on one line.
func (c Choice) String() string { return fmt.Sprintf("@%s: %s (%s)", c.State, c.Format, c.Why) }

// Choose sets the stored format of every state and rounds, before each
// append, the rows to what that format holds, so that a module's values are
// those a device computes with its caches in that format.
//
// It knows states by their use alone. Rows are rotated (appended from a rope)
// and their products with something lead to a softmax with sink. Keys are
// rotated, and their only use is one product that goes through a relu into topk; with
// Keys = fp4 both sides of that product are transformed by hadamard, which keeps it, and
// rounded in blocks of 32 (docs/model.md#simulated-formats). The choices are listed in the order of the states.
//
// Errors: an unknown format, a width that the format cannot have, and a module
// whose states have formats already.
func Choose(m *ir.Module, f Formats) (*ir.Module, []Choice, error) {
	if err := f.Check(); err != nil {
		return nil, nil, err
	}
	p := &cachePass{formats: f, uses: usesOf(m), results: m.Results, appends: map[*ir.Node]rounding{}, queries: map[*ir.Node]query{}}
	var choices []Choice
	for _, s := range m.States {
		if s.Stored != "" {
			return nil, nil, fmt.Errorf("state @%s is stored as %s already; cache formats are chosen once", s.Name, s.Stored)
		}
		c, err := p.choose(m, s)
		if err != nil {
			return nil, nil, fmt.Errorf("state @%s: %w", s.Name, err)
		}
		choices = append(choices, c)
	}
	out, err := ir.Rewrite(m, p.rewrite)
	if err != nil {
		return nil, nil, err
	}
	for i, c := range choices {
		out.States[i].Stored = c.Format
	}
	return out, choices, nil
}

// cachePass is one run of the pass.
type cachePass struct {
	formats Formats
	uses    map[*ir.Value][]*ir.Node
	results []*ir.Value
	appends map[*ir.Node]rounding // of the appended rows
	queries map[*ir.Node]query    // by the product
}

// rounding says what happens to a vector before it is stored or compared.
type rounding struct {
	hadamard bool
	name     string                // of the rounded value: tests look at it, and put it in the place of another
	segments []encoding.RowSegment // those whose kind is not f32
}

// query is the operand of a product that meets keys.
type query struct {
	operand  int
	rounding rounding
}

// usesOf lists the nodes that use each value, in order.
func usesOf(m *ir.Module) map[*ir.Value][]*ir.Node {
	uses := map[*ir.Value][]*ir.Node{}
	for _, n := range m.Nodes {
		for _, a := range n.Args {
			if u := uses[a]; len(u) == 0 || u[len(u)-1] != n {
				uses[a] = append(u, n)
			}
		}
	}
	return uses
}

// choose decides on one state and notes what to rewrite.
func (p *cachePass) choose(m *ir.Module, s *ir.State) (Choice, error) {
	appends, reads := p.line(m, s.Name)
	width, _ := s.Row.Shape[0].Value()
	rope := rotated(appends)
	var (
		format, why string
		r           rounding
		err         error
	)
	switch products := p.keyProducts(reads); {
	case rope == 0 || s.Row.Rank() != 1:
		return Choice{s.Name, "f32", "its rows are not rotated vectors"}, nil
	case products != nil:
		why = "index keys: their product goes through a relu into topk"
		format, r, err = p.formats.keys(int(width))
		for n, operand := range products {
			if r.hadamard {
				meets := r
				if len(products) == 1 {
					meets.name = s.Name + ".query"
				}
				p.queries[n] = query{operand, meets}
			}
		}
	case p.attended(reads):
		why = "attended rows: their product goes into a softmax with sink"
		format, r, err = p.formats.rows(int(width), rope)
		if format == "f32" && len(r.segments) > 0 {
			why += "; rounded to fp8 but for the rotated elements"
		}
	default:
		return Choice{s.Name, "f32", "rotated, but neither attention nor an index reads it"}, nil
	}
	r.name = s.Name + ".row"
	for i, n := range appends {
		if i > 0 {
			r.name = ""
		}
		p.appends[n] = r
	}
	return Choice{s.Name, format, why}, err
}

// line collects what appends to and what reads any version of a state.
func (p *cachePass) line(m *ir.Module, name string) (appends, reads []*ir.Node) {
	var version *ir.Value
	for _, n := range m.Nodes {
		if n.Op == ops.State && n.Symbol == name {
			version = n.Result
		}
	}
	for version != nil {
		var next *ir.Value
		for _, n := range p.uses[version] {
			switch n.Op {
			case ops.Append:
				appends, next = append(appends, n), n.Result
			case ops.Read:
				reads = append(reads, n)
			}
		}
		version = next
	}
	return appends, reads
}

// rotated counts the elements that a rope turned in every appended row; 0 if rows differ.
func rotated(appends []*ir.Node) (dims int) {
	for i, a := range appends {
		def := a.Args[3].Def
		if def == nil || def.Op != ops.Rope {
			return 0
		}
		d := def.Attr.(ops.RopeAttr).Dims
		if i > 0 && d != dims {
			return 0
		}
		dims = d
	}
	return dims
}

// keyProducts returns the products that use what is read, each with the operand that is
// not the keys. It returns nil unless all uses are products over the last axis of both
// operands that go through a relu into topk.
func (p *cachePass) keyProducts(reads []*ir.Node) map[*ir.Node]int {
	products := map[*ir.Node]int{}
	for _, r := range reads {
		if slices.Contains(p.results, r.Result) {
			return nil
		}
		for _, n := range p.uses[r.Result] {
			if n.Op != ops.Einsum || !overLastAxes(n) || n.Args[0] == n.Args[1] || !p.selects(n) {
				return nil
			}
			products[n] = 0
			if n.Args[0] == r.Result {
				products[n] = 1
			}
		}
	}
	if len(products) == 0 {
		return nil
	}
	return products
}

// overLastAxes reports whether an einsum sums over the last axis of both operands.
func overLastAxes(n *ir.Node) bool {
	operands, result, _ := strings.Cut(n.Attr.(ops.EinsumAttr).Spec, "->")
	a, b, _ := strings.Cut(operands, ",")
	last := a[len(a)-1:]
	return strings.HasSuffix(b, last) && !strings.Contains(result, last)
}

// selects reports whether all uses of a product are relus that lead to topk.
func (p *cachePass) selects(product *ir.Node) bool {
	if slices.Contains(p.results, product.Result) {
		return false
	}
	for _, u := range p.uses[product.Result] {
		if u.Op != ops.Relu || !p.leadsTo(u, ops.TopK, ops.Einsum, ops.Mul, ops.Scale, ops.ReduceSum) {
			return false
		}
	}
	return len(p.uses[product.Result]) > 0
}

// attended reports whether products of what is read lead to a softmax with sink.
func (p *cachePass) attended(reads []*ir.Node) bool {
	return slices.ContainsFunc(reads, func(r *ir.Node) bool {
		return p.leadsTo(r, ops.SinkSoftmax, ops.Concat, ops.Einsum, ops.Scale, ops.Mask)
	})
}

// leadsTo reports whether n's result reaches the operation end through
// operations of via alone.
func (p *cachePass) leadsTo(n *ir.Node, end *ir.Op, via ...*ir.Op) bool {
	return slices.ContainsFunc(p.uses[n.Result], func(u *ir.Node) bool {
		return u.Op == end || slices.Contains(via, u.Op) && p.leadsTo(u, end, via...)
	})
}

// Check refuses names that are no format of rows or of keys.
func (f Formats) Check() error {
	switch {
	case !slices.Contains([]string{"f32", "bf16", "fp8"}, f.Rows):
		return fmt.Errorf("cache formats: expected rows as f32, bf16 or fp8, found %q", f.Rows)
	case !slices.Contains([]string{"f32", "bf16", "fp4"}, f.Keys):
		return fmt.Errorf("cache formats: expected index keys as f32, bf16 or fp4, found %q", f.Keys)
	}
	return nil
}

// keys is the stored format of index keys of that width and its rounding.
func (f Formats) keys(width int) (format string, r rounding, err error) {
	format = f.Keys
	if format == "fp4" {
		format, r.hadamard = "fp4_b32", true
		if width&(width-1) != 0 {
			return format, r, fmt.Errorf("expected index keys of a power of two of elements for fp4 (hadamard), found %d; keep them as bf16", width)
		}
	}
	r.segments, err = segments(format, width)
	return format, r, err
}

// rows is the stored format of attended rows and its rounding.
func (f Formats) rows(width, rope int) (format string, r rounding, err error) {
	format = f.Rows
	if format == "fp8" {
		format = fmt.Sprintf("fp8_b64_r%d", rope)
	}
	r.segments, err = segments(format, width)
	if f.Rows == "fp8" && f.RopeExact {
		format = "f32"
		r.segments = slices.DeleteFunc(r.segments, func(s encoding.RowSegment) bool { return s.Kind == encoding.RowBF16 })
	}
	return format, r, err
}

// segments lists the parts of a row that its format rounds.
func segments(format string, width int) ([]encoding.RowSegment, error) {
	f, err := encoding.ParseRow(format)
	if err != nil {
		return nil, err
	}
	l, err := f.Layout(width)
	return slices.DeleteFunc(l.Segments, func(s encoding.RowSegment) bool { return s.Kind == encoding.RowF32 }), err
}

// rewrite rounds what is appended and what meets the keys.
func (p *cachePass) rewrite(b *ir.Rebuild, n *ir.Node) *ir.Value {
	args := make([]*ir.Value, len(n.Args))
	for i, a := range n.Args {
		args[i] = b.Value(a)
	}
	if r, ok := p.appends[n]; ok {
		args[3] = r.add(b, args[3])
	} else if q, ok := p.queries[n]; ok {
		args[q.operand] = q.rounding.add(b, args[q.operand])
	} else {
		return nil
	}
	return b.AddNaming(n.Op, n.Attr, n.Symbol, args...)
}

// add applies the rounding to the last axis of x.
func (r rounding) add(b *ir.Rebuild, x *ir.Value) *ir.Value {
	from := x
	if r.hadamard {
		x = b.Add(ops.Hadamard, nil, x)
	}
	for _, s := range r.segments {
		x = b.Add(ops.RoundTo, ops.RoundAttr{Format: string(s.Kind), Block: s.Block, From: s.FirstElement, Count: s.Count}, x)
	}
	if r.name != "" && x != from {
		b.Name(x, r.name)
	}
	return x
}
