package device

import (
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// Runner is a Device whose decode steps are begun and waited for apart, so that one may
// be begun before the tokens of the one before are known. What it computes is what
// SampleDecode of a Sampler does, to the bit. The calls of a step are
//
//	BeginDecode  its rows are computed; some may take tokens that the step before picks
//	BeginPick    its tokens are picked: how need not be known before
//	Await        they are waited for, those begun to be picked first come first
//
// in this order, and the next step's BeginDecode may come before this one's Await. A step
// whose tokens nobody needs has a BeginDecode alone. Any other step comes after all that
// was begun, whose tokens are lost if they were not waited for. An error of Await is of any of the steps begun so far; whether slots changed then is
// not said.
type Runner interface {
	Device
	// Ahead tells whether steps that were begun run beside the host. A device that runs
	// them to their end at once takes the same calls, and gains nothing.
	Ahead() bool
	// BeginDecode begins a decode step over rows, whose slots have them from now on. Where
	// a row's source is not negative, its token is the one picked for the source-th wanted
	// row of the step whose tokens were begun to be picked last, and the row's own, which
	// must be one of the vocabulary, is not used; sources is nil if there is none. A row
	// that follows on -1 computes nothing of use. On an error nothing was begun.
	BeginDecode(rows []ir.Row, sources []int32, wanted []int) error
	// BeginPick begins to pick the tokens of the step that was begun last, by a choice for
	// each of its wanted rows. On an error nothing was begun.
	BeginPick(choices []sampling.Choice) error
	// Await waits for the tokens that were begun to be picked first, as many as there were
	// choices.
	Await(tokens []int32) error
	// LastLogits are those of the i-th wanted row of the step that was begun last, if no
	// other step ran since; the slice is the caller's.
	LastLogits(i int) ([]float32, error)
	// TakeBack makes a slot's sequence shorter again by rows of decode steps that ran past
	// its end, the last one or a few, of which the step may still run. What it has then is
	// what it had before them: of the memory that they changed no row reads anything before
	// it is written again. It fails where the rings lost what is looked back to from there.
	TakeBack(slot int32, length int) error
}

// ScoringRunner is a Runner that scores tokens too, of a step of which the next is begun
// before they are known.
type ScoringRunner interface {
	Runner
	Scorer
	// BeginScore begins to score tokens of the step whose tokens were begun to be picked last,
	// those or others, before the next step's BeginDecode: at most one ask for each of its
	// wanted rows, once. On an error nothing was begun.
	BeginScore(asks []program.Ask) error
	// AwaitScore gives the scores of the step whose tokens Await gave last, which are there
	// then.
	AwaitScore(scores []Score) error
}
