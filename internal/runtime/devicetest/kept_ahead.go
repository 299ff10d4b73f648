package devicetest

import (
	"slices"
	"testing"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// KeptAhead has three sequences run ahead, as those of a scheduler do, and one of them end a
// token before: it is kept while the step that ran past its end may still run, and put into
// the slot of the second, of which the same is true. The third goes on in the step that was
// begun. Logits must be, to the bit, those that they had when nothing ran ahead or was kept.
// The device has three slots and a chunk of 16 rows or more.
func KeptAhead(t *testing.T, d device.Device, lengths ...int) {
	t.Helper()
	for _, n := range lengths {
		k := &keptAhead{t: t, d: d, runner: d.(device.Runner), keeper: d.(device.Keeper), lasts: [3]int{n, n + 1, n + 2}}
		for i, last := range k.lasts {
			k.tokens[i] = Random((2*i+1)*n, last+3, d.Vocab())
		}
		k.run()
	}
}

// keptAhead is three sequences, whose prompts have so many tokens.
type keptAhead struct {
	t      *testing.T
	d      device.Device
	runner device.Runner
	keeper device.Keeper
	tokens [3][]int32
	lasts  [3]int
}

// row is of a sequence's token behind the prompt.
func (k *keptAhead) row(i, by int) ir.Row {
	at := k.lasts[i] + by
	return ir.Row{Token: k.tokens[i][at], Position: int32(at), Slot: int32(i)}
}

// read reads the prompts.
func (k *keptAhead) read() {
	k.t.Helper()
	for i, last := range k.lasts {
		k.d.Reset(int32(i))
		for at := 0; at < last; {
			var rows []ir.Row
			for ; at < last && len(rows) < 16; at++ {
				rows = append(rows, k.row(i, at-last))
			}
			_, err := k.d.Prefill(rows, nil)
			k.do(err)
		}
	}
}

// do fails the test at an error.
func (k *keptAhead) do(errs ...error) {
	k.t.Helper()
	for _, err := range errs {
		if err != nil {
			k.t.Fatalf("prompts of %v tokens: %v", k.lasts, err)
		}
	}
}

// same compares the logits of one row.
func (k *keptAhead) same(what string, got, want []float32) {
	k.t.Helper()
	if !slices.Equal(got, want) {
		k.t.Fatalf("prompts of %v tokens: %s has other logits", k.lasts, what)
	}
}

func (k *keptAhead) run() {
	k.t.Helper()
	k.read()
	_, err := k.d.Decode([]ir.Row{k.row(0, 0), k.row(1, 0), k.row(2, 0)}, nil)
	k.do(err)
	want, err := k.d.Decode([]ir.Row{k.row(0, 1), k.row(2, 1)}, []int{0, 1})
	k.do(err)
	vocab := k.d.Vocab()
	k.read()
	wanted, choices, tokens := []int{0, 1, 2}, make([]sampling.Choice, 3), make([]int32, 3)
	for by := range 2 {
		k.do(k.runner.BeginDecode([]ir.Row{k.row(0, by), k.row(1, by), k.row(2, by)}, nil, wanted))
		if by == 0 {
			k.do(k.runner.BeginPick(choices))
		}
	}
	// The first two ended: what ran past is taken back, of one that is kept and of one that is lost.
	first, second := k.lasts[0]+1, k.lasts[1]+1
	k.do(k.runner.Await(tokens), k.runner.TakeBack(0, first), k.runner.TakeBack(1, second))
	entries, err := k.keeper.KeepEntries(0, 0, first)
	k.do(err)
	frontier, err := k.keeper.KeepFrontier(0, first)
	k.do(err, k.keeper.Restore(1, first, []device.Part{entries}, frontier))
	entries.Drop()
	frontier.Drop()
	k.do(k.runner.BeginPick(choices), k.runner.Await(tokens)) // of the step that ran meanwhile
	got, err := k.runner.LastLogits(2)
	k.do(err)
	k.same("the one that went on", got, want[vocab:])
	for _, slot := range []int32{1, 0} {
		r := k.row(0, 1)
		r.Slot = slot
		got, err := k.d.Decode([]ir.Row{r}, []int{0})
		k.do(err)
		k.same("the one that was kept", got, want[:vocab])
	}
}

// Rows are tokens of a slot from a position on.
func Rows(slot int32, from, n, vocab int) (rows []ir.Row) {
	for i, token := range Random(from, n, vocab) {
		rows = append(rows, ir.Row{Token: token, Position: int32(from + i), Slot: slot})
	}
	return rows
}
