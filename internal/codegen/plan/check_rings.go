package plan

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
)

// checkRings follows each ring through a step. Decode steps have them in the slots. A
// prefill step works in an area: a copy from the slot comes first, a copy back after all
// that writes there, and nothing else of the step touches the slot's.
func (p *Plan) checkRings(s *Step) error {
	if err := s.checkCopies(); err != nil {
		return err
	}
	for _, b := range s.Buffers {
		if b.Area != nil && !slices.ContainsFunc(p.Caches, func(c *Cache) bool { return c.Ring && c.State == b.Area.State && s.Phase == program.Prefill }) {
			return fmt.Errorf("buffer %s is the area of no ring of a prefill step", b.Name)
		}
	}
	for _, c := range p.Caches {
		if !c.Ring || s.Phase != program.Prefill {
			continue
		}
		if err := p.checkRing(s, c); err != nil {
			return fmt.Errorf("ring @%s: %w", c.State.Name, err)
		}
	}
	return nil
}

// checkCopies: dispatches that copy rings bind, of one state after the other, where rows
// come from and where they go.
func (s *Step) checkCopies() error {
	for i, d := range s.Dispatches {
		if d.Region != program.RingsRegion {
			continue
		}
		if d.Role != program.RingsIn && d.Role != program.RingsOut || s.Phase != program.Prefill || len(d.Args)%2 != 0 {
			return fmt.Errorf("dispatch %d (%s) is no copy of rings of a prefill step", i, d.Kernel.Name)
		}
		for n := 0; n < len(d.Args); n += 2 {
			from, to := d.Args[n], d.Args[n+1]
			slots, area := from, to
			if d.Role == program.RingsOut {
				slots, area = to, from
			}
			if from.Param.Access != kernel.Read || to.Param.Access != kernel.Write || slots.Cache == nil || area.Buffer == nil ||
				area.Buffer.Area == nil || area.Buffer.Area.State != slots.Cache.State {
				return fmt.Errorf("dispatch %d (%s): %s and %s are no ring and its area", i, d.Kernel.Name, from.Param.Name, to.Param.Name)
			}
		}
	}
	return nil
}

// checkRing looks at one ring's area, and at who uses it when.
func (p *Plan) checkRing(s *Step, c *Cache) error {
	keep, _ := c.State.Keep.Value()
	rows := min(keep-1+int64(p.Chunk), int64(p.Context)) // what the first row looks back to, and the chunk
	var area *Buffer
	var uses []*Dispatch
	for _, d := range s.Dispatches {
		used := false
		for _, a := range d.Args {
			if a.Cache == c && d.Region != program.RingsRegion {
				return fmt.Errorf("kernel %s of a prefill step uses the slots' rows", d.Kernel.Name)
			}
			if a.Buffer == nil || a.Buffer.Area == nil || a.Buffer.Area.State != c.State {
				continue
			}
			if area != nil && area != a.Buffer {
				return fmt.Errorf("two areas")
			}
			area, used = a.Buffer, true
		}
		if used {
			uses = append(uses, d)
		}
	}
	if area == nil {
		return fmt.Errorf("no area")
	}
	l := area.Area
	if int64(l.Capacity) != rows || !l.Ring || !l.Area || l.Row.Bytes != c.Row.Bytes || area.Size < rows*int64(l.Row.Bytes) {
		return fmt.Errorf("an area of %d rows of %d bytes in %d, expected %d rows of %d", l.Capacity, l.Row.Bytes, area.Size, rows, c.Row.Bytes)
	}
	return inOrder(uses, area, keep > 1)
}

// inOrder: rows are copied into the area before all else, and out after all that writes
// there; neither if no reader looks back.
func inOrder(uses []*Dispatch, area *Buffer, back bool) error {
	ins, outs := 0, 0
	for i, d := range uses {
		switch {
		case d.Region == program.RingsRegion && d.Role == program.RingsIn && i == 0:
			ins++
		case d.Region == program.RingsRegion && d.Role == program.RingsOut && outs == 0:
			outs++
		case d.Region == program.RingsRegion:
			return fmt.Errorf("copy %s is use %d of the area; one copy in comes first, and one out behind it", d.Kernel.Name, i+1)
		case slices.ContainsFunc(d.Args, func(a Arg) bool { return a.Buffer == area && a.Param.Access != kernel.Read }):
			if outs > 0 {
				return fmt.Errorf("kernel %s writes to the area after the copy out of it", d.Kernel.Name)
			}
		}
	}
	want := 0
	if back {
		want = 1
	}
	if ins != want || outs != want {
		return fmt.Errorf("%d copies into the area and %d out of it; expected %d of each", ins, outs, want)
	}
	return nil
}
