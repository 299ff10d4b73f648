// Package device says what a device is: what runs a model's steps, and which parts
// some devices have beside that. Consumers ask for a part by its interface.
//
//	Device     runs steps: every device
//	Sampler    picks tokens itself
//	Scorer     scores tokens itself, and lists the most probable ones
//	Runner     begins steps and waits for them apart; ScoringRunner scores their tokens too
//	Planned    runs a bundle, and lets its insides be seen
//	Profiled   is Planned, and times its kernels
//	Clocked    knows how long its last step took
//	Timed      knows how long its processor worked, and how long it had nothing to do
//	Paced      tells how far the step is that runs
//	Described  says what it runs on, and how its kernels came about
//	Keeper     keeps what slots hold beside them
package device

import (
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/runtime/devmem"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// Device runs a model's steps. Calls come from one goroutine at a time.
type Device interface {
	// Name is the device's name in package devices.
	Name() string
	// Vocab is the number of logits per row.
	Vocab() int
	// Prefill runs rows of a prompt, all of one slot and one after another, and
	// returns Vocab logits for each wanted row, in the order of wanted; the slice
	// is the caller's. On an error no slot changes.
	Prefill(rows []ir.Row, wanted []int) ([]float32, error)
	// Decode is Prefill for steps that give each slot one row. The kind of a step
	// picks the kernels, the number of rows never does.
	Decode(rows []ir.Row, wanted []int) ([]float32, error)
	// Reset forgets a slot, which then begins again at position 0.
	Reset(slot int32)
	// Close gives back what the device holds. Nothing may be called after it.
	Close() error
}

// Sampler is a Device that picks tokens itself, so that nothing but their ids
// leaves a step. The choices are those of package sampling, one for each wanted
// row, and the tokens exactly what sampling.Choice.Pick makes of the row's
// logits; -1 where no logit is a number. They are written to tokens, which has as
// many elements as wanted. With nil for both, none is picked, of however many rows, and
// the logits are there to be read. A step allocates nothing. On an error no slot changes.
type Sampler interface {
	Device
	// SamplePrefill is Prefill with tokens in the place of logits.
	SamplePrefill(rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error
	// SampleDecode is Decode with tokens in the place of logits.
	SampleDecode(rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error
	// LastLogits are those of the i-th wanted row of the last step, of whatever
	// kind; the slice is the caller's.
	LastLogits(i int) ([]float32, error)
}

// Scorer is a Sampler that scores tokens itself, by the raw logits of a step that ran, so
// that no logits leave the device. It takes work of its own: a step that nobody asks costs
// nothing more. Scores are what package sampling makes of the row's logits: logarithms as
// LogProb has them but for what float32 rounds, 8e-6 + 2^-23 of their size at most; the
// same tokens as Top lists. On an error nothing changes.
type Scorer interface {
	Sampler
	// Score scores tokens of the wanted rows of the last step, of whatever kind, which the
	// device still has the logits of: to scores, which has as many elements, goes what is
	// asked for. A picked token can be asked for if the step picked one for that row.
	Score(asks []program.Ask, scores []Score) error
}

// Score tells how probable a token is in its place.
type Score struct {
	Token   int32   // of the ask, or that was picked; -1 if none was
	LogProb float64 // natural logarithm, before anything that changes logits; NaN if there is no token
	// Top are the most probable tokens, best first: as many as were asked for and as have
	// logits that are numbers.
	Top []sampling.Probable
}

// Planned is a Device that runs a bundle's kernels and lets its insides be seen.
type Planned interface {
	Device
	// Bundle is the bundle that it runs: the one it was opened with, planned for its
	// target.
	Bundle() *bundle.Bundle
	// CacheRow is the row of a slot that index has in a cache.
	CacheRow(c *plan.Cache, slot int32, index int) ([]byte, error)
}

// Profiled is a Planned device whose kernels can be timed and measured.
type Profiled interface {
	Planned
	// Caches is the memory of the slots. What is done to it must not run beside a
	// step.
	Caches() *devmem.Caches
	// Roofline measures what the machine can do at most.
	Roofline() (roofline.Rates, error)
	// Profile chooses how the steps to come are timed. It fails where there is no
	// memory for what profile.Cold reads.
	Profile(profile.Mode) error
	// Timings are the times of the last step of a kind, one for each of its plan's
	// dispatches; zeros if it was not profiled.
	Timings(program.Phase) []time.Duration
}

// Clocked is a Device that knows how long it took for its last step, from the
// first dispatch to the last; 0 before the first step.
type Clocked interface {
	Device
	StepTime() (time.Duration, error)
}

// Timed is a Device that knows what its processor did with the steps that were waited for
// since it was opened: how long it worked on them, and how long it had nothing to do
// between one and the next, whatever the host did meanwhile.
type Timed interface {
	Device
	Timeline() (busy, idle time.Duration, err error)
}

// Paced is a Device that tells how far the step is that runs, for people who wait.
type Paced interface {
	Device
	// Pace is how many parts of the step are done, of how many; none between steps, and a
	// total of 0 where nobody knows. Parts need not take equally long. Any goroutine
	// may ask at any time.
	Pace() (done, total int)
}

// Described is a Device that says what there is to know of it.
type Described interface {
	Device
	// Text names the hardware of the kernels in a few words.
	Text() string
	// Build tells how the kernels' machine code came about.
	Build() Build
	// Notes are further sentences for a report.
	Notes() []string
}

// Build tells how kernels' machine code came about.
type Build struct {
	Compiled  int           // kernels that were compiled now
	Kept      int           // kernels whose code was there from an earlier run
	Elapsed   time.Duration // until all were there
	Compiling time.Duration // in the compiler, threads summed up; 0 if that is not known
	Note      string        // why the code is not kept; "" if it is, or was not to be
}
