package devicetest

import (
	"bytes"
	"math"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/runtime/sampling"
)

// aheadSlots are those of the sequences that run ahead. Between them a slot stays empty.
var aheadSlots = [2]int32{0, 2}

// Ahead has two sequences of a device run ahead from one length to another, a step past
// the end again and again, and be taken back, one of them or both. They must be, to the
// bit, what they are on a device that never ran ahead: tokens, logits, and of the caches
// all that rows to come look at; and once the row is written that was taken back, all
// there is of the caches. Then sequences are kept while others run ahead.
func Ahead(t *testing.T, dir string, from, to int, open Open) {
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, _, err := bundle.Compile(bundle.Source{Name: "ahead", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Formats: Trained, Lean: true, Context: 512, Chunk: 16, Wanted: 3, Slots: 3})
	if err != nil {
		t.Fatal(err)
	}
	both := [2]device.Planned{}
	for i := range both {
		both[i] = open(t, b, m.Checkpoint, nil)
		defer both[i].Close()
	}
	a := &aheadTest{t: t, runs: both[0].(device.Runner), plain: both[1]}
	a.same = func(slot int32, length int, whole bool) { sameCaches(t, both, slot, length, whole) }
	a.run(from, to)
	KeptAhead(t, both[0], to)
}

// AheadOn is Ahead on devices whose caches nobody sees.
func AheadOn(t *testing.T, runs device.Runner, plain device.Device, from, to int) {
	a := &aheadTest{t: t, runs: runs, plain: plain, same: func(int32, int, bool) {}}
	a.run(from, to)
	KeptAhead(t, runs.(device.Device), from, to)
}

type aheadTest struct {
	t      *testing.T
	runs   device.Runner
	plain  device.Device
	same   func(slot int32, length int, whole bool)
	length [2]int
	tokens [2]int32 // that come next
}

// run takes the first sequence from one length to another; the second is longer by an odd
// number, so that the two have lengths of every residue.
func (a *aheadTest) run(from, to int) {
	a.t.Helper()
	for i, n := range [2]int{from, from + 37} {
		prompt := Random(i, n+1, a.plain.Vocab())
		for at := 0; at < n; at += 16 {
			var rows []ir.Row
			for p := at; p < min(n, at+16); p++ {
				rows = append(rows, ir.Row{Token: prompt[p], Position: int32(p), Slot: aheadSlots[i]})
			}
			for _, d := range []device.Device{a.runs, a.plain} {
				if _, err := d.Prefill(rows, nil); err != nil {
					a.t.Fatal(err)
				}
			}
		}
		a.length[i], a.tokens[i] = n, prompt[n]
	}
	for k := 0; a.length[0] < to; k++ {
		a.pastTheEnd(k%3 != 1, k%3 != 2)
		a.next()
		if a.t.Failed() {
			a.t.Fatalf("the sequences have %v tokens", a.length)
		}
	}
}

// rows are those of a step that gives both sequences a token.
func (a *aheadTest) rows() (rows []ir.Row) {
	for i, slot := range aheadSlots {
		rows = append(rows, ir.Row{Token: a.tokens[i], Position: int32(a.length[i]), Slot: slot})
	}
	return rows
}

// do fails the test at an error.
func (a *aheadTest) do(errs ...error) {
	a.t.Helper()
	for _, err := range errs {
		if err != nil {
			a.t.Fatal(err)
		}
	}
}

// choices draw tokens of two rows.
func (a *aheadTest) choices() []sampling.Choice {
	p := sampling.Params{Temperature: 1, TopP: 1, Seed: 5}
	return []sampling.Choice{p.Choice(0, uint64(a.length[0])), p.Choice(1, uint64(a.length[1]))}
}

