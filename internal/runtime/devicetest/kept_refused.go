package devicetest

import (
	"strings"
	"testing"

	"smelt.example/smelt/internal/runtime/device"
)

// KeptRefused: what is not there is not kept; parts that make no text, of another device or
// dropped, leave an empty slot, and say why.
func KeptRefused(t *testing.T, d device.Device) {
	t.Helper()
	r := &refusals{T: t, d: d, k: d.(device.Keeper)}
	r.read(0, 9)
	taken, _ := r.k.Room()
	r.notThere()
	first, second, other := r.must(r.k.KeepEntries(0, 0, 5)), r.must(r.k.KeepEntries(0, 5, 9)), r.must(r.k.KeepEntries(0, 0, 9))
	at := r.must(r.k.KeepFrontier(0, 9))
	r.noText(first, second, other, at)
	for _, entries := range [][]device.Part{{other}, {first, second}} {
		if err := r.k.Restore(1, 9, entries, at); err != nil {
			t.Error(err)
		}
		if _, err := d.Prefill(Rows(1, 9, 1, d.Vocab()), nil); err != nil {
			t.Errorf("the slot does not go on at 9: %v", err)
		}
	}
	first.Drop()
	r.refuse("a part that was dropped", r.k.Restore(1, 9, []device.Part{first, second}, at), "not any more")
	r.refuse("no slot", r.k.Restore(-1, 9, []device.Part{other}, at), "slot -1")
	for _, p := range []device.Part{second, other, at} {
		p.Drop()
	}
	if now, _ := r.k.Room(); now != taken {
		t.Errorf("%d bytes are taken when all is dropped, %d before", now, taken)
	}
}

// refusals are those of a device of which slot 0 has 9 tokens.
type refusals struct {
	*testing.T
	d device.Device
	k device.Keeper
}

func (r *refusals) refuse(what string, err error, want string) {
	r.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		r.Errorf("%s: %v; expected %q", what, err, want)
	}
}

func (r *refusals) read(slot int32, n int) {
	r.Helper()
	r.d.Reset(slot)
	if _, err := r.d.Prefill(Rows(slot, 0, n, r.d.Vocab()), nil); err != nil {
		r.Fatal(err)
	}
}

func (r *refusals) must(p device.Part, err error) device.Part {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
	return p
}

// notThere asks for what the slot does not have.
func (r *refusals) notThere() {
	r.Helper()
	for _, of := range [][2]int{{0, 10}, {-1, 3}, {4, 3}, {12, 13}} {
		p, err := r.k.KeepEntries(0, of[0], of[1])
		r.refuse("entries", err, "")
		if p != nil {
			r.Errorf("entries of %v are kept of 9", of)
		}
	}
	_, err := r.k.KeepFrontier(0, 10)
	r.refuse("a frontier past the end", err, "has 9 tokens")
	_, err = r.k.KeepFrontier(0, -1)
	r.refuse("a frontier before the beginning", err, "")
	_, err = r.k.KeepEntries(-1, 0, 0)
	r.refuse("entries of no slot", err, "slot -1")
	_, err = r.k.KeepFrontier(-1, 0)
	r.refuse("the frontier of no slot", err, "slot -1")
}

// noText restores parts that make no text: of entries 0 to 5 and 5 to 9, of all 9, and of the
// frontier at 9.
func (r *refusals) noText(first, second, other, at device.Part) {
	r.Helper()
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
		r.read(1, 7)
		r.refuse(what, r.k.Restore(1, c.n, c.entries, c.at), "part")
		if _, err := r.d.Prefill(Rows(1, 0, 1, r.d.Vocab()), nil); err != nil {
			r.Errorf("%s: the slot is not empty: %v", what, err)
		}
	}
}
