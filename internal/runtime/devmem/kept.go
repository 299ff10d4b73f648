package devmem

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"smelt.example/smelt/internal/codegen/plan"
)

// ErrNoRoom says that the memory for parts is taken.
var ErrNoRoom = errors.New("no room is left for what slots hold")

// KeptMemory copies between the memory of a plan's caches and that for parts, by offsets
// into each.
type KeptMemory interface {
	// Save copies n bytes of the caches into the memory for parts.
	Save(part, cache, n int64) error
	// Load copies them back.
	Load(part, cache, n int64) error
}

// Kept is memory beside a plan's caches, in which parts of what slots hold are kept, as
// device.Keeper says. Of which kind a state is, its cache says: rings roll, all others grow.
// A part has the rows of one cache after those of another, each in the order of positions,
// so that it depends on no slot and on no ring's size. Methods must not run beside a step.
type Kept struct {
	caches *Caches
	memory KeptMemory
	blocks *blocks
}

// A block is a fraction of the entries of so many tokens: what a part takes beyond its bytes
// is then little. Smaller blocks would make more copies, larger ones waste more.
const (
	blockTokens   = 2048
	blockFraction = 64
	leastBlock    = 4 << 10
	mostBlock     = 256 << 10
)

// NewKept is for memory of so many bytes, of which it uses whole blocks.
func NewKept(c *Caches, memory KeptMemory, bytes int64) (*Kept, error) {
	k := &Kept{caches: c, memory: memory}
	entries, err := k.entries(0, 0, min(blockTokens, c.plan.Context))
	if err != nil {
		return nil, err
	}
	fraction := max(total(entries)/blockFraction, 1)
	size := int64(1) << (bits.Len64(uint64(fraction)) - 1) // a power of two
	k.blocks = newBlocks(min(max(size, leastBlock), mostBlock), bytes)
	return k, nil
}

// KeptSizes are what a text of full context takes, kept beside its slot: its frontier, and
// its entries.
func KeptSizes(p *plan.Plan) (frontier, entries int64, err error) {
	k, err := NewKept(NewCaches(p, nil, nil), nil, 0)
	if err != nil {
		return 0, 0, err
	}
	return k.FrontierBytes(p.Context), k.EntriesBytes(0, p.Context), nil
}

// KeptPart is a part.
type KeptPart struct {
	kept     *Kept
	frontier bool
	from, to int // tokens of entries; both are a frontier's position
	runs     []run
	bytes    int64 // of the blocks
	dropped  bool
}

// Bytes is what the part takes, in whole blocks.
func (p *KeptPart) Bytes() int64 { return p.bytes }

// Drop gives the part's blocks back.
func (p *KeptPart) Drop() {
	if !p.dropped {
		p.kept.blocks.give(p.runs)
		p.dropped, p.runs = true, nil
	}
}

// span is n bytes of the caches, from an offset on.
type span struct{ at, n int64 }

func total(spans []span) (n int64) {
	for _, s := range spans {
		n += s.n
	}
	return n
}

// entries are where a slot has what the tokens from one position to before another added
// to the caches that grow.
func (k *Kept) entries(slot int32, from, to int) (spans []span, err error) {
	if from < 0 || to < from || to > k.caches.plan.Context {
		return nil, fmt.Errorf("entries of tokens %d to %d; expected some of the context of %d, in order", from, to, k.caches.plan.Context)
	}
	for _, c := range k.caches.plan.Caches {
		if c.Ring {
			continue
		}
		first, err := k.caches.rows(c, from)
		if err != nil {
			return nil, err
		}
		next, err := k.caches.rows(c, to)
		if err != nil {
			return nil, err
		}
		if next < first {
			return nil, fmt.Errorf("state @%s keeps %d rows of %d tokens and %d of %d: it does not grow", c.State.Name, first, from, next, to)
		}
		spans = append(spans, k.span(c, slot, first, next))
	}
	return spans, nil
}

// frontier is where a slot has the rows of rings that the token at a position looks back to.
func (k *Kept) frontier(slot int32, at int) (spans []span, err error) {
	if at < 0 || at > k.caches.plan.Context {
		return nil, fmt.Errorf("a frontier at %d; expected 0 to %d, the context", at, k.caches.plan.Context)
	}
	for _, c := range k.caches.plan.Caches {
		if !c.Ring {
			continue
		}
		first := at - looked(c, at)
		for first < at {
			row := first % c.Capacity
			n := min(at-first, c.Capacity-row)
			spans = append(spans, k.span(c, slot, row, row+n))
			first += n
		}
	}
	return spans, nil
}

// span is where a slot has rows of a cache, from one to before another.
func (k *Kept) span(c *plan.Cache, slot int32, from, to int) span {
	at, _ := k.caches.of(c, slot)
	bytes := int64(c.Row.Bytes)
	return span{at + int64(from)*bytes, int64(to-from) * bytes}
}

