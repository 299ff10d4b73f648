// Package keepertest makes keepers of devices that know the tokens of their slots: a part has
// the tokens themselves, so that a test sees whose they are.
package keepertest

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/runtime/device"
)

// Keeper is what a device has to have beside its steps to be a device.Keeper. It refuses
// what a device would, and parts that do not belong together, which a device cannot tell.
type Keeper struct {
	// Held gives the tokens of a slot, Put replaces them.
	Held func(slot int32) []int32
	Put  func(slot int32, tokens []int32)
	// All is the room. A token's entry takes Entry bytes, a frontier Frontier and one more
	// for each token since a multiple of 128.
	All, Entry, Frontier int64
	// Fail, if not nil, may refuse to keep or to restore, by these words.
	Fail func(what string) error

	taken int64
	live  map[*Part]bool
}

// Part is tokens of a text up to one of them: entries of the last ones, or a frontier.
type Part struct {
	keeper *Keeper
	Tokens []int32 // the whole text so far
	From   int     // of entries
	IsEnd  bool    // it is a frontier
	bytes  int64
}

// Bytes is device.Part's.
func (p *Part) Bytes() int64 { return p.bytes }

// Drop is device.Part's. To drop a part twice is a mistake of the caller's.
func (p *Part) Drop() {
	if !p.keeper.live[p] {
		panic("a part is dropped twice")
	}
	delete(p.keeper.live, p)
	p.keeper.taken -= p.bytes
}

// Live are the parts that were not dropped.
func (k *Keeper) Live() (all []*Part) {
	for p := range k.live {
		all = append(all, p)
	}
	return all
}

// IsLive tells whether a part was not dropped.
func (k *Keeper) IsLive(p *Part) bool { return k.live[p] }

// EntriesBytes is device.Keeper's.
func (k *Keeper) EntriesBytes(from, to int) int64 { return int64(to-from) * k.Entry }

// FrontierBytes is device.Keeper's.
func (k *Keeper) FrontierBytes(at int) int64 { return k.Frontier + int64(at%128) }

// Room is device.Keeper's.
func (k *Keeper) Room() (taken, all int64) { return k.taken, k.All }

// KeepEntries is device.Keeper's.
func (k *Keeper) KeepEntries(slot int32, from, to int) (device.Part, error) {
	return k.keep("keep entries", slot, from, to, &Part{From: from, bytes: k.EntriesBytes(from, to)})
}

// KeepFrontier is device.Keeper's.
func (k *Keeper) KeepFrontier(slot int32, at int) (device.Part, error) {
	if n := len(k.Held(slot)); n != at {
		return nil, fmt.Errorf("a frontier at %d of a slot with %d tokens", at, n)
	}
	return k.keep("keep a frontier", slot, 0, at, &Part{IsEnd: true, bytes: k.FrontierBytes(at)})
}

func (k *Keeper) keep(what string, slot int32, from, to int, p *Part) (device.Part, error) {
	tokens := k.Held(slot)
	if from < 0 || from >= to && !p.IsEnd || to > len(tokens) {
		return nil, fmt.Errorf("%s: tokens %d to %d of a slot with %d", what, from, to, len(tokens))
	}
	if k.Fail != nil {
		if err := k.Fail(what); err != nil {
			return nil, err
		}
	}
	if p.bytes > k.All-k.taken {
		return nil, device.ErrNoRoom
	}
	p.keeper, p.Tokens = k, slices.Clone(tokens[:to])
	if k.live == nil {
		k.live = map[*Part]bool{}
	}
	k.live[p] = true
	k.taken += p.bytes
	return p, nil
}

// Restore is device.Keeper's.
func (k *Keeper) Restore(slot int32, n int, entries []device.Part, frontier device.Part) error {
	k.Put(slot, nil)
	if k.Fail != nil {
		if err := k.Fail("restore"); err != nil {
			return err
		}
	}
	end, ok := frontier.(*Part)
	if !ok || !k.live[end] || !end.IsEnd || len(end.Tokens) != n {
		return fmt.Errorf("restore: found %+v, expected a frontier at %d", frontier, n)
	}
	at := 0
	for _, x := range entries {
		p, ok := x.(*Part)
		switch {
		case !ok || !k.live[p] || p.IsEnd || p.From != at:
			return fmt.Errorf("restore: found %+v, expected entries from %d on", x, at)
		case !slices.Equal(p.Tokens, end.Tokens[:min(len(p.Tokens), n)]):
			return fmt.Errorf("restore: entries %d to %d are of another text", at, len(p.Tokens))
		}
		at = len(p.Tokens)
	}
	if at != n {
		return fmt.Errorf("restore: entries up to %d, expected %d", at, n)
	}
	k.Put(slot, slices.Clone(end.Tokens))
	return nil
}
