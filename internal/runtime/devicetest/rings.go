package devicetest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
)

// ringText is a text whose tokens are read or decoded as its parts say, wherever it is
// cut: two prompts, each with decoded tokens behind it.
type ringText struct {
	tokens []int32
	ends   [3]int      // of the first prompt, of what is decoded then, of the second
	want   [][]float32 // the logits after each token, where it is alone and its chunks are full
}

// read is how many tokens from one on are of a prompt; 0 if that one is decoded.
func (x *ringText) read(from int) int {
	switch {
	case from < x.ends[0]:
		return x.ends[0] - from
	case from >= x.ends[1] && from < x.ends[2]:
		return x.ends[2] - from
	}
	return 0
}

// ringWalk drives a device through texts in several slots.
type ringWalk struct {
	t      *testing.T
	d      device.Device
	chunk  int
	random *rand.Rand
	texts  []*ringText
	slots  []ringSlot
	seed   uint64
}

// ringSlot is a slot with the text in it, of which so many tokens are done. Its rings have
// what is looked back to from the position low on.
type ringSlot struct {
	text      *ringText
	done, low int
}

// advance says that n more tokens are done, by a prompt or by decoding one.
func (s *ringSlot) advance(n int, prompt bool) {
	s.done += n
	if s.low = max(s.low, s.done-program.MaxDecodeRows); prompt {
		s.low = s.done
	}
}

// Rings: prompts get the bits that they get in full chunks and alone, wherever they are
// cut, in whichever slot, beside others whose chunks and tokens come between, after tokens
// were decoded, and in a slot in which another text was left in the middle. Texts are so
// long, and the first of them is read token by token, so that chunks begin and end at
// each row of each ring. The device poisons the areas before each step.
func Rings(t *testing.T, dir string, length, steps int, open Open) {
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const chunk = 32
	b, _, err := bundle.Compile(bundle.Source{Name: "rings", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Formats: Trained, Context: length, Chunk: chunk, Wanted: chunk, Slots: 3})
	if err != nil {
		t.Fatal(err)
	}
	w := &ringWalk{t: t, d: open(t, b, m.Checkpoint, nil), chunk: chunk, seed: rand.Uint64(), slots: make([]ringSlot, 3)}
	defer w.d.Close()
	w.random = rand.New(rand.NewPCG(w.seed, 0))
	t.Logf("seed %d", w.seed)
	for i := range 3 {
		x := &ringText{tokens: Random(i*5000, length, w.d.Vocab())}
		x.ends = [3]int{length / 3, length/3 + 5, length - 3}
		if i == 0 {
			x.ends = [3]int{length - 3, length, length}
		}
		w.texts = append(w.texts, x)
		w.alone(x)
	}
	w.slots[2] = ringSlot{text: w.texts[0]}
	for w.slots[2].done < length {
		w.extend(2, 1)
	}
	for i := range w.slots {
		w.start(i)
	}
	for range steps {
		w.step()
	}
}

// start puts a random text into a slot, whatever was in it.
func (w *ringWalk) start(slot int) {
	w.d.Reset(int32(slot))
	w.slots[slot] = ringSlot{text: w.texts[w.random.IntN(len(w.texts))]}
}

// alone reads a text in full chunks and keeps all its logits.
func (w *ringWalk) alone(x *ringText) {
	vocab := w.d.Vocab()
	for at := 0; at < len(x.tokens); {
		n := max(1, min(w.chunk, x.read(at)))
		var wanted []int
		for i := range n {
			wanted = append(wanted, i)
		}
		logits := w.run(x.read(at) > 0, rowsOf(x, 1, at, n), wanted)
		for i := range n {
			x.want = append(x.want, logits[i*vocab:(i+1)*vocab])
		}
		at += n
	}
	w.d.Reset(1)
}

func rowsOf(x *ringText, slot int32, at, n int) (rows []ir.Row) {
	for i := at; i < at+n; i++ {
		rows = append(rows, ir.Row{Token: x.tokens[i], Position: int32(i), Slot: slot})
	}
	return rows
}

func (w *ringWalk) run(prompt bool, rows []ir.Row, wanted []int) []float32 {
	w.t.Helper()
	run := w.d.Decode
	if prompt {
		run = w.d.Prefill
	}
	logits, err := run(rows, wanted)
	if err != nil {
		w.t.Fatal(err)
	}
	return logits
}

// step runs a chunk of a random slot's prompt, or a token of some that decode.
func (w *ringWalk) step() {
	w.t.Helper()
	slot := w.random.IntN(len(w.slots))
	s := &w.slots[slot]
	switch {
	case s.done == len(s.text.tokens) || w.random.IntN(25) == 0: // at its end, or cancelled
		w.start(slot)
	case s.text.read(s.done) > 0:
		w.extend(slot, 1+w.random.IntN(w.chunk))
	default:
		w.decode()
	}
}

// extend reads up to n tokens of a slot's prompt, or decodes one.
func (w *ringWalk) extend(slot, n int) {
	w.t.Helper()
	s := &w.slots[slot]
	read := s.text.read(s.done)
	n = max(1, min(n, read))
	got := w.run(read > 0, rowsOf(s.text, int32(slot), s.done, n), []int{n - 1})
	s.advance(n, read > 0)
	w.compare(slot, got)
}

// decode gives all slots a token each whose turn it is.
func (w *ringWalk) decode() {
	w.t.Helper()
	var rows []ir.Row
	var wanted []int
	for i, s := range w.slots {
		if s.done < len(s.text.tokens) && s.text.read(s.done) == 0 {
			wanted = append(wanted, len(rows))
			rows = append(rows, rowsOf(s.text, int32(i), s.done, 1)...)
		}
	}
	got, vocab := w.run(false, rows, wanted), w.d.Vocab()
	for i, r := range rows {
		w.slots[r.Slot].advance(1, false)
		w.compare(int(r.Slot), got[i*vocab:(i+1)*vocab])
	}
}

// compare compares the logits after a slot's newest token.
func (w *ringWalk) compare(slot int, got []float32) {
	w.t.Helper()
	s := w.slots[slot]
	if !slices.Equal(got, s.text.want[s.done-1]) {
		w.t.Fatalf("seed %d: after token %d slot %d's logits are not those that the text has alone in full chunks", w.seed, s.done-1, slot)
	}
}
