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
