package devmem

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
)

// flat is the caches' memory and that for parts, on the host.
type flat struct {
	caches, parts []byte
	copies        int
	fails         int // after so many copies; 0 if never
}

func (f *flat) Read(to []byte, at int64) error {
	copy(to, f.caches[at:][:len(to)])
	return nil
}

func (f *flat) Write(at int64, bytes []byte) error {
	copy(f.caches[at:][:len(bytes)], bytes)
	return nil
}

func (f *flat) Copy(to, from, n int64) error { return f.move(f.caches, f.caches, to, from, n) }

func (f *flat) Save(part, cache, n int64) error { return f.move(f.parts, f.caches, part, cache, n) }

func (f *flat) Load(part, cache, n int64) error { return f.move(f.caches, f.parts, cache, part, n) }

var errCopy = errors.New("the copy failed")

func (f *flat) move(dst, src []byte, to, from, n int64) error {
	if f.copies++; f.copies == f.fails {
		return errCopy
	}
	if n <= 0 {
		return fmt.Errorf("a copy of %d bytes", n)
	}
	copy(dst[to:][:n], src[from:][:n])
	return nil
}

// shelf is a plan's slots without kernels, into which rows are written as steps would.
type shelf struct {
	*flat
	*Kept
	plan  *plan.Plan
	slots *Slots
}

// states are of both kinds, of rows of several sizes.
var states = []*ir.State{
	{Name: "window", Keep: ir.Const(24)},
	{Name: "entries", Keep: ir.Sym("P").FloorDiv(4)},
	{Name: "block", Keep: ir.Const(128)},
	{Name: "tokens", Keep: ir.Sym("P")},
	{Name: "once", Keep: ir.Const(1)}, // nothing is looked back to
	{Name: "large", Keep: ir.Sym("P").FloorDiv(128)},
}

// newShelf has caches of states, with a row of 4, 8, 12... bytes, as plans lay them out.
func newShelf(t *testing.T, states []*ir.State, context, slots int, room int64) *shelf {
	t.Helper()
	p := &plan.Plan{Options: plan.Options{Context: context, Slots: slots}}
	p.Steps = []*plan.Step{{Params: &program.Step{Symbols: []ir.Symbol{{Name: "P", Def: ir.Reach}}}}}
	for i, s := range states {
		c := &plan.Cache{Cache: program.Cache{State: s, Row: encoding.RowLayout{Bytes: 4 * (i + 1)}, Slots: slots}, Offset: p.CacheBytes}
		keep, ring := s.Keep.Value()
		if c.Ring = ring; ring {
			c.Capacity = program.KeptRows(int(keep), context)
		} else {
			n, err := s.Keep.Eval(func(string) (int64, bool) { return int64(context), true })
			if err != nil {
				t.Fatal(err)
			}
			c.Capacity = int(max(n, 1))
		}
		c.Bytes = int64(c.Capacity * c.Row.Bytes * slots)
		p.Caches, p.CacheBytes = append(p.Caches, c), p.CacheBytes+c.Bytes
	}
	s := &shelf{flat: &flat{caches: make([]byte, p.CacheBytes), parts: make([]byte, room)}, plan: p, slots: NewSlots(p, 10)}
	var err error
	if s.Kept, err = NewKept(NewCaches(p, s.flat, s.slots), s.flat, room); err != nil {
		t.Fatal(err)
	}
	for i := range s.flat.caches {
		s.flat.caches[i] = 0xff
	}
	return s
}

// row is what a text's state has at an index, wherever it is computed.
func row(text byte, cache, index, bytes int) []byte {
	random := rand.New(rand.NewPCG(uint64(text), uint64(cache)<<32|uint64(index)))
	out := make([]byte, bytes)
	for i := range out {
		out[i] = byte(random.Uint32())
	}
	return out
}

// rowsOf is how many rows a state has had of so many tokens.
func rowsOf(s *ir.State, tokens int) int {
	if _, ring := s.Keep.Value(); ring {
		return tokens
	}
	n, _ := s.Keep.Eval(func(string) (int64, bool) { return int64(tokens), true })
	return int(n)
}

// at is a row of a slot's cache.
func (s *shelf) at(c *plan.Cache, slot int32, index int) []byte {
	if c.Ring {
		index %= c.Capacity
	}
	return s.flat.caches[c.Offset+int64((int(slot)*c.Capacity+index)*c.Row.Bytes):][:c.Row.Bytes]
}

// run extends a slot's text to a length, as a prompt, which leaves what the next token looks
// back to, or by decoding.
func (s *shelf) run(t *testing.T, text byte, slot int32, to int, prompt bool) {
	t.Helper()
	from := s.slots.Length(slot)
	for i, c := range s.plan.Caches {
		for r := rowsOf(c.State, from); r < rowsOf(c.State, to); r++ {
			copy(s.at(c, slot, r), row(text, i, r, c.Row.Bytes))
		}
	}
	s.slots.next[slot] = int32(to)
	if s.slots.low[slot] = max(s.slots.low[slot], int32(to-s.slots.back)); prompt {
		s.slots.low[slot] = int32(to)
	}
}

