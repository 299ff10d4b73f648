package session

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/runtime/sampling"
)

// Ahead says whether steps are begun before the tokens of those before are known.
type Ahead uint8

// When a session runs ahead.
const (
	AheadIfFaster Ahead = iota // where the device works beside the host
	AheadAlways                // where it takes such steps at all
	AheadNever
)

// runs is what a session knows of steps that were begun.
type runs struct {
	runner  device.Runner        // the device, if the session runs ahead on it; else nil
	ahead   device.ScoringRunner // the same, if it is one
	begun   []Next               // of the step that was begun last
	picking []Next               // of the step whose tokens were begun to be picked last
	unknown bool                 // they were not waited for
	picked  []int32              // its tokens, where they are picked at once
	sources []int32              // of a step's tokens, made once
}

// Picked as a Next's Token is the one that is being picked for its sequence, in the step
// whose tokens were begun to be picked last. Nobody need know it yet.
const Picked = -1

// Ahead tells whether Begin takes Picked tokens: whether a step may be begun while the
// one before runs.
func (s *Session) Ahead() bool { return s.runner != nil }

// Begin begins a step that gives each sequence a token: Sample in three parts, of which
// this is the first, BeginPick the second and Await the third. Where the session runs
// ahead, the next step's Begin may come before this one's Await; the sequences have its
// tokens at once, and TakeBack takes them away again. On an error none changes.
func (s *Session) Begin(next []Next) error {
	if err := s.decodeRows(next); err != nil {
		return err
	}
	if s.runner != nil {
		sources := s.sources
		if !slices.ContainsFunc(sources, func(from int32) bool { return from >= 0 }) {
			sources = nil
		}
		if err := s.runner.BeginDecode(s.rows, sources, s.wanted); err != nil {
			return err
		}
	}
	s.steps++
	s.begun = append(s.begun[:0], next...)
	for _, n := range next {
		n.Sequence.length++
		n.Sequence.logits = nil
	}
	return nil
}

// follow is where a picked token of a sequence is; its row has a token that stands for it.
func (s *Session) follow(n *Next) (source int32, err error) {
	if n.Token != Picked {
		return -1, nil
	}
	at := slices.IndexFunc(s.picking, func(o Next) bool { return o.Sequence == n.Sequence })
	if s.runner == nil || at < 0 {
		return 0, fmt.Errorf("session: no token is being picked for the sequence")
	}
	n.Token = 0
	return int32(at), nil
}

// BeginPick begins to pick the tokens after those of the step that was begun last, by a
// choice for each of its sequences. On an error the step is undone.
func (s *Session) BeginPick(choices []sampling.Choice) (err error) {
	if len(choices) != len(s.begun) || len(choices) == 0 {
		return fmt.Errorf("session: %d choices, for %d sequences of a step", len(choices), len(s.begun))
	}
	if s.runner != nil {
		err = s.runner.BeginPick(choices)
	} else {
		err = s.pickNow(choices)
	}
	if err != nil {
		s.undo()
		return err
	}
	s.begun, s.picking, s.unknown = s.picking[:0], s.begun, true
	return nil
}

// pickNow runs the step that was begun last, whose rows are still there.
func (s *Session) pickNow(choices []sampling.Choice) error {
	s.picked = slices.Grow(s.picked[:0], len(choices))[:len(choices)]
	if s.sampler != nil {
		return s.sampler.SampleDecode(s.rows, s.wanted, choices, s.picked)
	}
	logits, err := s.dev.Decode(s.rows, s.wanted)
	if err != nil {
		return err
	}
	v := s.dev.Vocab()
	for i, n := range s.begun {
		n.Sequence.logits = logits[i*v : (i+1)*v : (i+1)*v]
		s.picked[i] = s.pick(n.Sequence.logits, choices[i])
	}
	return nil
}

// Await waits for the tokens that BeginPick began to pick, one for each sequence of its
// step; -1 where no logit is a number. On an error this step is undone, and the one that
// was begun after it.
func (s *Session) Await(picked []int32) error {
	if !s.unknown || len(picked) != len(s.picking) {
		return fmt.Errorf("session: room for %d tokens, of %d that are picked", len(picked), len(s.picking))
	}
	if s.runner == nil {
		copy(picked, s.picked)
	} else if err := s.runner.Await(picked); err != nil {
		s.undo()
		return err
	}
	s.unknown = false
	if len(s.begun) == 0 && len(s.picking) == 1 && (s.sampler != nil || s.runner != nil) {
		s.picking[0].Sequence.alone = s.steps
	}
	return nil
}

// undo takes back all that was begun and not waited for.
func (s *Session) undo() {
	s.undoStep(s.begun)
	if s.unknown {
		s.undoStep(s.picking)
	}
	s.forget()
}

func (s *Session) undoStep(step []Next) {
	for _, n := range step {
		q := n.Sequence
		if q.s != s { // closed meanwhile
			s.empty(q)
			continue
		}
		q.length--
		q.logits = nil
		if s.runner != nil {
			_ = s.runner.TakeBack(q.slot, q.length) // the step's error is what counts
		}
	}
}

// forget gives up the tokens of steps that were begun.
func (s *Session) forget() { s.begun, s.picking, s.unknown = s.begun[:0], s.picking[:0], false }

// TakeBack takes the sequence's newest token back, which came with the step that was begun
// last, whose tokens nobody picked: the text had ended before it. The sequence is then
// what it was, but for its Logits, which are gone.
func (q *Sequence) TakeBack() error {
	if q.s == nil || q.s.runner == nil || !slices.ContainsFunc(q.s.begun, func(n Next) bool { return n.Sequence == q }) {
		return fmt.Errorf("session: no step of the sequence runs ahead")
	}
	q.s.begun = slices.DeleteFunc(q.s.begun, func(n Next) bool { return n.Sequence == q })
	q.length--
	return q.s.runner.TakeBack(q.slot, q.length)
}

// repeat computes the newest token again, for its logits.
func (q *Sequence) repeat(token int32) error {
	q.length--
	if err := q.s.runner.TakeBack(q.slot, q.length); err != nil {
		return err
	}
	return q.s.Decode([]Next{{q, token}})
}
