package scheduler

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/runtime/sampling"
)

// flight is a decode step that was begun.
type flight struct {
	rows []*request // nil where a text has ended meanwhile: nobody looks at its row
	next []session.Next
	err  error // of its beginning
}

// board adds a text, whose token may be one that is still being picked.
func (f *flight) board(r *request, token int32) {
	f.rows = append(f.rows, r)
	f.next = append(f.next, session.Next{Sequence: r.seq, Token: token})
}

// drop leaves texts out that ended, and forgets the step if it has no others: its slots
// are empty then, and whatever it computes is overwritten.
func (f *flight) drop(ended func(*request) bool) {
	left := 0
	for i, r := range f.rows {
		if r != nil && ended(r) {
			f.rows[i] = nil
		}
		if f.rows[i] != nil {
			left++
		}
	}
	if left == 0 {
		f.clear()
	}
}

// clear forgets the step. What has ended must not stay in memory until the lists fill
// up again.
func (f *flight) clear() {
	clear(f.rows)
	clear(f.next)
	f.rows, f.next, f.err = f.rows[:0], f.next[:0], nil
}

// live is how many texts wait for the step.
func (f *flight) live() (n int) {
	for _, r := range f.rows {
		if r != nil {
			n++
		}
	}
	return n
}

// room counts a step's rows, and the logits that its choices change, of which there are
// at most program.ListedVocabularies times as many as the vocabulary has.
type room struct{ rows, changes int }

// take takes so many changes for a row more, if there is room. One text always has it.
func (x *room) take(s *Scheduler, changes int) bool {
	if x.rows == s.opts.Rows || x.rows > 0 && x.changes+changes > program.ListedVocabularies*s.sess.Vocab() {
		return false
	}
	x.rows++
	x.changes += changes
	return true
}

// decode gives the texts whose turn it is a token each, in one step, which may have begun
// while the one before ran. Session and device promise that a step that fails changes
// nothing, so the requests outside it go on.
//
// While a step's tokens are being picked the next step begins (follow). Its rows need
// nothing of the host's: not the tokens, which the device has, nor what stop tokens, stop
// strings, penalties and masks make of them, for how its tokens are picked is said when
// those before are known. A text that turns out to have ended has a row too many, which
// nobody looks at, and its slot is empty.
func (s *Scheduler) decode() {
	now, ahead := &s.flights[s.turn], &s.flights[1-s.turn]
	if len(now.rows) == 0 {
		s.begin(now)
	}
	err := now.err
	if err == nil {
		err = s.pick(now)
	}
	if err == nil {
		s.follow(now, ahead)
		err = s.sess.Await(s.picked)
	}
	if err == nil && len(s.asks) > 0 {
		s.scores = make([]device.Score, len(s.asks))
		err = s.sess.AwaitScore(s.scores)
	}
	if err == nil {
		s.count(now.live())
	} else {
		s.ground(ahead)
	}
	for i, r := range now.rows {
		if r != nil {
			s.land(now, i, r, err)
		}
	}
	now.clear()
	s.turn = 1 - s.turn
	ahead.drop(func(r *request) bool { return r.over })
	for _, r := range ahead.rows {
		if r != nil {
			r.flies = false
		}
	}
	s.owed--
}

// begin begins a step for the texts whose turn it is.
func (s *Scheduler) begin(f *flight) {
	n, _ := s.board(f)
	s.texts = slices.Delete(s.texts, 0, n)
	f.err = s.sess.Begin(f.next)
}

// board has waiting texts take part in a step, as far as there is room: how many, and the room
// that is left.
func (s *Scheduler) board(f *flight) (n int, taken room) {
	for n < len(s.texts) && taken.take(s, s.texts[n].chooser.Changed()) {
		f.board(s.texts[n], s.texts[n].token)
		n++
	}
	return n, taken
}

// pick begins to pick a step's tokens, and to score them for texts that ask for scores,
// where the device does that.
func (s *Scheduler) pick(f *flight) error {
	s.choices, s.asks = s.choices[:0], s.asks[:0]
	for i, r := range f.rows {
		var c sampling.Choice // for a row that nobody looks at
		if r != nil {
			c = r.chooser.Choice(r.seq.Len())
		}
		s.choices = append(s.choices, c)
		if r != nil && r.Scores && !s.needsLogits(r) {
			s.asks = append(s.asks, program.Ask{Row: int32(i), Token: session.Picked, Top: int32(r.Top)})
		}
	}
	s.picked = slices.Grow(s.picked[:0], len(f.rows))[:len(f.rows)]
	if err := s.sess.BeginPick(s.choices); err != nil || len(s.asks) == 0 {
		return err
	}
	return s.sess.BeginScore(s.asks)
}

// follow begins the step after one whose tokens are being picked: for texts that wait
// for their turn, then for those of that step that may go on. It does not if logits of
// that step are still to be read, which would be overwritten, or a prompt is to have the
// next step.
func (s *Scheduler) follow(now, ahead *flight) {
	if !s.sess.Ahead() || len(s.prompts) > 0 && s.owed <= 1 || slices.ContainsFunc(now.rows, s.needsLogits) {
		return
	}
	n, taken := s.board(ahead)
	for _, r := range now.rows {
		if r == nil || !s.mayGoOn(r) {
			continue
		}
		if !taken.take(s, r.chooser.Changed()+1) {
			break
		}
		ahead.board(r, session.Picked)
	}
	if len(ahead.rows) == 0 {
		return
	}
	s.texts = slices.Delete(s.texts, 0, n)
	ahead.err = s.sess.Begin(ahead.next)
	for _, r := range ahead.rows {
		r.flies = true
	}
	s.countAhead()
}

// needsLogits tells whether the step's logits are needed, beside its tokens: for scores that
// the device does not make.
func (s *Scheduler) needsLogits(r *request) bool {
	return r != nil && r.Scores && !s.sess.Scores(r.Top)
}

// mayGoOn tells whether a text may have a step after the one whose token is being picked:
// what nobody can know before may still end it.
func (s *Scheduler) mayGoOn(r *request) bool {
	return !r.cancelled() && r.made+1 != r.MaxTokens && r.seq.Len() < s.size.Context
}

// ground gives up a step that was begun ahead of one that failed: the session has undone
// it. Its texts wait for another turn, but for those of the step that failed.
func (s *Scheduler) ground(f *flight) {
	for i, r := range f.rows {
		r.flies = false
		if f.next[i].Token != session.Picked {
			s.texts = append(s.texts, r)
		}
	}
	f.clear()
}

// land gives the i-th text of a step its token.
func (s *Scheduler) land(f *flight, i int, r *request, err error) {
	var score Score
	if err == nil && r.Scores && s.picked[i] >= 0 {
		score, err = s.score(f, i, r)
	}
	if err != nil {
		s.release(r, "", &StepError{fmt.Sprintf("position %d, in a step of %d rows", r.seq.Len(), len(f.rows)), err})
		return
	}
	s.goOn(r, s.picked[i], score)
}

// score is that of the token picked for the i-th text of a step.
func (s *Scheduler) score(f *flight, i int, r *request) (Score, error) {
	if at := slices.IndexFunc(s.asks, func(a program.Ask) bool { return int(a.Row) == i }); at >= 0 {
		return scoreOf(s.scores[at]), nil
	}
	logits, err := s.sess.SampledLogits(f.next, i)
	if err != nil {
		return Score{}, err
	}
	return Score{sampling.LogProb(logits, s.picked[i]), sampling.Top(logits, r.Top)}, nil
}

// countAhead notes a step that was begun ahead.
func (s *Scheduler) countAhead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Ahead++
}
