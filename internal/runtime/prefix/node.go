package prefix

import (
	"slices"
	"time"

	"smelt.example/smelt/internal/runtime/device"
)

// node is an edge of the tree, with what lies on it: pages whose ends and frontiers whose
// positions are behind its first token, up to its last. Below it are those that go on otherwise.
type node struct {
	up     *node
	from   int // tokens before the edge
	edge   []int32
	below  map[int32]*node // by the first token of their edges
	pages  []*page         // in order
	fronts []*frontier     // in order
}

// page is the entries of Options.Page tokens.
type page struct {
	part device.Part
	end  int
	uses int // frontiers that need it, and entries in the making
}

// frontier is an entry of the tree: with the pages before it, a text up to a position.
type frontier struct {
	at   int
	kind Kind
	node *node
	part device.Part
	tail device.Part // entries since the last page; nil if there are none

	hits       int
	used       time.Time
	holds      int
	distrusted bool // not to be found any more
}

func (f *frontier) drop() {
	f.part.Drop()
	if f.tail != nil {
		f.tail.Drop()
	}
}

// bytes are its own.
func (f *frontier) bytes() int64 {
	n := f.part.Bytes()
	if f.tail != nil {
		n += f.tail.Bytes()
	}
	return n
}

func (n *node) end() int { return n.from + len(n.edge) }

// each visits a node and all below it, those first.
func (n *node) each(visit func(*node)) {
	for _, b := range n.below {
		b.each(visit)
	}
	visit(n)
}

// path are the pages of a text up to a position in the node, in order.
func (n *node) path(at int) (all []*page) {
	for ; n != nil; n = n.up {
		for _, p := range slices.Backward(n.pages) {
			if p.end <= at {
				all = append(all, p)
			}
		}
	}
	slices.Reverse(all)
	return all
}

// walk is how far the tree knows some tokens.
type walk struct {
	tokens  []int32
	matched int
	nodes   []*node // on the way, from the root; the last may be left in its middle
}

func (t *Tree) walk(tokens []int32) walk {
	w := walk{tokens: tokens, nodes: []*node{t.root}}
	for n := t.root; w.matched < len(tokens); {
		if n = n.below[tokens[w.matched]]; n == nil {
			break
		}
		w.nodes = append(w.nodes, n)
		same := 0
		for _, x := range n.edge {
			if w.matched+same == len(tokens) || tokens[w.matched+same] != x {
				break
			}
			same++
		}
		w.matched += same
		if same < len(n.edge) {
			break
		}
	}
	return w
}

// node is where the way ends.
func (w walk) node() *node { return w.nodes[len(w.nodes)-1] }

// last is the last frontier on the way at most so far, nil if there is none.
func (w walk) last(most int) *frontier {
	for _, n := range slices.Backward(w.nodes) {
		for _, f := range slices.Backward(n.fronts) {
			if f.at <= min(most, w.matched) && !f.distrusted {
				return f
			}
		}
	}
	return nil
}

// beyond is a frontier that the tree knows behind the end of the way, the nearest on one
// of the branches; nil if nothing goes on there.
func (w walk) beyond() *frontier {
	n := w.node()
	for {
		for _, f := range n.fronts {
			if f.at > w.matched {
				return f
			}
		}
		first := firstBelow(n)
		if first == nil {
			return nil
		}
		n = first
	}
}

// firstBelow is the branch with the smallest token: any would do, but the same each time.
func firstBelow(n *node) *node {
	var first *node
	for _, b := range n.below {
		if first == nil || b.edge[0] < first.edge[0] {
			first = b
		}
	}
	return first
}

// known are some tokens that the tree has where the way ends.
func (w walk) known(most int) (tokens []int32) {
	n, at := w.node(), w.matched
	for n != nil && len(tokens) < most {
		tokens = append(tokens, n.edge[at-n.from:]...)
		at = n.end()
		n = firstBelow(n)
	}
	return slices.Clone(tokens[:min(len(tokens), most)])
}

// distrusts tells whether there is an entry of exactly these tokens that nobody is to find.
func (t *Tree) distrusts(tokens []int32) bool {
	w := t.walk(tokens)
	return w.matched == len(tokens) && slices.ContainsFunc(w.node().fronts, func(f *frontier) bool { return f.at == len(tokens) })
}

