package plan

import (
	"errors"
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// Check replays the steps from what a device sees: dispatches in order, ranges of
// memory, barriers. It shares nothing with the planner. It finds buffers that
// overlap while both are needed, reads of memory whose last writer was another
// buffer's, and conflicting accesses without a barrier between them; steps of
// other sizes than the options'; caches that lie on each other or are too small;
// and what the module has and a step leaves out: a region that no dispatch stands
// for, a state that none appends to.
func (p *Plan) Check(m *ir.Module) error {
	if err := p.Options.Check(); err != nil {
		return err
	}
	if len(p.Steps) != 2 {
		return fmt.Errorf("the plan has %d steps, expected decode and prefill", len(p.Steps))
	}
	for i, s := range p.Steps {
		if err := p.checkSizes(program.Phase(i), s); err != nil {
			return fmt.Errorf("plan of the %s step: %w", program.Phase(i), err)
		}
	}
	if err := p.checkCaches(m); err != nil {
		return err
	}
	if err := p.checkHeld(); err != nil {
		return err
	}
	for _, s := range p.Steps {
		err := p.checkStep(s)
		if err == nil {
			err = p.checkWhole(m, s)
		}
		if err == nil {
			err = p.checkRings(s)
		}
		if err != nil {
			return fmt.Errorf("plan of the %s step: %w", s.Phase, err)
		}
	}
	return nil
}

// extent is a range of bytes of the arena or of the cache memory.
type extent struct {
	cache    bool
	from, to int64
}

func (e extent) overlaps(o extent) bool { return e.cache == o.cache && e.from < o.to && o.from < e.to }

// touch is one access since the last barrier.
type touch struct {
	extent
	write    bool
	dispatch int
	name     string
}

func (p *Plan) checkStep(s *Step) error {
	var since []touch
	owner := owners{}
	for _, b := range s.Buffers {
		if b.Held { // by a step before, if by none of this one
			owner.write(touch{extent: extent{false, b.Offset, b.Offset + b.Size}, name: b.Name})
		}
	}
	for i, d := range s.Dispatches {
		if d.Barrier {
			since = since[:0]
		}
		if err := s.checkCommandBuffer(i, d); err != nil {
			return err
		}
		now, err := p.touches(s, i, d)
		if err != nil {
			return err
		}
		for _, t := range now {
			for _, o := range since {
				if (t.write || o.write) && t.overlaps(o.extent) && !s.apart(d, s.Dispatches[o.dispatch]) {
					return fmt.Errorf("dispatch %d (%s) and dispatch %d (%s) conflict over %s and %s without a barrier between them",
						o.dispatch, s.Dispatches[o.dispatch].Kernel.Name, i, d.Kernel.Name, o.name, t.name)
				}
			}
			if !t.cache && !t.write {
				if err := owner.read(t); err != nil {
					return fmt.Errorf("dispatch %d (%s): %w", i, d.Kernel.Name, err)
				}
			}
		}
		for _, t := range now {
			if t.write && !t.cache {
				owner.write(t)
			}
		}
		since = append(since, now...)
	}
	for _, r := range s.outcome() {
		if err := owner.read(touch{extent: extent{false, r.Offset, r.Offset + r.Size}, name: r.Name}); err != nil {
			return fmt.Errorf("after the last dispatch: %w", err)
		}
	}
	return nil
}

// checkHeld sees to it that what steps of one kind hold is where those of the other look
// for it, and that nothing else is put there: the next step reads it, and the host
// meanwhile.
func (p *Plan) checkHeld() error {
	for _, s := range p.Steps {
		if err := s.checkLists(); err != nil {
			return fmt.Errorf("plan of the %s step: %w", s.Phase, err)
		}
		for _, b := range s.Buffers {
			for _, o := range s.Buffers {
				if b.Held && o != b && b.Offset < o.Offset+o.Size && o.Offset < b.Offset+b.Size {
					return fmt.Errorf("plan of the %s step: %s lies where %s is held", s.Phase, o.Name, b.Name)
				}
			}
		}
	}
	for _, of := range []func(*Step) *Buffer{func(s *Step) *Buffer { return s.Tokens }, func(s *Step) *Buffer { return s.Scores }} {
		if a, b := of(p.Steps[0]), of(p.Steps[1]); (a == nil) != (b == nil) || a != nil && a.Offset != b.Offset {
			return errors.New("the two kinds of steps hold tokens, or their scores, in different places")
		}
	}
	return nil
}

// checkLists sees to it that the dispatches that pick tokens and those that score them come
// last, in this order, and that they write what they are there for, which is held and has
// room.
func (s *Step) checkLists() error {
	for _, l := range []struct {
		what     string
		out      *Buffer
		bytes    int // of one of its sets, for a row
		region   string
		from, to int
	}{
		{"picks", s.Tokens, 4, program.SampleRegion, s.Picks(), s.Scoring()},
		{"scores", s.Scores, 4 * program.ScoreWords, program.ScoreRegion, s.Scoring(), len(s.Dispatches)},
	} {
		if l.out == nil {
			continue
		}
		if need := int64(l.bytes * program.TokenSets * s.Params.Sampled); !l.out.Held || l.out.Size < need {
			return fmt.Errorf("the %s are not held, or do not fit %d bytes", l.out.Name, l.out.Size)
		}
		for i, d := range s.Dispatches {
			if in := i >= l.from && i < l.to; in != (d.Region == l.region) {
				return fmt.Errorf("dispatch %d (%s) is among those of another list than @%s", i, d.Kernel.Name, d.Region)
			}
		}
		if !slices.ContainsFunc(s.Dispatches[l.from:l.to], func(d *Dispatch) bool { return d.writes(l.out) }) {
			return fmt.Errorf("no dispatch %s tokens", l.what)
		}
	}
	return nil
}

// writes reports whether the dispatch may write the buffer.
func (d *Dispatch) writes(b *Buffer) bool {
	return slices.ContainsFunc(d.Args, func(a Arg) bool { return a.Buffer == b && a.Param.Access != kernel.Read })
}

// touches lists a dispatch's accesses to memory that kernels write.
func (p *Plan) touches(s *Step, i int, d *Dispatch) ([]touch, error) {
	var out []touch
	for _, a := range d.Args {
		t := touch{write: a.Param.Access != kernel.Read, dispatch: i}
		switch {
		case a.Buffer != nil:
			t.extent, t.name = extent{false, a.Buffer.Offset, a.Buffer.Offset + a.Buffer.Size}, a.Buffer.Name
			if n, err := a.Buffer.Bytes.Eval(env(s.Limits)); err != nil || n > a.Buffer.Size || t.to > s.ArenaBytes || t.from < 0 {
				return nil, fmt.Errorf("dispatch %d (%s): buffer %s of %s bytes does not fit its range [%d, %d) of an arena of %d", i, d.Kernel.Name, t.name, a.Buffer.Bytes, t.from, t.to, s.ArenaBytes)
			}
		case a.Cache != nil:
			t.extent, t.name = extent{true, a.Cache.Offset, a.Cache.Offset + a.Cache.Bytes}, "@"+a.Cache.State.Name
			if !slices.Contains(p.Caches, a.Cache) {
				return nil, fmt.Errorf("dispatch %d (%s): the cache %s is none of the plan's", i, d.Kernel.Name, t.name)
			}
		default:
			continue
		}
		if a.Param.Access == kernel.ReadWrite && !s.working(a.Buffer) {
			read := t
			read.write = false
			out = append(out, read)
		}
		out = append(out, t)
	}
	for i, a := range out {
		for _, b := range out[:i] {
			if a.name != b.name && (a.write || b.write) && a.overlaps(b.extent) {
				return nil, fmt.Errorf("dispatch %d (%s): %s and %s overlap", a.dispatch, d.Kernel.Name, a.name, b.name)
			}
		}
	}
	return out, nil
}

// working tells whether a buffer is working memory of one dispatch: nobody else can
// have written what it reads there.
func (s *Step) working(b *Buffer) bool {
	users := 0
	for _, d := range s.Dispatches {
		if slices.ContainsFunc(d.Args, func(a Arg) bool { return a.Buffer == b }) {
			users++
		}
	}
	return b != nil && b.Scratch && users == 1
}

// owners says which buffer wrote each range of the arena last; ranges are
// disjoint.
type owners map[extent]string

func (o owners) write(t touch) {
	for e, name := range o {
		if !e.overlaps(t.extent) {
			continue
		}
		delete(o, e)
		if e.from < t.from {
			o[extent{false, e.from, t.from}] = name
		}
		if t.to < e.to {
			o[extent{false, t.to, e.to}] = name
		}
	}
	o[t.extent] = t.name
}

func (o owners) read(t touch) error {
	covered := int64(0)
	for e, name := range o {
		if !e.overlaps(t.extent) {
			continue
		}
		if name != t.name {
			return fmt.Errorf("reads %s where %s was written last", t.name, name)
		}
		covered += min(e.to, t.to) - max(e.from, t.from)
	}
	if covered != t.to-t.from {
		return fmt.Errorf("reads %s, of which %d of %d bytes were written", t.name, covered, t.to-t.from)
	}
	return nil
}
