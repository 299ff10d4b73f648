package plan

import (
	"fmt"
	"maps"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// checkSizes compares a step's sizes with the options.
func (p *Plan) checkSizes(phase program.Phase, s *Step) error {
	rows, texts := p.Chunk, 1
	if phase == program.Decode {
		rows, texts = program.MaxDecodeRows, p.Slots
	}
	if s.Phase != phase || s.MaxRows != rows || s.Params == nil || s.Params.MaxRows != rows {
		return fmt.Errorf("a %s step of %d rows, expected %s of %d", s.Phase, s.MaxRows, phase, rows)
	}
	want := map[string]int64{}
	for _, sym := range s.Params.Symbols {
		switch sym.Def {
		case ir.Rows:
			want[sym.Name] = int64(rows)
		case ir.Wanted:
			want[sym.Name] = int64(min(rows, p.Wanted))
		case ir.Reach:
			want[sym.Name] = int64(p.Context)
		case ir.Closing: // each text's rows are consecutive; a run of n closes n/R blocks, or one more
			want[sym.Name] = int64(min(rows, rows/int(sym.Arg)+texts))
		}
	}
	if !maps.Equal(s.Limits, want) {
		return fmt.Errorf("the symbols' limits are %v, expected %v for %d rows, %d wanted, %d slots, context %d", s.Limits, want, rows, p.Wanted, p.Slots, p.Context)
	}
	return nil
}

// checkCaches sees to it that every state has one place of its own within the
// cache memory, with room for what a step may look back to.
func (p *Plan) checkCaches(m *ir.Module) error {
	if len(p.Caches) != len(m.States) {
		return fmt.Errorf("%d caches for the %d states of the module", len(p.Caches), len(m.States))
	}
	byPlace := slices.SortedFunc(slices.Values(p.Caches), func(a, b *Cache) int {
		return int(min(max(a.Offset-b.Offset, -1), 1))
	})
	end, last := int64(0), "the beginning"
	for _, c := range byPlace {
		switch name := c.State.Name; {
		case c.Offset < end:
			return fmt.Errorf("cache @%s at %d begins before the end of %s at %d", name, c.Offset, last, end)
		case c.Offset%256 != 0 || c.Bytes < 1 || c.Bytes > p.CacheBytes-c.Offset:
			return fmt.Errorf("cache @%s lies at [%d, %d) of %d bytes; expected a multiple of 256, within them", name, c.Offset, c.Offset+c.Bytes, p.CacheBytes)
		default:
			end, last = c.Offset+c.Bytes, "@"+name
		}
	}
	for i, c := range p.Caches {
		if c.State != m.States[i] {
			return fmt.Errorf("cache %d is of state @%s, expected @%s", i, c.State.Name, m.States[i].Name)
		}
		if err := p.checkCapacity(c); err != nil {
			return fmt.Errorf("cache @%s: %w", c.State.Name, err)
		}
	}
	return nil
}

// checkCapacity compares a cache's rows with what its state is to keep.
func (p *Plan) checkCapacity(c *Cache) error {
	keep, ring := c.State.Keep.Value()
	want := int64(0)
	if ring { // what a row looks back to, and the rows of a decode step; never more than a text has
		want = min(keep-1+program.MaxDecodeRows, int64(p.Context))
	} else {
		var err error
		if want, err = c.State.Keep.Eval(env(p.Steps[program.Prefill].Limits)); err != nil {
			return err
		}
		want = max(want, 1)
	}
	room := int64(0)
	if c.Row.Bytes > 0 && c.Slots > 0 {
		room = c.Bytes / int64(c.Row.Bytes) / int64(c.Slots)
	}
	if c.Ring != ring || int64(c.Capacity) != want || c.Slots != p.Slots || room < want {
		return fmt.Errorf("%d slots of %d rows of %d bytes (ring: %t) in %d bytes, expected %d slots of %d rows (ring: %t)",
			c.Slots, c.Capacity, c.Row.Bytes, c.Ring, c.Bytes, p.Slots, want, ring)
	}
	return nil
}

// checkCommandBuffer: they are numbered from 0 without gaps, and one ends at a
// barrier.
func (s *Step) checkCommandBuffer(i int, d *Dispatch) error {
	before := 0
	if i > 0 {
		before = s.Dispatches[i-1].CommandBuffer
	}
	switch {
	case d.CommandBuffer == before:
		return nil
	case i == 0 || d.CommandBuffer != before+1:
		return fmt.Errorf("dispatch %d (%s) is in command buffer %d, expected %d or the next", i, d.Kernel.Name, d.CommandBuffer, before)
	case !d.Barrier:
		return fmt.Errorf("dispatch %d (%s) begins a command buffer without a barrier", i, d.Kernel.Name)
	}
	return nil
}

// checkWhole finds regions that no dispatch stands for, dispatches that stand for
// none, and states that no dispatch appends to.
func (p *Plan) checkWhole(m *ir.Module, s *Step) error {
	if len(s.Results) != len(m.Results) {
		return fmt.Errorf("%d results, expected the module's %d", len(s.Results), len(m.Results))
	}
	launched, appended := map[string]bool{}, map[*ir.State]bool{}
	for i, d := range s.Dispatches {
		known := slices.ContainsFunc(m.Regions, func(r *ir.Region) bool { return r.Name == d.Region })
		if d.Region == program.RingsRegion {
			continue // of checkRings
		}
		if !known && !s.makesOfLogits(d.Region) {
			return fmt.Errorf("dispatch %d (%s) is of region @%s, which the module does not have", i, d.Kernel.Name, d.Region)
		}
		launched[d.Region] = true
		for _, a := range d.Args {
			switch writes := a.Param.Access != kernel.Read; {
			case writes && a.Cache != nil:
				appended[a.Cache.State] = true
			case writes && a.Buffer != nil && a.Buffer.Area != nil:
				appended[a.Buffer.Area.State] = true
			}
		}
	}
	for _, r := range m.Regions {
		if !launched[r.Name] {
			return fmt.Errorf("no dispatch is of region @%s", r.Name)
		}
	}
	for _, c := range p.Caches {
		if !appended[c.State] {
			return fmt.Errorf("no dispatch appends to state @%s", c.State.Name)
		}
	}
	return nil
}

// makesOfLogits tells whether the dispatches of a name that is no region's make something
// of the step's logits.
func (s *Step) makesOfLogits(region string) bool {
	return region == program.ScoreRegion && s.Scores != nil || region == program.SampleRegion && s.Tokens != nil
}
