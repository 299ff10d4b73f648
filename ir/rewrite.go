package ir

// Rebuild is a module being made from another one: a Builder that knows which
// of its values stand for the old ones. Rewrite and Regroup use it.
type Rebuild struct {
	*Builder
	values  map[*Value]*Value // old to new
	dropped map[*Value]bool   // old
}

// newRebuild starts a module with another's name, symbols, inputs, parameters
// and states. Parameters and states are copied, so setting a field of the new
// ones leaves the old module alone.
func newRebuild(m *Module) *Rebuild {
	b := &Rebuild{NewBuilder(m.Name, m.Symbols...), map[*Value]*Value{}, map[*Value]bool{}}
	for _, in := range m.Inputs {
		b.values[in] = b.Input(in.Name, in.Type)
	}
	for _, p := range m.Params {
		b.Param(*p)
	}
	for _, s := range m.States {
		b.State(*s)
	}
	return b
}

// Value returns what stands for a value of the old module, which must have
// been rewritten already. A dropped or unknown one is an error that sticks.
func (b *Rebuild) Value(old *Value) *Value {
	v := b.values[old]
	switch {
	case v != nil:
		return v
	case b.dropped[old]:
		b.Fail("%s was dropped and is used", old.Ref())
	default:
		b.Fail("%s is used before it is rewritten", old.Ref())
	}
	return &Value{}
}

// Copy adds an old node with what stands for its operands.
func (b *Rebuild) Copy(n *Node) *Value {
	args := make([]*Value, len(n.Args))
	for i, a := range n.Args {
		args[i] = b.Value(a)
	}
	return b.AddNaming(n.Op, n.Attr, n.Symbol, args...)
}

// Drop leaves an old node out: a Rewrite's callback returns Drop(n). Its
// result must not be used by a later node or be a result of the module.
func (b *Rebuild) Drop(n *Node) *Value {
	b.dropped[n.Result] = true
	return nil
}

// place lets callback replace a node.
func (b *Rebuild) place(n *Node, callback func(*Rebuild, *Node) *Value) {
	first := b.nextID
	v := callback(b, n)
	if v == nil && !b.dropped[n.Result] {
		v = b.Copy(n)
	}
	if v == nil || b.err != nil {
		return
	}
	b.values[n.Result] = v
	if name := n.Result.Name; name != "" && v.Name == "" && v.ID >= first && !b.names[name] {
		b.Name(v, name)
	}
}

// finish sets the results and verifies.
func (b *Rebuild) finish(m *Module) (*Module, error) {
	results := make([]*Value, len(m.Results))
	for i, r := range m.Results {
		results[i] = b.Value(r)
	}
	b.Return(results...)
	return b.Module()
}

// Rewrite makes a new module from m, node by node in order. For each node
// callback may add other nodes to b and return the value that takes the place
// of n's result; nil copies the node, b.Drop(n) leaves it out. Old operands are
// translated by b.Value.
//
// The name, symbols, inputs, parameters, states and regions stay; what callback
// adds for a node of a region is in that region, and a region of which nothing
// is left goes. What regions yield is computed anew. A new value takes over its
// node's name unless callback gave that name, or another one, away. Nodes whose
// result is no longer used stay. Errors are those of the Builder and of Verify.
func Rewrite(m *Module, callback func(b *Rebuild, n *Node) *Value) (*Module, error) {
	b := newRebuild(m)
	place := func(nodes []*Node) {
		for _, n := range nodes {
			b.place(n, callback)
		}
	}
	at := 0
	for _, r := range m.Regions {
		place(m.Nodes[at:r.From])
		b.rebuildRegion(r.Kind, r.Name, func() { place(m.Body(r)) })
		at = r.To
	}
	place(m.Nodes[at:])
	return b.finish(m)
}

// rebuildRegion is Region, but leaves out one that holds nothing.
func (b *Rebuild) rebuildRegion(kind, name string, body func()) {
	if r := b.Region(kind, name, body); r.From == r.To && b.err == nil {
		b.m.Regions = b.m.Regions[:len(b.m.Regions)-1]
	}
}