// EntriesBytes is what the entries of tokens from one position to before another take.
func (k *Kept) EntriesBytes(from, to int) int64 { return k.taken(k.entries(0, from, to)) }

// FrontierBytes is what the frontier at a position takes.
func (k *Kept) FrontierBytes(at int) int64 { return k.taken(k.frontier(0, at)) }

// taken is what spans take in blocks. For what cannot be kept there is never room.
func (k *Kept) taken(spans []span, err error) int64 {
	if err != nil {
		return math.MaxInt64
	}
	return k.blocks.count(total(spans)) * k.blocks.size
}

// Room is how much is taken, of how much.
func (k *Kept) Room() (taken, all int64) {
	return int64(k.blocks.taken) * k.blocks.size, int64(k.blocks.all) * k.blocks.size
}

// KeepEntries keeps entries of a slot, which has `to` tokens or more.
func (k *Kept) KeepEntries(slot int32, from, to int) (*KeptPart, error) {
	if err := k.caches.check(slot); err != nil {
		return nil, err
	}
	if have := k.caches.slots.Length(slot); to > have {
		return nil, fmt.Errorf("slot %d has %d tokens; entries of %d to %d are not there", slot, have, from, to)
	}
	spans, err := k.entries(slot, from, to)
	if err != nil {
		return nil, err
	}
	return k.keep(&KeptPart{kept: k, from: from, to: to}, spans)
}

// KeepFrontier keeps the frontier of a slot at a position: its length, or before it as far
// as the slot's rings have what is looked back to from there.
func (k *Kept) KeepFrontier(slot int32, at int) (*KeptPart, error) {
	if err := k.caches.check(slot); err != nil {
		return nil, err
	}
	have := k.caches.slots.Length(slot)
	if err := k.caches.slots.looksBack(slot, at); err != nil {
		return nil, fmt.Errorf("slot %d has %d tokens, and no frontier at %d: %w", slot, have, at, err)
	}
	if at > have {
		return nil, fmt.Errorf("slot %d has %d tokens, and no frontier at %d", slot, have, at)
	}
	spans, err := k.frontier(slot, at)
	if err != nil {
		return nil, err
	}
	return k.keep(&KeptPart{kept: k, frontier: true, from: at, to: at}, spans)
}

// keep copies spans into a part's blocks, which are taken for it.
func (k *Kept) keep(p *KeptPart, spans []span) (*KeptPart, error) {
	n := k.blocks.count(total(spans))
	runs, ok := k.blocks.take(n)
	if !ok {
		return nil, ErrNoRoom
	}
	p.runs, p.bytes = runs, n*k.blocks.size
	if err := k.pair(p, spans, k.memory.Save); err != nil {
		p.Drop()
		return nil, err
	}
	return p, nil
}

// Restore makes a slot's sequence one of n tokens, out of entries that follow one another
// from 0 to n and the frontier at n. On an error the slot is empty.
func (k *Kept) Restore(slot int32, n int, entries []*KeptPart, frontier *KeptPart) error {
	if err := k.caches.check(slot); err != nil {
		return err
	}
	k.caches.slots.Reset(slot)
	at := 0
	for i, p := range append(entries[:len(entries):len(entries)], frontier) {
		last := i == len(entries)
		switch {
		case p == nil || p.kept != k || p.dropped:
			return fmt.Errorf("a part for slot %d is not kept on this device, or not any more", slot)
		case p.frontier != last || p.from != at || last && at != n:
			return fmt.Errorf("%s is no part of %d tokens after %d; expected entries that follow one another and the frontier behind them", p, n, at)
		}
		spans, err := k.spans(p, slot)
		if err != nil {
			return err
		}
		if err := k.pair(p, spans, k.memory.Load); err != nil {
			return err
		}
		at = p.to
	}
	k.caches.slots.holds(slot, n)
	return nil
}

// String says what the part has.
func (p *KeptPart) String() string {
	if p.frontier {
		return fmt.Sprintf("the frontier at %d", p.from)
	}
	return fmt.Sprintf("entries of tokens %d to %d", p.from, p.to)
}

// spans are where a part's rows lie in a slot that has it.
func (k *Kept) spans(p *KeptPart, slot int32) ([]span, error) {
	if p.frontier {
		return k.frontier(slot, p.to)
	}
	return k.entries(slot, p.from, p.to)
}

// pair calls f for the pieces of a part and of the caches that stand for each other.
func (k *Kept) pair(p *KeptPart, spans []span, f func(part, cache, n int64) error) error {
	runs, at, room := p.runs, int64(0), int64(0)
	for _, s := range spans {
		for s.n > 0 {
			if room == 0 {
				at, room = int64(runs[0].first)*k.blocks.size, int64(runs[0].n)*k.blocks.size
				runs = runs[1:]
			}
			n := min(s.n, room)
			if err := f(at, s.at, n); err != nil {
				return err
			}
			at, room = at+n, room-n
			s.at, s.n = s.at+n, s.n-n
		}
	}
	return nil
}