// pastTheEnd gives both sequences a token and begins to give them the next, which those
// that ended then lose again.
func (a *aheadTest) pastTheEnd(ended ...bool) {
	a.t.Helper()
	rows, choices := a.rows(), a.choices()
	a.do(a.runs.BeginDecode(rows, nil, []int{0, 1}), a.runs.BeginPick(choices))
	logits, err := a.plain.Decode(rows, []int{0, 1})
	a.do(err)
	for i := range a.length {
		a.length[i]++
	}
	ahead := a.rows()
	ahead[0].Token, ahead[1].Token = 1, 1 // stand for what is not known yet
	a.do(a.runs.BeginDecode(ahead, []int32{0, 1}, []int{0, 1}))
	picked := a.await(choices, logits, []int{0, 1})
	// Those that go on have their next token picked, in a step with the rows of others.
	var rest []ir.Row
	var left []int
	for i, slot := range aheadSlots {
		if ended[i] {
			a.do(a.runs.TakeBack(slot, a.length[i]))
			a.same(slot, a.length[i], false)
			a.tokens[i] = (picked[i] + 1) % int32(a.plain.Vocab()) // somebody else goes on
			continue
		}
		rest, left = append(rest, ir.Row{Token: picked[i], Position: int32(a.length[i]), Slot: slot}), append(left, i)
	}
	if len(rest) == 0 {
		return
	}
	choices = a.choices()
	a.do(a.runs.BeginPick(choices))
	logits, err = a.plain.Decode(rest, []int{0})
	a.do(err)
	picked = a.await(choices, logits, left)
	for _, i := range left {
		a.length[i]++
		a.tokens[i] = picked[i]
		a.same(aheadSlots[i], a.length[i], true)
	}
}

// await waits for tokens and compares those of some rows with what the plain device's
// logits give.
func (a *aheadTest) await(choices []sampling.Choice, logits []float32, of []int) []int32 {
	a.t.Helper()
	picked, vocab := make([]int32, len(choices)), a.plain.Vocab()
	a.do(a.runs.Await(picked))
	for n, i := range of {
		want, err := choices[i].Pick(logits[n*vocab:(n+1)*vocab], nil)
		a.do(err)
		if picked[i] != want {
			a.t.Errorf("sequence %d of %d tokens: picked %d, alone %d", i, a.length[i], picked[i], want)
		}
	}
	return picked
}

// next gives both sequences a token on both devices, and compares all there is.
func (a *aheadTest) next() {
	a.t.Helper()
	rows := a.rows()
	got, err := a.runs.Decode(rows, []int{0, 1})
	a.do(err)
	want, err := a.plain.Decode(rows, []int{0, 1})
	a.do(err)
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			a.t.Errorf("logit %d after %v tokens: %v, on a device that never ran ahead %v", i, a.length, got[i], want[i])
			break
		}
	}
	for i, slot := range aheadSlots {
		a.length[i]++
		a.tokens[i] = int32(7*a.length[i]+i) % int32(a.plain.Vocab())
		a.same(slot, a.length[i], true)
	}
}

// sameCaches compares a slot's rows on two devices: those that the next row looks back to,
// or all that the sequence ever had and the caches still have.
func sameCaches(t *testing.T, d [2]device.Planned, slot int32, length int, whole bool) {
	t.Helper()
	for n, c := range d[0].Bundle().Plan.Caches {
		first, end := 0, length
		switch {
		case !c.Ring:
			end = entriesOf(t, d[0].Bundle().Plan, c, length)
		case whole:
			first = max(0, length-c.Capacity)
		default:
			keep, _ := c.State.Keep.Value()
			first = max(0, length+1-int(keep))
		}
		for i := first; i < end; i++ {
			var rows [2][]byte
			for k := range d {
				own := d[k].Bundle().Plan.Caches[n]
				row, err := d[k].CacheRow(own, slot, i%own.Capacity)
				if err != nil {
					t.Fatal(err)
				}
				rows[k] = row
			}
			if !bytes.Equal(rows[0], rows[1]) {
				t.Fatalf("slot %d of %d tokens: row %d of @%s is not what it is without running ahead", slot, length, i, c.State.Name)
			}
		}
	}
}

// entriesOf is how many rows a cache that grows has of so many tokens.
func entriesOf(t *testing.T, p *plan.Plan, c *plan.Cache, tokens int) int {
	t.Helper()
	n, err := c.State.Keep.Eval(func(name string) (int64, bool) {
		for _, s := range p.Steps[0].Params.Symbols {
			if s.Name == name && s.Def == ir.Reach {
				return int64(tokens), true
			}
		}
		return 0, false
	})
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}
