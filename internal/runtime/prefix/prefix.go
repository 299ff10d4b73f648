// Package prefix keeps beginnings of texts, as a device has computed them, in a tree: what
// a prompt begins with need not be computed again. Edges of the tree are tokens. A page is
// what the tokens of a piece of a text added to the states that grow; texts that begin alike
// share their pages. A frontier is what a position needs of the states that roll, so a text can be
// gone on with only where there is one. It is kept with the entries since the last whole page.
package prefix

import (
	"errors"
	"fmt"
	"time"

	"smelt.example/smelt/internal/runtime/device"
)

// Kind is the kind of place that a frontier was taken at. Of entries of equal worth those of
// an earlier kind go first.
type Kind uint8

const (
	Stride Kind = iota // every so many tokens of a long prompt
	Prompt             // before the last token of a prompt
	Text               // where a text ended
	Head               // the end of what prompts of one kind begin with
	kinds
)

// String says where a frontier is.
func (k Kind) String() string {
	return [...]string{"the middle of a prompt", "a prompt", "a text that ended", "a shared head"}[k]
}

// Word is the kind in a word, for counters.
func (k Kind) Word() string { return [...]string{"stride", "prompt", "text", "head"}[k] }

// Options size a tree. The zero value is ready for use.
type Options struct {
	// Page is how many tokens a page has; 0 means 2,048.
	Page int
	// Stride is after how many tokens a long prompt has frontiers; 0 means 4,096.
	Stride int
	// Now is the clock; nil means the machine's.
	Now func() time.Time
}

// Defaults of Options.
const (
	DefaultPage   = 2048
	DefaultStride = 4096
)

