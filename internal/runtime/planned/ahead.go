package planned

import (
	"cmp"
	"errors"
	"fmt"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// ahead is what is known of steps that were begun and not waited for.
type ahead struct {
	starts  int      // of the machine's, so far
	waited  int      // how many of them are known to have ended
	open    *step    // whose tokens may be picked: the one that was begun last
	choice  int      // tokens that it is asked for
	set     int      // of Tokens, into which were picked last,
	picked  int      // and how many
	picking []picked // to be waited for, the first begun first
	awaited picked   // last, with scores that nobody has read

	asks [program.TokenSets][]program.Ask // of those, made once
}

// picked are tokens that were begun to be picked, and scored.
type picked struct {
	start, set, n int
	asks          []program.Ask
}

// Ahead tells whether the machine runs what was started beside the host.
func (d *Device) Ahead() bool {
	_, beside := d.machine.(Beside)
	return beside && d.steps[program.Decode].plan.Tokens != nil
}

// BeginDecode is device.Runner's.
func (d *Device) BeginDecode(rows []ir.Row, sources []int32, wanted []int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.steps[program.Decode]
	if err := d.ready(s, rows, wanted); err != nil {
		return err
	}
	if len(d.ahead.picking) == program.TokenSets {
		return errors.New("tokens of steps before were not waited for")
	}
	if err := s.fill(asked{rows: rows, wanted: wanted}); err != nil {
		return err
	}
	if sources != nil {
		if err := s.follow(rows, sources); err != nil {
			return err
		}
	}
	if err := s.use(0, s.plan.Picks()); err != nil {
		return err
	}
	if err := d.note(s.begin(0, s.plan.Picks())); err != nil {
		return err
	}
	d.slots.Take()
	d.last = lastStep{step: s, wanted: len(wanted)}
	d.ahead.open, d.ahead.choice = s, len(wanted)
	return nil
}

// follow has rows take tokens of those that were picked last.
func (s *step) follow(rows []ir.Row, sources []int32) error {
	if len(sources) != len(rows) {
		return fmt.Errorf("sources of %d tokens, of %d rows", len(sources), len(rows))
	}
	s.sources = s.sources[:0]
	for _, from := range sources {
		if int(from) >= s.d.ahead.picked {
			return fmt.Errorf("a row follows on token %d, of %d that were picked", from, s.d.ahead.picked)
		}
		if from >= 0 {
			from += int32(s.d.ahead.set * program.MaxSampled)
		}
		s.sources = append(s.sources, from)
	}
	return s.filler.Follow(s.block, s.sources)
}

// BeginPick is device.Runner's.
func (d *Device) BeginPick(choices []sampling.Choice) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	a := &d.ahead
	s := a.open
	if s == nil {
		return errors.New("no step was begun whose tokens are not picked yet")
	}
	if len(choices) != a.choice {
		return fmt.Errorf("%d choices, for %d wanted rows", len(choices), a.choice)
	}
	set := (a.set + 1) % program.TokenSets
	if err := s.filler.Choose(s.block, set, choices); err != nil {
		return err
	}
	if err := s.use(s.plan.Picks(), s.plan.Scoring()); err != nil {
		return err
	}
	if err := d.note(s.launch(s.plan.Picks(), s.plan.Scoring())); err != nil {
		return err
	}
	a.open, a.set, a.picked, d.last.picked = nil, set, len(choices), len(choices)
	a.picking = append(a.picking, picked{start: a.starts, set: set, n: len(choices)})
	return nil
}

// Await is device.Runner's.
func (d *Device) Await(tokens []int32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	a := &d.ahead
	if len(a.picking) == 0 || a.picking[0].n != len(tokens) {
		return fmt.Errorf("room for %d tokens: no step picks as many", len(tokens))
	}
	p := a.picking[0]
	a.picking = a.picking[:copy(a.picking, a.picking[1:])]
	if err := d.wait(p.start); err != nil {
		return err
	}
	a.awaited = p
	return d.tokens(p.set, tokens)
}

// TakeBack is device.Runner's.
func (d *Device) TakeBack(slot int32, length int) error { return d.slots.TakeBack(slot, length) }

// note keeps the machine's first failure, which a file that was cut short may be why of. Slots
// are what they were before the step that failed; nothing runs after it, so that nobody
// sees the difference.
func (d *Device) note(err error) error {
	if err != nil {
		d.failed = cmp.Or(d.ck.Intact(), err)
	}
	return d.failed
}

// wait waits until so many starts have ended.
func (d *Device) wait(starts int) error {
	a := &d.ahead
	if starts <= a.waited {
		return nil
	}
	// What a machine makes of bytes that are gone from a file is not said: zeros, a fault, its
	// end. So files are looked at before results are given out.
	if err := d.note(cmp.Or(d.machine.Wait(d.opts.Context, a.starts-starts), d.ck.Intact())); err != nil {
		return err
	}
	a.waited = starts
	return nil
}

// settle waits for all that was started, before a step that uses the arena anew. Tokens
// that were not waited for are lost.
func (d *Device) settle() error {
	d.ahead.open, d.ahead.picking, d.ahead.awaited = nil, d.ahead.picking[:0], picked{}
	return d.wait(d.ahead.starts)
}
