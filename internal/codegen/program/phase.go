// Package program holds the words that the compiler and the runtime share: phases,
// launches and their arguments, caches, the block of step parameters, the most
// rows of a step. It makes and runs no kernel.
package program

// Phase is decode or prefill; it picks a step's kernels, the number of rows never
// does.
type Phase uint8

// The phases.
const (
	Decode  Phase = iota // 1 to MaxDecodeRows rows; a row's bits do not depend on its companions
	Prefill              // up to a chunk of rows
)

// MaxDecodeRows is the most rows a decode step takes.
const MaxDecodeRows = 16

// String is "decode" or "prefill".
func (p Phase) String() string {
	if p == Prefill {
		return "prefill"
	}
	return "decode"
}