// Complete fills in the defaults.
func (o Options) Complete() (Options, error) {
	if o.Page == 0 {
		o.Page = DefaultPage
	}
	if o.Stride == 0 {
		o.Stride = DefaultStride
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Page < 1 || o.Stride < 1 {
		return o, fmt.Errorf("prefix: pages of %d tokens and a stride of %d must be 1 or more", o.Page, o.Stride)
	}
	return o, nil
}

// Tree has what is kept on one device, within the device's Room. It is not safe for
// concurrent use.
type Tree struct {
	dev    device.Keeper
	opts   Options
	root   *node
	newest *frontier // the entry written last, which goes after all others
	gone   evicted
	stats  Stats
}

// New makes an empty tree. The parts that the device keeps are the tree's from now on.
func New(dev device.Keeper, o Options) (*Tree, error) {
	o, err := o.Complete()
	if err != nil {
		return nil, err
	}
	return &Tree{dev: dev, opts: o, root: &node{}}, nil
}

// Stats count what became of lookups, from the beginning, and what there is.
type Stats struct {
	// Hits are restored beginnings by the kind of their frontier, Reused the tokens in them.
	Hits   [kinds]uint64
	Reused uint64
	// Evictions are frontiers that went to make room, Refused those that found none, and
	// Dropped those that nobody trusted any more.
	Evictions, Refused, Dropped uint64
	// Restoring is how long it took to restore.
	Restoring        time.Duration
	Pages, Frontiers int
	Held             int // uses of frontiers that have not ended
	// Bytes are taken, of Room.
	Bytes, Room int64
}

// Kinds lists the kinds there are, in the order of Stats.Hits.
func Kinds() []Kind { return []Kind{Stride, Prompt, Text, Head} }

// Stats are the counts so far.
func (t *Tree) Stats() Stats {
	s := t.stats
	s.Bytes, s.Room = t.dev.Room()
	return s
}

// Hold is an entry that somebody uses: it stays until Release.
type Hold struct {
	t *Tree
	f *frontier
}

// Len is how many tokens the entry has.
func (h *Hold) Len() int { return h.f.at }

// Kind is where its frontier was taken.
func (h *Hold) Kind() Kind { return h.f.kind }

// Restore makes the entry a slot's sequence. On an error the slot is empty.
func (h *Hold) Restore(slot int32) error {
	f, begun := h.f, h.t.opts.Now()
	var entries []device.Part
	for _, p := range f.node.path(f.at) {
		entries = append(entries, p.part)
	}
	if f.tail != nil {
		entries = append(entries, f.tail)
	}
	if err := h.t.dev.Restore(slot, f.at, entries, f.part); err != nil {
		return err
	}
	f.hits++
	f.used = h.t.opts.Now()
	h.t.stats.Restoring += f.used.Sub(begun)
	h.t.stats.Hits[f.kind]++
	h.t.stats.Reused += uint64(f.at)
	return nil
}

// Release ends the use. Releasing again does nothing.
func (h *Hold) Release() {
	if h == nil || h.f == nil {
		return
	}
	f := h.f
	h.f = nil
	f.holds--
	h.t.stats.Held--
	if f.holds == 0 && f.distrusted {
		h.t.remove(f)
	}
}

// Drop is Release of an entry that is not to be restored again, by anybody.
func (h *Hold) Drop() {
	if h == nil || h.f == nil {
		return
	}
	if !h.f.distrusted {
		h.f.distrusted = true
		h.t.stats.Dropped++
	}
	h.Release()
}

// Find holds the longest beginning of a prompt that can be gone on with, at most all but
// its last token; nil if there is none. The end says where it ends, and why there.
func (t *Tree) Find(prompt []int32) (*Hold, End) {
	limit := len(prompt) - 1
	w := t.walk(prompt)
	e := End{Of: len(prompt), At: min(w.matched, max(limit, 0))}
	best := w.last(limit)
	if best != nil {
		e.Reused = best.at
	}
	at, was := t.gone.longest(prompt, e.Reused, limit)
	switch next := w.beyond(); {
	case e.Reused == limit:
		e.Reason = Whole
	case was:
		e.Reason, e.At = Evicted, at
	case w.matched == 0:
		e.Reason = Unknown
	case w.matched < limit && next != nil:
		e.Reason, e.Kind = Differs, next.kind
		e.Known = w.known(aroundTokens)
	case w.matched < limit:
		e.Reason = GoesOn
	default:
		e.Reason = NoFrontier
	}
	if best == nil {
		return nil, e
	}
	return t.hold(best), e
}

// Longest is how many tokens Find would find.
func (t *Tree) Longest(prompt []int32) int {
	if f := t.walk(prompt).last(len(prompt) - 1); f != nil {
		return f.at
	}
	return 0
}

// Has tells whether there is an entry of exactly these tokens.
func (t *Tree) Has(tokens []int32) bool {
	f := t.walk(tokens).last(len(tokens))
	return f != nil && f.at == len(tokens)
}

// Forget drops the entry of exactly these tokens, if there is one.
func (t *Tree) Forget(tokens []int32) {
	if f := t.walk(tokens).last(len(tokens)); f != nil && f.at == len(tokens) {
		t.hold(f).Drop()
	}
}

// Keep keeps what a slot has, which is these tokens and no more: of their pages those that
// are not kept yet, and a frontier. Other entries go if there is no room. The entry is held;
// it is nil, and no error, where no room could be made.
func (t *Tree) Keep(slot int32, tokens []int32, kind Kind) (*Hold, error) {
	at := len(tokens)
	if at == 0 {
		return nil, nil
	}
	if f := t.walk(tokens).last(at); f != nil && f.at == at {
		f.kind, f.used = max(f.kind, kind), t.opts.Now()
		return t.hold(f), nil
	} else if t.distrusts(tokens) { // and somebody still uses it
		return nil, nil
	}
	have := t.pin(tokens)
	if !t.makeRoom(t.bytes(len(have), at)) {
		t.unpin(tokens, have)
		t.stats.Refused++
		return nil, nil
	}
	f, pages, err := t.take(slot, len(have), at)
	if err != nil {
		t.unpin(tokens, have)
		if errors.Is(err, device.ErrNoRoom) {
			t.stats.Refused++
			return nil, nil
		}
		return nil, err
	}
	f.kind, f.used, f.hits = kind, t.opts.Now(), 1 // so that of two that nobody asked for the older goes
	t.insert(tokens, f, pages)
	t.newest = f
	h := t.hold(f)
	if kind == Stride {
		t.thin(f)
	}
	return h, nil
}

func (t *Tree) hold(f *frontier) *Hold {
	f.holds++
	t.stats.Held++
	return &Hold{t, f}
}

// bytes are what an entry takes beyond the pages that are there; all that there is, if it
// cannot be kept.
func (t *Tree) bytes(pages, at int) int64 {
	all := []int64{t.dev.FrontierBytes(at)}
	whole := at / t.opts.Page
	for i := pages; i < whole; i++ {
		all = append(all, t.dev.EntriesBytes(i*t.opts.Page, (i+1)*t.opts.Page))
	}
	if at > whole*t.opts.Page {
		all = append(all, t.dev.EntriesBytes(whole*t.opts.Page, at))
	}
	_, room := t.dev.Room()
	sum := int64(0)
	for _, n := range all {
		if n > room-sum {
			return room + 1
		}
		sum += n
	}
	return sum
}

// take has the device copy what an entry takes beyond the pages that are there. On an
// error nothing is taken.
func (t *Tree) take(slot int32, have, at int) (f *frontier, pages []*page, err error) {
	var taken []device.Part
	keep := func(from, to int) device.Part {
		if err != nil {
			return nil
		}
		var p device.Part
		if p, err = t.dev.KeepEntries(slot, from, to); err != nil {
			return nil
		}
		taken = append(taken, p)
		return p
	}
	f = &frontier{at: at}
	whole := at / t.opts.Page
	for i := have; i < whole; i++ {
		pages = append(pages, &page{part: keep(i*t.opts.Page, (i+1)*t.opts.Page), end: (i + 1) * t.opts.Page, uses: 1})
	}
	if from := whole * t.opts.Page; at > from {
		f.tail = keep(from, at)
	}
	if err == nil {
		f.part, err = t.dev.KeepFrontier(slot, at)
	}
	if err != nil {
		for _, p := range taken {
			p.Drop()
		}
		return nil, nil, err
	}
	return f, pages, nil
}

// maxStrides is how many strides a text keeps.
const maxStrides = 16

// thin takes strides away before one where a text has many: those that are left lie on a
// lattice whose step is a power of two of Options.Stride, and grows with the text. A step
// twice as long leaves some of those that are there, so no long piece is without.
func (t *Tree) thin(of *frontier) {
	step := t.opts.Stride
	for of.at/step > maxStrides {
		step *= 2
	}
	var off []*frontier
	for n := of.node; n != nil; n = n.up {
		for _, f := range n.fronts {
			if f.kind == Stride && f.at < of.at && f.at%step != 0 && f.holds == 0 {
				off = append(off, f)
			}
		}
	}
	for _, f := range off {
		t.remove(f)
	}
}

// Close drops everything. Entries that are still held must not be restored.
func (t *Tree) Close() {
	t.root.each(func(n *node) {
		for _, p := range n.pages {
			p.part.Drop()
		}
		for _, f := range n.fronts {
			f.drop()
			f.distrusted, f.holds = false, 0 // a late release does nothing
		}
	})
	t.root, t.newest = &node{}, nil
	t.stats.Pages, t.stats.Frontiers = 0, 0
}