// check compares all that a slot's next token can read.
func (s *shelf) check(t *testing.T, text byte, slot int32, length int) {
	t.Helper()
	if n := s.slots.Length(slot); n != length {
		t.Fatalf("slot %d has %d tokens, expected %d", slot, n, length)
	}
	for i, c := range s.plan.Caches {
		next := rowsOf(c.State, length)
		first := 0
		if keep, ring := c.State.Keep.Value(); ring {
			first = max(0, length-int(keep)+1)
		}
		for r := first; r < next; r++ {
			if !bytes.Equal(s.at(c, slot, r), row(text, i, r, c.Row.Bytes)) {
				t.Fatalf("slot %d of %d tokens: row %d of @%s is not the text's", slot, length, r, c.State.Name)
			}
		}
	}
}

// TestKeptStates: whatever states a module has, all that the next token reads of them is in
// the parts, at each length of a context, and no byte more; and goes into another slot.
func TestKeptStates(t *testing.T) {
	for _, context := range []int{500, 128, 24, 9, 1} {
		s := newShelf(t, states, context, 3, 1<<20)
		for _, n := range sample.Of(t, lengths(context), min(context, 60)) {
			s.slots.Reset(0)
			s.run(t, 7, 0, n, n%2 == 0)
			entries, err := s.KeepEntries(0, 0, n)
			if err != nil {
				t.Fatal(err)
			}
			frontier, err := s.KeepFrontier(0, n)
			if err != nil {
				t.Fatal(err)
			}
			want := [2]int64{}
			for _, c := range s.plan.Caches {
				if keep, ring := c.State.Keep.Value(); ring {
					want[1] += min(keep-1, int64(n)) * int64(c.Row.Bytes)
				} else {
					want[0] += int64(rowsOf(c.State, n) * c.Row.Bytes)
				}
			}
			for i, p := range []*KeptPart{entries, frontier} {
				spans, err := s.spans(p, 0)
				if err != nil || total(spans) != want[i] || p.Bytes() != (want[i]+s.blocks.size-1)/s.blocks.size*s.blocks.size {
					t.Fatalf("%s of %d tokens: %d bytes in %d, %v; the states have %d", p, n, total(spans), p.Bytes(), err, want[i])
				}
			}
			s.slots.Reset(2)
			s.run(t, 9, 2, context, true) // another text is in the way
			if err := s.Restore(2, n, []*KeptPart{entries}, frontier); err != nil {
				t.Fatal(err)
			}
			s.check(t, 7, 2, n)
			entries.Drop()
			frontier.Drop()
		}
	}
}

func lengths(context int) (all []int) {
	for n := range context {
		all = append(all, n+1)
	}
	return all
}

// TestKeptForeign: a state that does not grow with the text's length is refused, not forgotten.
func TestKeptForeign(t *testing.T) {
	for name, keep := range map[string]ir.Expr{"of a step": ir.Sym("T"), "that shrinks": ir.Const(500).Sub(ir.Sym("P"))} {
		p := newShelf(t, states, 100, 1, 0).plan
		c := *p.Caches[1]
		c.State, c.Capacity = &ir.State{Name: "odd", Keep: keep}, 1000
		p.Caches = append(p.Caches, &c)
		f := &flat{caches: make([]byte, p.CacheBytes)}
		if _, err := NewKept(NewCaches(p, f, NewSlots(p, 10)), f, 0); err == nil {
			t.Errorf("a state %s is taken", name)
		}
	}
}

// model is what should be kept.
type model struct {
	*testing.T
	*shelf
	random                *rand.Rand
	texts                 [4]byte // of slots
	parts                 []keptRows
	full, split, restored int
}

// keptRows is a part, and of which text.
type keptRows struct {
	text byte
	*KeptPart
}

// TestKeptModel keeps, drops and restores at random, in so little room that it is full of
// holes, and compares with what should be taken, and with rows that never moved.
func TestKeptModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := &model{T: t, shelf: newShelf(t, states, 700, 4, 40*leastBlock+17), random: rand.New(rand.NewPCG(seed, 0))}
	if _, all := m.Room(); all != 40*leastBlock {
		t.Fatalf("%d bytes of room", all)
	}
	for range 4000 {
		m.step(int32(m.random.IntN(4)))
		m.overlap()
	}
	t.Logf("no room %d times, %d breaks in parts, %d restored", m.full, m.split, m.restored)
	if m.full == 0 || m.split == 0 || m.restored == 0 {
		t.Error("the room was never full, or never in pieces, or nothing was restored")
	}
	for _, k := range m.parts {
		k.Drop()
		k.Drop() // is harmless
	}
	if taken, _ := m.Room(); taken != 0 || !slices.Equal(m.blocks.free, []run{{0, 40}}) {
		t.Errorf("%d bytes are taken of nothing, free are %v", taken, m.blocks.free)
	}
}

