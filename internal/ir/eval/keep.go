package eval

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Rows are rows of some of a module's states, in the order in which it declares those.
type Rows[F tensor.Float] [][]F

// of calls f for the states of a kind, those that roll or those that grow, with the rows
// that are kept of the first `length` tokens: from one to before another.
func (ma *Machine[F]) of(roll bool, length int, f func(s *ir.State, first, next int) error) error {
	if length < 0 {
		return fmt.Errorf("%d tokens; expected 0 or more", length)
	}
	reach := func(symbol string) (int64, bool) {
		known := slices.ContainsFunc(ma.module.Symbols, func(s ir.Symbol) bool { return s.Name == symbol && s.Def == ir.Reach })
		return int64(length), known
	}
	for _, s := range ma.module.States {
		keep, rolls := s.Keep.Value()
		if rolls != roll {
			continue
		}
		first, next := max(int64(length)-max(keep-1, 0), 0), int64(length) // a row for each token
		if !rolls {
			var err error
			first = 0
			if next, err = s.Keep.Eval(reach); err != nil {
				return fmt.Errorf("state @%s: keep: %w", s.Name, err)
			}
		}
		if err := f(s, int(first), int(next)); err != nil {
			return fmt.Errorf("state @%s: %w", s.Name, err)
		}
	}
	return nil
}

// grown calls f with the rows that tokens from one position to before another added to each
// state that grows.
func (ma *Machine[F]) grown(from, to int, f func(s *ir.State, first, next int) error) error {
	if from < 0 || to < from {
		return fmt.Errorf("entries of tokens %d to %d; expected some, in order", from, to)
	}
	var firsts []int
	if err := ma.of(false, from, func(_ *ir.State, _, next int) error { firsts = append(firsts, next); return nil }); err != nil {
		return err
	}
	return ma.of(false, to, func(s *ir.State, _, next int) error {
		first := firsts[0]
		firsts = firsts[1:]
		if next < first {
			return fmt.Errorf("%d rows of %d tokens and %d of %d: it does not grow", first, from, next, to)
		}
		return f(s, first, next)
	})
}

// EntriesLen is how many numbers Entries has.
func (ma *Machine[F]) EntriesLen(from, to int) (n int, err error) {
	err = ma.grown(from, to, func(s *ir.State, first, next int) error { n += (next - first) * ma.states[s.Name].Width(); return nil })
	return n, err
}

// FrontierLen is how many numbers Frontier has.
func (ma *Machine[F]) FrontierLen(at int) (n int, err error) {
	err = ma.of(true, at, func(s *ir.State, first, next int) error { n += (next - first) * ma.states[s.Name].Width(); return nil })
	return n, err
}

// Entries are the rows that a slot's tokens from one position to before another added to the
// states that grow.
func (ma *Machine[F]) Entries(slot int32, from, to int) (out Rows[F], err error) {
	err = ma.grown(from, to, ma.copied(slot, to, &out))
	return out, err
}

// Frontier are the rows that a slot's token at a position looks back to in the states that
// roll.
func (ma *Machine[F]) Frontier(slot int32, at int) (out Rows[F], err error) {
	err = ma.of(true, at, ma.copied(slot, at, &out))
	return out, err
}

// copied copies rows of a slot that has so many tokens or more.
func (ma *Machine[F]) copied(slot int32, tokens int, to *Rows[F]) func(s *ir.State, first, next int) error {
	return func(s *ir.State, first, next int) error {
		if have := int(ma.next[slot]); tokens > have || slot < 0 {
			return fmt.Errorf("slot %d has %d tokens, not %d", slot, have, tokens)
		}
		rows, err := ma.states[s.Name].Rows(slot, first, next)
		*to = append(*to, rows)
		return err
	}
}

// Restore makes a slot's sequence one of n tokens, out of entries that follow one another
// from 0 to n and the frontier at n. On an error the slot is empty.
func (ma *Machine[F]) Restore(slot int32, n int, entries []Rows[F], frontier Rows[F]) (err error) {
	if slot < 0 || n < 0 {
		return fmt.Errorf("slot %d with %d tokens; expected 0 or more", slot, n)
	}
	ma.Reset(slot)
	defer func() {
		if err != nil {
			ma.Reset(slot)
		}
	}()
	if err := ma.of(true, n, func(s *ir.State, first, _ int) error {
		ma.states[s.Name].Put(slot, first, frontier[0])
		frontier = frontier[1:]
		return nil
	}); err != nil {
		return err
	}
	i := 0
	if err := ma.of(false, n, func(s *ir.State, _, next int) error {
		log := ma.states[s.Name]
		var parts [][]F
		for _, e := range entries {
			parts = append(parts, e[i])
		}
		i++
		log.Put(slot, 0, parts...)
		if have := log.Next(slot); have != next {
			return fmt.Errorf("%d rows of the entries, expected %d", have, next)
		}
		return nil
	}); err != nil {
		return err
	}
	ma.next[slot] = int32(n)
	return nil
}
