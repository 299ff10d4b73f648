package scheduler

import (
	"cmp"
	"slices"

	"smelt.example/smelt/internal/runtime/prefix"
	"smelt.example/smelt/internal/runtime/session"
)

// place is a position of a prompt at which what is read so far is kept beside the slots.
type place struct {
	at   int
	kind prefix.Kind
}

// wholeBlocks is what places are moved down to multiples of, where it costs little: blocks of
// compressed entries end there, and the chunks of all prompts.
const wholeBlocks = 128

// places are those of a prompt behind what is there already: the end of its head, every
// so many tokens, and before its last token.
func (r *request) places(have, stride int) (all []place) {
	head, last := r.Head, len(r.Prompt)-1
	if head >= wholeBlocks {
		head -= head % wholeBlocks
	}
	all = append(all, place{head, prefix.Head}, place{last, prefix.Prompt})
	for at := stride; at < last; at += stride {
		all = append(all, place{at, prefix.Stride})
	}
	all = slices.DeleteFunc(all, func(p place) bool { return p.at <= have || p.at > last })
	slices.SortFunc(all, func(a, b place) int { return cmp.Or(a.at-b.at, int(b.kind)-int(a.kind)) })
	return slices.CompactFunc(all, func(a, b place) bool { return a.at == b.at })
}

// plan says where the request's prompt is kept while it is read. Who asks for the scores of
// a prompt reads it once, and no other.
func (r *request) plan(sess *session.Session) {
	if sess.Keeps() && !r.PromptScores {
		r.due = r.places(r.seq.Len(), sess.Options().Cache.Stride)
	}
}

// chunk is how many tokens the next step of the prompt reads. Where prompts are kept, a
// chunk ends where one is due, and else where those of a prompt do that is read from its
// beginning: what is gone on with is cut as if it were read anew.
func (s *Scheduler) chunk(r *request) int {
	n := min(s.opts.Chunk, len(r.rest))
	if r.PromptScores {
		n = min(n, s.size.Wanted)
	}
	if s.sess.Keeps() {
		n = min(n, s.opts.Chunk-r.seq.Len()%s.opts.Chunk)
	}
	if len(r.due) > 0 {
		n = min(n, r.due[0].at-r.seq.Len())
	}
	return n
}

// mark keeps the prompt as far as it is read, if that is due.
func (r *request) mark() error {
	if len(r.due) == 0 || r.due[0].at != r.seq.Len() {
		return nil
	}
	kind := r.due[0].kind
	r.due = r.due[1:]
	return r.seq.Mark(kind, r.Prompt)
}

// waits tells whether a request in the queue had better wait: another, that came before, is
// reading what it would read, and will keep it. It waits for no more than that: if the other
// gets there, ends or fails, and nobody else reads what it lacks, it goes on by itself.
func (s *Scheduler) waits(r *request) bool {
	if !s.sess.Keeps() || r.PromptScores {
		return false
	}
	if r.after != nil && r.after.reads(r.until) {
		return true
	}
	r.after, r.until = nil, 0
	for _, o := range s.prompts {
		if o.number > r.number {
			continue
		}
		if at := o.shared(r.Prompt); at > r.until {
			r.after, r.until = o, at
		}
	}
	if r.until > 0 && r.until <= s.sess.Holds(r.Prompt) {
		r.after = nil
	}
	return r.after != nil
}

// reads tells whether the request reads its prompt and has not come so far.
func (r *request) reads(at int) bool { return !r.over && len(r.rest) > 0 && r.seq.Len() < at }

// shared is the last place to come at which the request keeps what another's prompt begins
// with, and goes on behind; 0 if there is none.
func (r *request) shared(prompt []int32) int {
	n := 0
	for n < min(len(r.Prompt), len(prompt)-1) && r.Prompt[n] == prompt[n] {
		n++
	}
	for _, p := range slices.Backward(r.due) {
		if p.at <= n {
			return p.at
		}
	}
	return 0
}
