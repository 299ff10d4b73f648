package lower

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/attr"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Memo lowers regions and remembers them: the layers of a model repeat, and a
// region that differs from an earlier one in names alone gets that one's
// kernels with its own arguments. Good for one module, kind of step and target.
type Memo struct {
	known map[string]*lowered
}

type lowered struct {
	named    named
	launches []program.Launch
}

// named lists what a region names, in its order.
type named struct {
	values []*ir.Value
	params []string
	states []string
}

// NewMemo starts an empty memory.
func NewMemo() *Memo { return &Memo{known: map[string]*lowered{}} }

// Lower is the function Lower, with memory.
func (m *Memo) Lower(in *Input) ([]program.Launch, error) {
	key, mine := in.signature()
	if have := m.known[key]; have != nil {
		return have.renamed(in.Region.Name, mine), nil
	}
	launches, err := Lower(in)
	if err != nil {
		return nil, err
	}
	m.known[key] = &lowered{mine, launches}
	return launches, nil
}

// signature says all of a region that its kernels depend on, with values,
// parameters and states numbered in the order of their first mention.
func (in *Input) signature() (string, named) {
	s := signer{in: in, values: map[*ir.Value]int{}, params: map[string]int{}, states: map[string]int{}}
	fmt.Fprintf(&s.text, "%s %s\n", in.Region.Kind, in.kernelName(""))
	for _, n := range in.Module.Body(in.Region) {
		s.node(n)
	}
	for _, y := range in.Region.Yields {
		fmt.Fprintf(&s.text, " y%d", s.values[y])
	}
	return s.text.String(), s.things
}

type signer struct {
	in     *Input
	text   strings.Builder
	things named
	values map[*ir.Value]int
	params map[string]int
	states map[string]int
}

func (s *signer) value(v *ir.Value) {
	i, seen := s.values[v]
	if !seen {
		i = len(s.things.values)
		s.values[v] = i
		s.things.values = append(s.things.values, v)
		name := ""
		if v.Def == nil {
			name = v.Name // a step's input means what it is called
		}
		fmt.Fprintf(&s.text, " v%d:%s:%s", i, v.Type, name)
		return
	}
	fmt.Fprintf(&s.text, " v%d", i)
}

func (s *signer) node(n *ir.Node) {
	s.text.WriteString(n.Op.Name)
	switch {
	case n.Symbol == "":
	case n.Op == ops.State:
		s.state(n.Symbol)
	default:
		s.param(n.Symbol)
	}
	for _, a := range n.Args {
		s.value(a)
		if a.Type.State && a.Def != nil {
			s.state(stateOf(a))
		}
	}
	for _, f := range attr.Fields(n.Attr) {
		fmt.Fprintf(&s.text, " %s=%s", f.Name, f.Text)
	}
	s.value(n.Result)
	s.text.WriteByte('\n')
}

// stateOf is the name of the state a version is of.
func stateOf(v *ir.Value) string {
	for v.Def.Op != ops.State {
		v = v.Def.Args[0]
	}
	return v.Def.Symbol
}

func (s *signer) state(name string) {
	i, seen := s.states[name]
	if !seen {
		i = len(s.things.states)
		s.states[name] = i
		s.things.states = append(s.things.states, name)
		if c := s.in.Caches[name]; c != nil {
			fmt.Fprintf(&s.text, " @s%d:%s:%d:%d:%v:%d:%v", i, c.Row.Format.Name(), c.Row.Width, c.Capacity, c.Ring, c.Slots, c.Area)
			return
		}
	}
	fmt.Fprintf(&s.text, " @s%d", i)
}

// param describes how a parameter is stored, as far as kernels care.
func (s *signer) param(name string) {
	i, seen := s.params[name]
	if seen {
		fmt.Fprintf(&s.text, " @p%d", i)
		return
	}
	i = len(s.things.params)
	s.params[name] = i
	s.things.params = append(s.things.params, name)
	p := s.in.Params[name]
	if p == nil {
		fmt.Fprintf(&s.text, " @p%d:%s", i, name)
		return
	}
	enc := string(p.Integer)
	if p.Encoding != nil {
		enc = p.Encoding.Name()
	}
	fmt.Fprintf(&s.text, " @p%d:%s:%d:%d:%d:%d:%d", i, enc, p.Rows, p.Cols, p.Lead, len(p.Pieces), p.Pieces[0].StoredFirst)
	if p.Columns != (storage.Columns{}) {
		fmt.Fprintf(&s.text, ":%v", p.Columns)
	}
	for _, r := range []encoding.Role{encoding.Weight, encoding.Scales, encoding.Biases} {
		low := 0 // bits of any piece's start below what is read at once
		for n := range p.Pieces {
			low |= p.Skew(n, r) % (4 * wideWords)
		}
		fmt.Fprintf(&s.text, ":%d", low&-low)
	}
}

// renamed gives the launches to another region of the same signature.
func (l *lowered) renamed(region string, to named) []program.Launch {
	values, names := map[*ir.Value]*ir.Value{}, map[string]string{}
	for i, v := range l.named.values {
		values[v] = to.values[i]
	}
	for i, p := range l.named.params {
		names["p"+p] = to.params[i]
	}
	for i, s := range l.named.states {
		names["s"+s] = to.states[i]
	}
	scratch := map[*program.Scratch]*program.Scratch{}
	out := make([]program.Launch, len(l.launches))
	for i, x := range l.launches {
		x.Region = region
		args := make([]program.Arg, len(x.Args))
		for j, a := range x.Args {
			switch {
			case a.Value != nil:
				a.Value = values[a.Value]
			case a.Scratch != nil && a.Scratch.Held: // one for all
			case a.Scratch != nil:
				if scratch[a.Scratch] == nil {
					same := *a.Scratch
					scratch[a.Scratch] = &same
				}
				a.Scratch = scratch[a.Scratch]
			case a.Weight != nil:
				w := *a.Weight
				w.Param = names["p"+w.Param]
				a.Weight = &w
			case a.State != "":
				a.State = names["s"+a.State]
			}
			if a.Shift != "" {
				a.Shift = names["p"+a.Shift]
			}
			args[j] = a
		}
		x.Args = args
		out[i] = x
	}
	return out
}
