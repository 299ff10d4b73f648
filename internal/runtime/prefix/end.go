package prefix

import "fmt"

// Reason is why no more of a prompt was kept.
type Reason uint8

const (
	Off        Reason = iota // nothing is kept
	Whole                    // all but the last token was there
	GoesOn                   // the prompt goes on beyond all that is known of it
	Unknown                  // nothing known begins like it
	Differs                  // what is known goes on otherwise
	NoFrontier               // all of it is known, and no frontier is near its end
	Evicted                  // more of it had to make room
	Failed                   // what was kept could not be restored
	Reasons
)

// String is the reason in a word, for counters.
func (r Reason) String() string {
	return [...]string{"off", "whole", "goes_on", "unknown", "differs", "no_frontier", "evicted", "failed"}[r]
}

// InSlot is the end where a slot held more than was kept beside the slots.
func (e End) InSlot(held int) End {
	e.Reused, e.Slot = held, true
	switch {
	case e.Reason == Off:
	case held == e.Of-1:
		e.Reason = Whole
	case held >= e.At:
		e.Reason = GoesOn
	}
	e.At = max(e.At, held)
	return e
}

// aroundTokens is how many known tokens are told where a prompt differs.
const aroundTokens = 16

// End says where the part of a prompt ends that was kept, and why there.
type End struct {
	Reason Reason
	Reused int  // tokens that need not be computed
	At     int  // tokens of it that are known, or were
	Of     int  // the prompt's
	Slot   bool // a slot held what is reused
	Kind   Kind // of Differs: of what else is known
	// Known are some of the tokens that are known where the prompt goes on otherwise.
	Known []int32
}

// String says it in words.
func (e End) String() string {
	where := ""
	if e.Reused > 0 {
		where = fmt.Sprintf("; %d tokens were kept", e.Reused)
		if e.Slot {
			where += " in a slot"
		}
	}
	switch e.Reason {
	case Off:
		if e.Slot {
			return "the prompt goes on where its slot ended"
		}
		return "no free slot held a beginning of the prompt, and no memory is kept for more"
	case Whole:
		return "all but the last token were kept"
	case GoesOn:
		return fmt.Sprintf("the prompt goes on beyond what is known, at token %d of %d", e.At, e.Of) + where
	case Unknown:
		return "nothing known begins like the prompt"
	case Differs:
		return fmt.Sprintf("the prompt differs at token %d of %d from %s", e.At, e.Of, e.Kind) + where
	case NoFrontier:
		return fmt.Sprintf("%d tokens of %d are known, but nothing can be gone on with so far", e.At, e.Of) + where
	case Failed:
		return "what was kept of the prompt could not be restored"
	}
	return fmt.Sprintf("%d tokens of %d were kept and had to make room", e.At, e.Of) + where
}
