package kernel

import (
	"math"
	"slices"
)

// maxName is the most bytes of a name. A kernel's is a file's too.
const maxName = 200

// spaces are the words for memories, which begin a place: device x[0].
var spaces = [...]string{Device: "device", Threadgroup: "threadgroup", StepBlock: "step"}

func (s Space) String() string { return wordOf(spaces[:], int(s)) }

// numbers that the text form writes as words; -inf and -infh begin with a mark.
var numberWords = map[string]Expr{
	"true":  {Op: OpConst, Type: Of(Bool), Int: 1},
	"false": {Op: OpConst, Type: Of(Bool)},
	"inf":   {Op: OpConst, Type: Of(F32), Float: math.Inf(1)},
	"infh":  {Op: OpConst, Type: Of(F16), Float: math.Inf(1)},
	"nan":   {Op: OpConst, Type: Of(F32), Float: nan},
	"nanh":  {Op: OpConst, Type: Of(F16), Float: nan},
}

// nan is the one NaN that constants are: the text form has no other.
var nan = math.Float64frombits(0x7ff8 << 48)

// IsName reports whether a kernel, and what it declares, may have the name: letters,
// digits and '_', no digit first, at most 200 bytes, and none of the words that
// begin a place or are a number in the text form. The parser and Verify both go by it.
func IsName(s string) bool {
	if s == "" || len(s) > maxName || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		if !isWord(s[i]) || s[i] == '.' {
			return false
		}
	}
	_, number := numberWords[s]
	return !number && !slices.Contains(spaces[:], s)
}
