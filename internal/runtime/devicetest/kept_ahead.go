package devicetest

import (
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/runtime/sampling"
)

// KeptAhead has three sequences run ahead, as those of a scheduler do, and one of them end a
// token before: it is kept while the step that ran past its end may still run, and put into
// the slot of the second, of which the same is true. The third goes on in the step that was
// begun. Logits must be, to the bit, those of a device that never ran ahead and kept nothing.
func KeptAhead(t *testing.T, dir string, lengths []int, open Open) {
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, _, err := bundle.Compile(bundle.Source{Name: "kept", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Formats: Trained, Lean: true, Context: 512, Chunk: 16, Wanted: 3, Slots: 3})
	if err != nil {
		t.Fatal(err)
	}
	runs, plain := open(t, b, m.Checkpoint, nil), open(t, b, m.Checkpoint, nil)
	defer runs.Close()
	defer plain.Close()
	for _, n := range lengths {
		keptAhead(t, runs, plain, n)
	}
}

func keptAhead(t *testing.T, runs, plain device.Planned, n int) {
	t.Helper()
	do := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatalf("at %d tokens: %v", n, err)
			}
		}
	}
	prompts := [3][]int32{Random(n, n+3, plain.Vocab()), Random(3*n, n+8, plain.Vocab()), Random(5*n, n+5, plain.Vocab())}
	row := func(i, at int) ir.Row {
		return ir.Row{Token: prompts[i][at], Position: int32(at), Slot: int32(i)}
	}
	lasts := [3]int{n, n + 5, n + 2} // tokens of prompts
	for i, last := range lasts {
		for _, d := range []device.Device{runs, plain} {
			d.Reset(int32(i))
			for at := 0; at < last; {
				var rows []ir.Row
				for ; at < last && len(rows) < 16; at++ {
					rows = append(rows, row(i, at))
				}
				_, err := d.Prefill(rows, nil)
				do(err)
			}
		}
	}
	step := func(by int) (rows []ir.Row) {
		for i, last := range lasts {
			rows = append(rows, row(i, last+by))
		}
		return rows
	}
	wanted, choices, tokens := []int{0, 1, 2}, make([]sampling.Choice, 3), make([]int32, 3)
	ahead, keeper := runs.(device.Runner), runs.(device.Keeper)
	do(ahead.BeginDecode(step(0), nil, wanted), ahead.BeginPick(choices), ahead.BeginDecode(step(1), []int32{-1, -1, -1}, wanted), ahead.Await(tokens))
	// The first two ended: what ran past is taken back, of one that is kept and of one that is lost.
	do(ahead.TakeBack(0, n+1), ahead.TakeBack(1, n+6))
	entries, err := keeper.KeepEntries(0, 0, n+1)
	do(err)
	frontier, err := keeper.KeepFrontier(0, n+1)
	do(err, keeper.Restore(1, n+1, []device.Part{entries}, frontier))
	entries.Drop()
	frontier.Drop()
	do(ahead.BeginPick(choices), ahead.Await(tokens)) // of the step that ran meanwhile
	var last []float32
	for by := range 2 { // the same without
		rows := step(by)
		if by == 1 {
			rows = rows[2:]
		}
		got, err := plain.Decode(rows, []int{len(rows) - 1})
		do(err)
		last = got
	}
	got, err := ahead.LastLogits(2)
	do(err)
	if !slices.Equal(got, last) {
		t.Fatalf("at %d tokens: the logits of a sequence that went on are others", n)
	}
	want, err := plain.Decode([]ir.Row{row(0, n+1)}, []int{0})
	do(err)
	for _, slot := range []int32{1, 0} {
		r := row(0, n+1)
		r.Slot = slot
		got, err := runs.Decode([]ir.Row{r}, []int{0})
		do(err)
		if !slices.Equal(got, want) {
			t.Fatalf("at %d tokens: slot %d's logits are not those of the sequence that was kept", n, slot)
		}
	}
}