// pin has the pages that begin a text stay while an entry is made of it.
func (t *Tree) pin(tokens []int32) []*page {
	w := t.walk(tokens)
	all := w.node().path(w.matched)
	for _, p := range all {
		p.uses++
	}
	return all
}

// unpin lets them go where nothing else needs them.
func (t *Tree) unpin(tokens []int32, all []*page) {
	for _, p := range all {
		p.uses--
	}
	n := t.walk(tokens).node()
	for up := n; up != nil; up = up.up {
		t.sweep(up)
	}
	t.prune(n)
}

// sweep drops pages of a node that nothing needs.
func (t *Tree) sweep(n *node) {
	n.pages = slices.DeleteFunc(n.pages, func(p *page) bool {
		if p.uses > 0 {
			return false
		}
		p.part.Drop()
		t.stats.Pages--
		return true
	})
}

// insert puts an entry into the tree whose first pages are there, and pinned; the others
// come with it.
func (t *Tree) insert(tokens []int32, f *frontier, pages []*page) {
	w := t.walk(tokens)
	n := w.node()
	if w.matched < n.end() {
		n = n.split(w.matched)
	}
	if w.matched < len(tokens) {
		leaf := &node{up: n, from: w.matched, edge: slices.Clone(tokens[w.matched:])}
		n.add(leaf)
		n = leaf
	}
	f.node = n
	at, _ := slices.BinarySearchFunc(n.fronts, f.at, func(x *frontier, at int) int { return x.at - at })
	n.fronts = slices.Insert(n.fronts, at, f)
	for _, p := range pages {
		on := n
		for p.end <= on.from {
			on = on.up
		}
		on.pages = append(on.pages, p) // those that were there end before it
	}
	t.stats.Frontiers++
	t.stats.Pages += len(pages)
}

func (n *node) add(b *node) {
	if n.below == nil {
		n.below = map[int32]*node{}
	}
	n.below[b.edge[0]] = b
}

// split makes two of a node, and returns the first, which ends at a position.
func (n *node) split(at int) *node {
	cut := at - n.from
	first := &node{up: n.up, from: n.from, edge: n.edge[:cut:cut]}
	n.up.below[n.edge[0]] = first
	n.up, n.from, n.edge = first, at, n.edge[cut:]
	first.add(n)
	i, j := 0, 0
	for i < len(n.pages) && n.pages[i].end <= at {
		i++
	}
	for j < len(n.fronts) && n.fronts[j].at <= at {
		j++
	}
	first.pages, n.pages = n.pages[:i:i], slices.Clone(n.pages[i:])
	first.fronts, n.fronts = n.fronts[:j:j], slices.Clone(n.fronts[j:])
	for _, f := range first.fronts {
		f.node = first
	}
	return first
}

// remove takes an entry out of the tree, and with it the pages that only it needs.
func (t *Tree) remove(f *frontier) {
	for _, p := range f.node.path(f.at) {
		p.uses--
	}
	n := f.node
	n.fronts = slices.DeleteFunc(n.fronts, func(x *frontier) bool { return x == f })
	f.drop()
	t.stats.Frontiers--
	if t.newest == f {
		t.newest = nil
	}
	for up := n; up != nil; up = up.up {
		t.sweep(up)
	}
	t.prune(n)
}

// prune takes away what a node has without need: the end of its edge if nothing lies
// there, itself if nothing is left, or the division from the only branch below.
func (t *Tree) prune(n *node) {
	for n.up != nil && len(n.below) == 0 {
		last := n.from
		if k := len(n.fronts); k > 0 {
			last = n.fronts[k-1].at
		}
		if k := len(n.pages); k > 0 { // of an entry in the making
			last = max(last, n.pages[k-1].end)
		}
		if last > n.from {
			n.edge = slices.Clone(n.edge[:last-n.from]) // the rest need not stay in memory
			return
		}
		delete(n.up.below, n.edge[0])
		n = n.up
	}
	if n.up != nil && len(n.below) == 1 {
		n.merge(firstBelow(n))
	}
}

// merge makes one node of a node and the only one below it.
func (n *node) merge(b *node) {
	n.edge = slices.Concat(n.edge, b.edge)
	n.pages = append(n.pages, b.pages...)
	n.fronts = append(n.fronts, b.fronts...)
	n.below = b.below
	for _, f := range b.fronts {
		f.node = n
	}
	for _, x := range n.below {
		x.up = n
	}
}
