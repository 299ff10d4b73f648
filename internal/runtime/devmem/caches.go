package devmem

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/ir"
)

// CacheMemory is the memory of a plan's caches, p.CacheBytes long, wherever it is.
type CacheMemory interface {
	// Read reads len(to) bytes from an offset on.
	Read(to []byte, at int64) error
	// Write writes bytes from an offset on.
	Write(at int64, bytes []byte) error
	// Copy copies n bytes from one offset to another; the two do not overlap.
	Copy(to, from, n int64) error
}

// Caches are the caches of a plan's slots, with what can be done to a slot between
// steps: go back, be copied, be made longer. Its methods must not run beside a
// step. After an error of the memory the slots concerned are to be reset.
type Caches struct {
	plan   *plan.Plan
	memory CacheMemory
	slots  *Slots
	reach  string // the symbol that is a sequence's length; empty if there is none
}

// NewCaches is for the memory of a plan's caches and the slots that steps check with.
func NewCaches(p *plan.Plan, memory CacheMemory, slots *Slots) *Caches {
	c := &Caches{plan: p, memory: memory, slots: slots}
	for _, s := range p.Steps[0].Params.Symbols {
		if s.Def == ir.Reach {
			c.reach = s.Name
		}
	}
	return c
}

// rows is how many rows of a cache a sequence of so many tokens has at most: of a ring,
// a prompt leaves no more than may be looked back to.
func (c *Caches) rows(k *plan.Cache, tokens int) (int, error) {
	if k.Ring {
		return min(tokens, k.Capacity), nil
	}
	n, err := k.State.Keep.Eval(func(name string) (int64, bool) { return int64(tokens), name == c.reach })
	if err != nil {
		return 0, fmt.Errorf("state @%s: keep: %w", k.State.Name, err)
	}
	return int(min(n, int64(k.Capacity))), nil
}

// of is where a slot's part of a cache begins, and how long it is.
func (c *Caches) of(k *plan.Cache, slot int32) (at, n int64) {
	n = int64(k.Capacity) * int64(k.Row.Bytes)
	return k.Offset + int64(slot)*n, n
}

func (c *Caches) check(slots ...int32) error {
	for _, s := range slots {
		if s < 0 || int(s) >= c.plan.Slots {
			return option.Errorf("slot %d; expected 0 to %d (compile with more %s)", s, c.plan.Slots-1, option.Name("Slots"))
		}
	}
	return nil
}

// Bytes counts how much of its slot a sequence of so many tokens fills.
func (c *Caches) Bytes(tokens int) (int64, error) {
	total := int64(0)
	for _, k := range c.plan.Caches {
		n, err := c.rows(k, tokens)
		if err != nil {
			return 0, err
		}
		total += int64(n) * int64(k.Row.Bytes)
	}
	return total, nil
}

// Mark is a place that a slot can go back to.
type Mark struct {
	slot   int32
	tokens int
	rings  [][]byte
}

// Tokens is the length of the slot's sequence at the mark.
func (m *Mark) Tokens() int { return m.tokens }

// Mark remembers a slot as it is: its length and its rings. Other caches only
// grow, so being shorter again is all that going back takes there.
func (c *Caches) Mark(slot int32) (*Mark, error) {
	if err := c.check(slot); err != nil {
		return nil, err
	}
	m := &Mark{slot: slot, tokens: c.slots.Length(slot)}
	for _, k := range c.plan.Caches {
		if !k.Ring {
			continue
		}
		at, n := c.of(k, slot)
		ring := make([]byte, n)
		if err := c.memory.Read(ring, at); err != nil {
			return nil, err
		}
		m.rings = append(m.rings, ring)
	}
	return m, nil
}

// Rewind makes a slot what it was at the mark. The slot must not have been
// reset since; a mark can be used again.
func (c *Caches) Rewind(m *Mark) error {
	if have := c.slots.Length(m.slot); have < m.tokens {
		return fmt.Errorf("slot %d has %d tokens and cannot go back to %d: it was reset since the mark", m.slot, have, m.tokens)
	}
	rings := m.rings
	for _, k := range c.plan.Caches {
		if !k.Ring {
			continue
		}
		at, _ := c.of(k, m.slot)
		if err := c.memory.Write(at, rings[0]); err != nil {
			return err
		}
		rings = rings[1:]
	}
	c.slots.holds(m.slot, m.tokens)
	return nil
}

// Copy gives slot `to` the sequence of slot `from`.
func (c *Caches) Copy(to, from int32) error {
	if err := c.check(to, from); err != nil || to == from {
		return err
	}
	tokens := c.slots.Length(from)
	for _, k := range c.plan.Caches {
		n, err := c.rows(k, tokens)
		if err != nil {
			return err
		}
		source, _ := c.of(k, from)
		target, _ := c.of(k, to)
		if err := c.memory.Copy(target, source, int64(n)*int64(k.Row.Bytes)); err != nil {
			return err
		}
	}
	c.slots.holds(to, tokens)
	return nil
}

// Stretch makes a slot's sequence as long as `tokens` by having its rows over
// and over. The text then means nothing; steps take the time that they take at
// this length. It must be no shorter than it is, not empty, and within the plan's
// context.
func (c *Caches) Stretch(slot int32, tokens int) error {
	if err := c.check(slot); err != nil {
		return err
	}
	have := c.slots.Length(slot)
	if have < 1 || tokens < have || tokens > c.plan.Context {
		return fmt.Errorf("slot %d has %d tokens and cannot be made one of %d; expected 1 to %d, and no fewer than there are", slot, have, tokens, c.plan.Context)
	}
	for _, k := range c.plan.Caches {
		at, _ := c.of(k, slot)
		if k.Ring {
			if err := c.turn(k, at, have); err != nil {
				return err
			}
			continue
		}
		n, err := c.rows(k, have)
		if err != nil {
			return err
		}
		want, err := c.rows(k, tokens)
		if err != nil {
			return err
		}
		if err := c.repeat(at, int64(n)*int64(k.Row.Bytes), int64(want)*int64(k.Row.Bytes)); err != nil {
			return err
		}
	}
	c.slots.holds(slot, tokens)
	return nil
}

// looked is how many rows of a ring the token at a position looks back to, its own left out.
func looked(k *plan.Cache, at int) int {
	keep, _ := k.State.Keep.Value()
	return max(min(int(keep)-1, at), 0)
}

// turn fills a ring with the rows that may be looked back to, over and over. A ring need
// not hold more: a prompt leaves no others.
func (c *Caches) turn(k *plan.Cache, at int64, tokens int) error {
	n, bytes := looked(k, tokens), k.Row.Bytes
	if n == 0 {
		return nil
	}
	old, ring := make([]byte, k.Capacity*bytes), make([]byte, 0, k.Capacity*bytes)
	if err := c.memory.Read(old, at); err != nil {
		return err
	}
	for i := range k.Capacity {
		row := (tokens - n + i%n) % k.Capacity
		ring = append(ring, old[row*bytes:][:bytes]...)
	}
	return c.memory.Write(at, ring)
}

// repeat fills the memory from an offset on, `want` bytes, with its first n bytes over
// and over; with zeros if n is 0.
func (c *Caches) repeat(at, n, want int64) error {
	if n == 0 {
		return c.memory.Write(at, make([]byte, want))
	}
	for n < want {
		more := min(n, want-n)
		if err := c.memory.Copy(at+n, at, more); err != nil {
			return err
		}
		n += more
	}
	return nil
}