func (m *model) step(slot int32) {
	m.Helper()
	have := m.slots.Length(slot)
	switch k := m.random.IntN(9); {
	case k <= 1 || have == 0:
		if have == m.plan.Context || m.random.IntN(4) == 0 {
			m.slots.Reset(slot)
			m.texts[slot] = byte(m.random.IntN(3))
		}
		m.run(m.T, m.texts[slot], slot, min(m.plan.Context, m.slots.Length(slot)+1+m.random.IntN(200)), true)
	case k == 2:
		m.run(m.T, m.texts[slot], slot, min(m.plan.Context, have+1+m.random.IntN(5)), false)
	case k <= 5:
		from := m.random.IntN(have + 1)
		if _, end := m.chain(m.texts[slot]); end <= have && k < 5 {
			from = end
		}
		to := from + m.random.IntN(have-from+1)
		if k == 3 {
			to = have
		}
		m.keep(slot, m.EntriesBytes(from, to), func() (*KeptPart, error) { return m.KeepEntries(slot, from, to) })
	case k == 6:
		at := m.slots.low[slot] + int32(m.random.IntN(have-int(m.slots.low[slot])+1))
		m.keep(slot, m.FrontierBytes(int(at)), func() (*KeptPart, error) { return m.KeepFrontier(slot, int(at)) })
	case k >= 7 && len(m.parts) > 0 && m.random.IntN(3) > 0:
		m.drop(m.random.IntN(len(m.parts)))
	default:
		m.restore(slot)
	}
}

// keep keeps a part of so many bytes, if there is room.
func (m *model) keep(slot int32, bytes int64, keep func() (*KeptPart, error)) {
	m.Helper()
	before, all := m.Room()
	p, err := keep()
	after, _ := m.Room()
	switch {
	case errors.Is(err, ErrNoRoom) && bytes > all-before && after == before && p == nil:
		m.full++
	case err != nil || p.Bytes() != bytes || after != before+bytes || bytes > all-before:
		m.Fatalf("a part of %d bytes: of %d are %d taken and were %d: %v", bytes, all, after, before, err)
	default:
		m.parts = append(m.parts, keptRows{m.texts[slot], p})
		m.split += max(len(p.runs)-1, 0)
	}
}

func (m *model) drop(i int) {
	m.Helper()
	before, _ := m.Room()
	m.parts[i].Drop()
	if after, _ := m.Room(); after != before-m.parts[i].Bytes() {
		m.Fatalf("dropping %d bytes makes %d of %d", m.parts[i].Bytes(), after, before)
	}
	m.parts = slices.Delete(m.parts, i, i+1)
}

// chain are entries of a text that follow one another.
func (m *model) chain(text byte) (entries []*KeptPart, end int) {
	for _, k := range m.parts {
		if k.text == text && !k.frontier && k.from == end && k.to > end {
			entries, end = append(entries, k.KeptPart), k.to
		}
	}
	return entries, end
}

// restore puts what there is of a text into a slot.
func (m *model) restore(slot int32) {
	m.Helper()
	text := byte(m.random.IntN(3))
	entries, _ := m.chain(text)
	for len(entries) > 0 {
		end := entries[len(entries)-1].to
		for _, k := range m.parts {
			if k.text != text || !k.frontier || k.from != end {
				continue
			}
			if err := m.Restore(slot, end, entries, k.KeptPart); err != nil {
				m.Fatal(err)
			}
			m.check(m.T, text, slot, end)
			m.texts[slot] = text
			m.restored++
			return
		}
		entries = entries[:len(entries)-1]
	}
}

// overlap fails if a block is two parts', or both a part's and free, or nobody's.
func (m *model) overlap() {
	m.Helper()
	owned := make([]bool, m.blocks.all)
	own := func(runs []run) {
		for _, r := range runs {
			for i := range r.n {
				if owned[r.first+i] {
					m.Fatalf("block %d is taken twice", r.first+i)
				}
				owned[r.first+i] = true
			}
		}
	}
	own(m.blocks.free)
	for _, p := range m.parts {
		own(p.runs)
	}
	if i := slices.Index(owned, false); i >= 0 {
		m.Fatalf("block %d is lost", i)
	}
}

// TestKeptFails: a copy that fails leaves nothing taken, and an empty slot.
func TestKeptFails(t *testing.T) {
	s := newShelf(t, states, 500, 2, 1<<20)
	s.run(t, 7, 0, 400, true)
	for n := 1; ; n++ {
		s.copies, s.fails = 0, n
		p, err := s.KeepFrontier(0, 400)
		if err == nil {
			if n < 3 {
				t.Errorf("a frontier is %d copies", n-1)
			}
			break
		}
		if taken, _ := s.Room(); !errors.Is(err, errCopy) || p != nil || taken != 0 {
			t.Fatalf("%v, %v, %d bytes are taken", p, err, taken)
		}
	}
	s.fails = 0
	entries, err := s.KeepEntries(0, 0, 400)
	if err != nil {
		t.Fatal(err)
	}
	frontier, err := s.KeepFrontier(0, 400)
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, 9, 1, 30, true)
	s.copies, s.fails = 0, 2
	if err := s.Restore(1, 400, []*KeptPart{entries}, frontier); !errors.Is(err, errCopy) || s.slots.Length(1) != 0 {
		t.Errorf("%v, and the slot has %d tokens", err, s.slots.Length(1))
	}
}
