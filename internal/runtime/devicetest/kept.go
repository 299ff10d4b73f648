package devicetest

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// KeptRoom is memory for some texts of the fixtures.
const KeptRoom = 1 << 20

// keptSlots is how many slots the walks through kept texts have.
const keptSlots = 3

// Kept: a slot into which a text was put out of what was kept of another slot goes on, to
// the bit, as the text that was never interrupted, wherever it is cut: at each edge of
// windows and blocks, at random, of prompts and of decoded tokens, in whatever pieces entries
// are kept, after other texts were in the slot. Where devices show their caches, two of other
// sizes have the same rows, by position. The context is as long as the text. The devices have
// so little room that it runs out now and then.
func Kept(t *testing.T, dir string, f passes.Formats, length, steps int, open Open) {
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	both := [2]device.Planned{}
	for i, o := range []bundle.Options{{Context: length, Chunk: 32, Wanted: 32, Slots: keptSlots}, {Context: length + 70, Chunk: 16, Wanted: 16, Slots: keptSlots + 1}} {
		o.Formats = f
		b, _, err := bundle.Compile(bundle.Source{Name: "kept", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, o)
		if err != nil {
			t.Fatal(err)
		}
		both[i] = open(t, b, m.Checkpoint, nil)
		defer both[i].Close()
	}
	first, second := newKeptWalk(t, both[0], 32, length), newKeptWalk(t, both[1], 16, length)
	first.read(length)
	second.texts, second.slots = first.texts, slices.Clone(first.slots)
	for _, x := range first.texts {
		for _, n := range sample.Of(t, keptEdges(length), 10) {
			for _, w := range []*keptWalk{first, second} {
				w.edge(x, n)
			}
			sameCaches(t, both, 1, n, false)
			for _, w := range []*keptWalk{first, second} {
				w.goOn(1)
			}
		}
	}
	first.walk(steps)
	second.walk(steps)
}

// KeptOn is Kept on a device whose caches nobody sees.
func KeptOn(t *testing.T, d device.Device, length, steps int) {
	w := newKeptWalk(t, d, 32, length)
	w.read(length)
	for _, x := range w.texts {
		for _, n := range sample.Of(t, keptEdges(length), 10) {
			w.edge(x, n)
			w.goOn(1)
		}
	}
	w.walk(steps)
}

// keptEdges are positions on both sides of blocks' and windows' edges, of where rings have
// wrapped, and the ends.
func keptEdges(length int) (edges []int) {
	for n := 1; n <= length; n++ {
		near := func(every int) bool { return (n+1)%every <= 2 }
		if n < 10 || near(24) || near(128) || near(127+program.MaxDecodeRows) || n >= length-2 {
			edges = append(edges, n)
		}
	}
	return edges
}

// keptText is a text that was kept: entries up to its length, and the frontier there.
type keptText struct {
	text     *ringText
	ends     []int // of the entries
	entries  []device.Part
	frontier device.Part
}

// keptWalk drives a device through texts that are kept and put into slots again.
type keptWalk struct {
	*ringWalk
	keeper device.Keeper
	kept   []*keptText
	used   map[device.Part]int // by how many texts
	full   int                 // how often there was no room
}

func newKeptWalk(t *testing.T, d device.Device, chunk, length int) *keptWalk {
	t.Helper()
	w := &keptWalk{ringWalk: &ringWalk{t: t, d: d, chunk: chunk, seed: rand.Uint64(), slots: make([]ringSlot, keptSlots)}, used: map[device.Part]int{}}
	w.ringWalk.random = rand.New(rand.NewPCG(w.seed, 0))
	var ok bool
	if w.keeper, ok = d.(device.Keeper); !ok {
		t.Fatalf("the device %s keeps nothing", d.Name())
	}
	t.Logf("seed %d; the frontier of %d tokens takes %d bytes, their entries %d", w.seed, length, w.keeper.FrontierBytes(length), w.keeper.EntriesBytes(0, length))
	return w
}

// read draws the texts, and reads each alone.
func (w *keptWalk) read(length int) {
	w.t.Helper()
	for i, ends := range [][3]int{{length, length, length}, {1, length, length}, {length / 3, length/3 + 20, length - 3}} {
		x := &ringText{tokens: Random(i*5000, length, w.d.Vocab()), ends: ends}
		w.texts = append(w.texts, x)
		w.alone(x)
	}
	for i := range w.slots {
		w.start(i)
	}
}

// edge takes slot 0 to a length of a text, keeps that, and puts it into slot 1.
func (w *keptWalk) edge(text *ringText, n int) {
	w.t.Helper()
	s := &w.slots[0]
	if s.text != text || s.done > n {
		w.d.Reset(0)
		*s = ringSlot{text: text}
	}
	for s.done < n {
		w.extend(0, 1+w.random.IntN(min(n-s.done, w.chunk)))
	}
	k := w.keep(0, n)
	if k == nil { // all was dropped, so that there is room
		if k = w.keep(0, n); k == nil {
			_, all := w.keeper.Room()
			w.t.Fatalf("%d bytes are no room for a text of %d tokens", all, n)
		}
	}
	w.restore(1, k)
}

// goOn runs a slot's text on, for some tokens.
func (w *keptWalk) goOn(slot int) {
	w.t.Helper()
	for range 1 + w.random.IntN(3) {
		if s := w.slots[slot]; s.done < len(s.text.tokens) {
			w.extend(slot, 1+w.random.IntN(w.chunk))
		}
	}
}

// walk does random things.
func (w *keptWalk) walk(steps int) {
	w.t.Helper()
	for range steps {
		slot := w.random.IntN(len(w.slots))
		switch k := w.random.IntN(8); {
		case k == 0 && w.slots[slot].done > 0:
			w.keepBefore(slot, w.random.IntN(min(w.slots[slot].done, 20)))
		case k <= 2 && w.slots[slot].done > 0:
			w.keep(slot, w.slots[slot].done)
		case k <= 4 && len(w.kept) > 0:
			w.restore(slot, w.kept[w.random.IntN(len(w.kept))])
		case k == 5 && len(w.kept) > 3:
			w.drop(w.random.IntN(len(w.kept)))
		default:
			w.step()
		}
		w.count()
	}
	w.t.Logf("there was no room %d times", w.full)
	w.dropAll()
}

// keepBefore keeps a text that is shorter than what the slot has, if its rings let that be.
func (w *keptWalk) keepBefore(slot, by int) {
	w.t.Helper()
	s := w.slots[slot]
	at := s.done - by
	p, err := w.keeper.KeepFrontier(int32(slot), at)
	switch {
	case err == nil:
		p.Drop()
		w.keep(slot, at)
	case at >= s.low && !errors.Is(err, device.ErrNoRoom):
		w.t.Fatalf("seed %d: slot %d of %d tokens, whose rings have what is looked back to from %d: %v", w.seed, slot, s.done, s.low, err)
	}
}

// keep keeps a slot's text up to a position, beginning with what is kept of it already. It
// drops all if there is no room.
func (w *keptWalk) keep(slot, at int) *keptText {
	w.t.Helper()
	k := &keptText{text: w.slots[slot].text}
	for _, other := range w.kept {
		for i, end := range other.ends {
			if other.text == k.text && end <= at && w.random.IntN(3) > 0 {
				k.ends, k.entries = append(k.ends[:0], other.ends[:i+1]...), append(k.entries[:0], other.entries[:i+1]...)
			}
		}
	}
	taken, _ := w.keeper.Room()
	var err error
	for done := k.length(); done < at && err == nil; done = k.length() {
		to := at
		if w.random.IntN(3) > 0 {
			to = done + w.random.IntN(at-done+1)
		}
		err = w.add(k, to, func() (device.Part, error) { return w.keeper.KeepEntries(int32(slot), done, to) }, w.keeper.EntriesBytes(done, to))
	}
	if err == nil {
		err = w.add(k, -1, func() (device.Part, error) { return w.keeper.KeepFrontier(int32(slot), at) }, w.keeper.FrontierBytes(at))
	}
	w.kept = append(w.kept, k)
	for _, p := range k.all() {
		w.used[p]++
	}
	if err == nil {
		return k
	}
	if now, all := w.keeper.Room(); now < taken || now > all {
		w.t.Fatalf("seed %d: %d bytes of %d are taken, %d were before", w.seed, now, all, taken)
	}
	w.full++
	w.dropAll()
	return nil
}

// length is how many tokens the text's entries are of.
func (k *keptText) length() int {
	if len(k.ends) == 0 {
		return 0
	}
	return k.ends[len(k.ends)-1]
}

// all are the text's parts.
func (k *keptText) all() []device.Part {
	if k.frontier == nil {
		return k.entries
	}
	return append(k.entries[:len(k.entries):len(k.entries)], k.frontier)
}

// add keeps a part, of entries up to a position or the frontier. The error is that there is
// no room for its bytes, which it must take and count.
func (w *keptWalk) add(k *keptText, end int, keep func() (device.Part, error), bytes int64) error {
	w.t.Helper()
	before, all := w.keeper.Room()
	p, err := keep()
	after, _ := w.keeper.Room()
	switch {
	case errors.Is(err, device.ErrNoRoom) && after == before && bytes > all-before && p == nil:
		return err
	case err != nil || p.Bytes() != bytes || after != before+bytes:
		w.t.Fatalf("seed %d: a part of %d bytes up to %d, of %d bytes %d were taken and are now %d: %v", w.seed, bytes, end, all, before, after, err)
	case end < 0:
		k.frontier = p
	default:
		k.ends, k.entries = append(k.ends, end), append(k.entries, p)
	}
	return nil
}

// restore puts a text into a slot in which another one was read before.
func (w *keptWalk) restore(slot int, k *keptText) {
	w.t.Helper()
	w.start(slot)
	w.goOn(slot)
	if err := w.keeper.Restore(int32(slot), k.length(), k.entries, k.frontier); err != nil {
		w.t.Fatalf("seed %d: %v", w.seed, err)
	}
	w.slots[slot] = ringSlot{text: k.text, done: k.length(), low: k.length()}
}

// drop forgets a text that was kept, and gives back the parts that no other one has.
func (w *keptWalk) drop(i int) {
	for _, p := range w.kept[i].all() {
		if w.used[p]--; w.used[p] == 0 {
			p.Drop()
			delete(w.used, p)
		}
	}
	w.kept = slices.Delete(w.kept, i, i+1)
}

// dropAll forgets all texts: nothing is taken then.
func (w *keptWalk) dropAll() {
	w.t.Helper()
	for len(w.kept) > 0 {
		w.drop(0)
	}
	w.count()
}

// count compares what is taken with the parts that there are.
func (w *keptWalk) count() {
	w.t.Helper()
	want := int64(0)
	for p := range w.used {
		want += p.Bytes()
	}
	if taken, _ := w.keeper.Room(); taken != want {
		w.t.Fatalf("seed %d: %d bytes are taken by parts of %d", w.seed, taken, want)
	}
}
