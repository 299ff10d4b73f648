package session

import (
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/prefix"
)

// kept is what a session knows of what is kept beside its slots.
type kept struct {
	tree   *prefix.Tree // nil: nothing is
	ends   [prefix.Reasons]uint64
	inSlot uint64
}

// keepBeside has beginnings of texts be kept, if the device does so.
func (s *Session) keepBeside() (err error) {
	if s.opts.Cache, err = s.opts.Cache.Complete(); err != nil {
		return err
	}
	k, ok := s.dev.(device.Keeper)
	if !ok {
		return nil
	}
	if _, room := k.Room(); room > 0 {
		s.tree, err = prefix.New(k, s.opts.Cache)
	}
	return err
}

// CacheStats count what became of the prompts of OpenFor.
type CacheStats struct {
	prefix.Stats
	InSlot uint64                 // that went on in a slot
	Ends   [prefix.Reasons]uint64 // by why no more of them was there
}

// CacheStats are the counts so far.
func (s *Session) CacheStats() CacheStats {
	c := CacheStats{InSlot: s.inSlot, Ends: s.ends}
	if s.tree != nil {
		c.Stats = s.tree.Stats()
	}
	return c
}

// HitsByKind are the prompts that went on from what was there, by where that ended: in a slot,
// or at a place of some kind.
func (c CacheStats) HitsByKind() map[string]uint64 {
	out := map[string]uint64{"slot": c.InSlot}
	for _, k := range prefix.Kinds() {
		out[k.Word()] = c.Hits[k]
	}
	return out
}

// EndsByReason are Ends by the reasons in a word.
func (c CacheStats) EndsByReason() map[string]uint64 {
	out := map[string]uint64{}
	for r, n := range c.Ends {
		out[prefix.Reason(r).String()] = n
	}
	return out
}

// Keeps tells whether beginnings of texts are kept beside the slots.
func (s *Session) Keeps() bool { return s.tree != nil }

// Holds is how many tokens of a prompt OpenFor would find.
func (s *Session) Holds(prompt []int32) (n int) {
	for _, v := range s.free {
		if v.begins(prompt) {
			n = max(n, len(v.tokens))
		}
	}
	if s.tree != nil {
		n = max(n, s.tree.Longest(prompt))
	}
	return n
}

// keeping is what a sequence has to do with what is kept beside the slots. What it was
// restored from, and what it wrote last, stay as long as it is open.
type keeping struct {
	from, newest *prefix.Hold
	wrote        []int // the lengths of entries that were not there before
}

func (k *keeping) release() {
	if k != nil {
		k.from.Release()
		k.newest.Release()
	}
}

// restore makes the sequence, whose slot may hold a beginning of its prompt, the longest
// one that is kept.
func (q *Sequence) restore(prompt []int32) {
	s := q.s
	q.end = prefix.End{Of: len(prompt)}
	var from *prefix.Hold
	if s.tree != nil {
		q.kept = &keeping{}
		from, q.end = s.tree.Find(prompt)
	}
	switch {
	case from == nil || from.Len() <= q.length:
		from.Release()
		if q.length > 0 {
			q.end = q.end.InSlot(q.length)
			s.inSlot++
		}
	case from.Restore(q.slot) != nil: // then all is read; the slot is empty
		from.Drop()
		s.dev.Reset(q.slot)
		q.length, q.end.Reason, q.end.Reused = 0, prefix.Failed, 0
	default:
		q.length, q.kept.from = from.Len(), from
	}
	s.ends[q.end.Reason]++
}

// End says where what OpenFor found of the sequence's prompt ends, and why there.
func (q *Sequence) End() prefix.End { return q.end }

// Mark keeps the sequence as it is, for prompts that begin so: the caller says which tokens it
// has, as for Keep, and what kind of place this is. Only a sequence of OpenFor is kept, and
// where there is room. An error is the device's.
func (q *Sequence) Mark(kind prefix.Kind, tokens []int32) error {
	if q.s == nil {
		return errClosed
	}
	k := q.kept
	if k == nil {
		return nil
	}
	there := q.s.tree.Has(tokens[:q.length])
	h, err := q.s.tree.Keep(q.slot, tokens[:q.length], kind)
	if h == nil {
		return err
	}
	k.newest.Release()
	k.newest = h
	if !there {
		k.wrote = append(k.wrote, q.length)
	}
	return nil
}

// Fail is Close of a sequence that an error ended. Nobody is to go on with what was kept of
// it, nor, if the error came while it read its prompt, with what it was restored from. The
// tokens are as for Keep.
func (q *Sequence) Fail(tokens []int32, reading bool) {
	if q.s == nil {
		return
	}
	if k, tree := q.kept, q.s.tree; k != nil {
		if reading {
			k.from.Drop()
		}
		for _, n := range k.wrote {
			tree.Forget(tokens[:min(n, len(tokens))])
		}
	}
	q.Close()
}