// Rows are tokens of a slot from a position on.
func Rows(slot int32, from, n, vocab int) (rows []ir.Row) {
	for i, token := range Random(from, n, vocab) {
		rows = append(rows, ir.Row{Token: token, Position: int32(from + i), Slot: slot})
	}
	return rows
}

// KeptRefused: what is not there is not kept; parts that make no text, of another device or
// dropped, leave an empty slot, and say why.
func KeptRefused(t *testing.T, d device.Device) {
	t.Helper()
	k := d.(device.Keeper)
	refuse := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; expected %q", what, err, want)
		}
	}
	read := func(slot int32, n int) {
		t.Helper()
		d.Reset(slot)
		if _, err := d.Prefill(Rows(slot, 0, n, d.Vocab()), nil); err != nil {
			t.Fatal(err)
		}
	}
	must := func(p device.Part, err error) device.Part {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	read(0, 9)
	taken, _ := k.Room()
	for _, r := range [][2]int{{0, 10}, {-1, 3}, {4, 3}, {12, 13}} {
		p, err := k.KeepEntries(0, r[0], r[1])
		refuse("entries", err, "")
		if p != nil {
			t.Errorf("entries of %v are kept of 9", r)
		}
	}
	_, err := k.KeepFrontier(0, 10)
	refuse("a frontier past the end", err, "has 9 tokens")
	_, err = k.KeepFrontier(0, -1)
	refuse("a frontier before the beginning", err, "")
	_, err = k.KeepEntries(-1, 0, 0)
	refuse("entries of no slot", err, "slot -1")
	_, err = k.KeepFrontier(-1, 0)
	refuse("the frontier of no slot", err, "slot -1")
	first, second, other := must(k.KeepEntries(0, 0, 5)), must(k.KeepEntries(0, 5, 9)), must(k.KeepEntries(0, 0, 9))
	at := must(k.KeepFrontier(0, 9))
	for what, c := range map[string]struct {
		n       int
		entries []device.Part
		at      device.Part
	}{
		"entries that leave some out":     {9, []device.Part{second}, at},
		"entries twice":                   {9, []device.Part{first, first, second}, at},
		"entries in another order":        {9, []device.Part{second, first}, at},
		"entries that end before":         {9, []device.Part{first}, at},
		"a frontier of another length":    {5, []device.Part{first}, at},
		"another length":                  {8, []device.Part{other}, at},
		"a frontier among the entries":    {9, []device.Part{other, at}, at},
		"entries in the frontier's place": {9, []device.Part{first, second}, other},
		"no frontier":                     {9, []device.Part{other}, nil},
		"no entries":                      {9, nil, at},
		"an entry that is nil":            {9, []device.Part{nil}, at},
	} {
		read(1, 7)
		refuse(what, k.Restore(1, c.n, c.entries, c.at), "part")
		if _, err := d.Prefill(Rows(1, 0, 1, d.Vocab()), nil); err != nil {
			t.Errorf("%s: the slot is not empty: %v", what, err)
		}
	}
	for _, entries := range [][]device.Part{{other}, {first, second}} {
		if err := k.Restore(1, 9, entries, at); err != nil {
			t.Error(err)
		}
		if _, err := d.Prefill(Rows(1, 9, 1, d.Vocab()), nil); err != nil {
			t.Errorf("the slot does not go on at 9: %v", err)
		}
	}
	first.Drop()
	refuse("a part that was dropped", k.Restore(1, 9, []device.Part{first, second}, at), "not any more")
	refuse("no slot", k.Restore(-1, 9, []device.Part{other}, at), "slot -1")
	for _, p := range []device.Part{second, other, at} {
		p.Drop()
	}
	if now, _ := k.Room(); now != taken {
		t.Errorf("%d bytes are taken when all is dropped, %d before", now, taken)
	}
}
