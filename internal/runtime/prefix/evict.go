package prefix

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// halfLife is after how long without use a hit counts half.
const halfLife = 6 * time.Hour

// weights are what an entry of each kind is worth beside one of another that saves as much.
// A shared head serves all conversations that begin with it.
var weights = [kinds]float64{Stride: 1, Prompt: 2, Text: 3, Head: 8}

// candidate is an entry that may go.
type candidate struct {
	f         *frontier
	overtaken bool // its conversation has a later one
	worth     float64
}

// makeRoom sees that so many bytes are free: if they are not, entries go until a tenth of
// the room is free beyond them, so that not every entry costs another. It reports false, and
// nothing went, if what is held leaves too little.
func (t *Tree) makeRoom(need int64) bool {
	taken, room := t.dev.Room()
	if need > room {
		return false
	}
	if need <= room-taken {
		return true
	}
	if need > room-t.held() {
		t.newest = nil // or it would be the only one for ever
		if need > room-t.held() {
			return false
		}
	}
	for {
		taken, _ := t.dev.Room()
		if need <= room-taken-room/10 {
			return true
		}
		all := t.candidates()
		if len(all) == 0 {
			return need <= room-taken
		}
		f := slices.MinFunc(all, func(a, b candidate) int {
			if a.overtaken != b.overtaken {
				return map[bool]int{true: -1, false: 1}[a.overtaken]
			}
			return cmp.Or(cmp.Compare(a.worth, b.worth), a.f.used.Compare(b.f.used), cmp.Compare(b.f.at, a.f.at))
		}).f
		t.gone.add(f.node.tokens(f.at))
		t.stats.Evictions++
		t.remove(f)
	}
}

// stays tells whether an entry may not go.
func (t *Tree) stays(f *frontier) bool { return f.holds > 0 || f == t.newest }

// held is what entries that stay take, and pages that entries in the making need.
func (t *Tree) held() (bytes int64) {
	needed := map[*page]int{} // by how many that may go
	t.root.each(func(n *node) {
		for _, f := range n.fronts {
			if t.stays(f) {
				bytes += f.bytes()
				continue
			}
			for _, p := range f.node.path(f.at) {
				needed[p]++
			}
		}
	})
	t.root.each(func(n *node) {
		for _, p := range n.pages {
			if p.uses > needed[p] {
				bytes += p.part.Bytes()
			}
		}
	})
	return bytes
}

// candidates are the entries that may go, with what each is worth.
func (t *Tree) candidates() (all []candidate) {
	now := t.opts.Now()
	t.below(t.root, func(f *frontier, later [kinds]bool) {
		if t.stays(f) {
			return
		}
		bytes := f.bytes()
		for _, p := range f.node.path(f.at) {
			if p.uses == 1 {
				bytes += p.part.Bytes()
			}
		}
		age := max(now.Sub(f.used), 0)
		again := float64(f.hits)*math.Exp2(-float64(age)/float64(halfLife)) + 1
		all = append(all, candidate{
			f:         f,
			overtaken: f.kind == Prompt && later[Prompt] || f.kind == Text && (later[Prompt] || later[Text]),
			worth:     again * weights[f.kind] * float64(f.at) / float64(max(bytes, 1)),
		})
	})
	return all
}

// below visits all entries from a node on, each with the kinds that come behind it in some
// text, and returns the kinds there are.
func (t *Tree) below(n *node, visit func(f *frontier, later [kinds]bool)) (there [kinds]bool) {
	for _, b := range n.below {
		for k, is := range t.below(b, visit) {
			there[k] = there[k] || is
		}
	}
	for _, f := range slices.Backward(n.fronts) {
		visit(f, there)
		there[f.kind] = true
	}
	return there
}

// tokens are those of a text up to a position in the node.
func (n *node) tokens(at int) []int32 {
	out := make([]int32, at)
	for ; n != nil; n = n.up {
		copy(out[min(n.from, at):], n.edge)
	}
	return out
}

// maxEvicted is how many entries that went are remembered.
const maxEvicted = 4096

// evicted remembers entries that went, to say so where one is missed.
type evicted struct {
	list []trace // a ring
	next int
	all  map[trace]int
}

// trace is a text's length and hash. Two of one hash would make a reason wrong, and nothing else.
type trace struct {
	at   int
	hash uint64
}

// FNV-1a, a token at a time.
const hashBegin = 14695981039346656037

func hashOn(h uint64, token int32) uint64 { return (h ^ uint64(uint32(token))) * 1099511628211 }

func (e *evicted) add(tokens []int32) {
	x := trace{len(tokens), hashBegin}
	for _, token := range tokens {
		x.hash = hashOn(x.hash, token)
	}
	if e.all == nil {
		e.all = map[trace]int{}
	}
	e.all[x]++
	if len(e.list) < maxEvicted {
		e.list = append(e.list, x)
		return
	}
	old := e.list[e.next]
	if e.all[old]--; e.all[old] == 0 {
		delete(e.all, old)
	}
	e.list[e.next] = x
	e.next = (e.next + 1) % maxEvicted
}

// longest is the longest beginning of a prompt that went, longer than some and at most as
// long as others.
func (e *evicted) longest(prompt []int32, more, most int) (at int, ok bool) {
	if len(e.list) == 0 {
		return 0, false
	}
	x := trace{0, hashBegin}
	for _, token := range prompt[:max(most, 0)] {
		x.at, x.hash = x.at+1, hashOn(x.hash, token)
		if x.at > more && e.all[x] > 0 {
			at, ok = x.at, true
		}
	}
	return at, ok
}
