package program

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/ir"
)

// Tokens are scored by a step's raw logits, once it has run: by dispatches of their own,
// which no other step has. Each ask is for a token of a wanted row, and for the most
// probable tokens beside it. These arrays of the step block have an element for each ask.
const (
	ScoreRow   = "score_row"   // i32: which of the wanted rows
	ScoreToken = "score_token" // i32: the token; negative: the one that was picked for the row
	ScoreTop   = "score_top"   // i32: how many of the most probable tokens, 0 to MaxTop
	ScoreInto  = "score_into"  // i32: the place in Scores of the first ask, and in Tokens of the first wanted row's
)

// ScoredTokens is how many asks there are: the grids of launches that score are formulas
// over it.
const ScoredTokens = "scored_tokens"

// ScoreRegion stands in the place of a region's name in a launch that scores.
const ScoreRegion = "score"

// MaxTop is how many of the most probable tokens an ask lists at most: what OpenAI's
// interface allows.
const MaxTop = 20

// ScoreWords is how many 32-bit words of Scores an ask has: pairs of a token (i32) and the
// logarithm of its probability (f32), the token that was asked for first, then the most
// probable ones, best first; -1 where there are not so many. Pairs beyond those that were
// asked for keep what they had.
const ScoreWords = 2 * (1 + MaxTop)

// Ask is for the probability of a token, and for the most probable ones in its place.
type Ask struct {
	Row   int32 // which of the step's wanted rows
	Token int32 // negative: the one that was picked for the row
	Top   int32 // how many of the most probable ones, 0 to MaxTop
}

// addScoring adds what scoring reads and writes.
func (s *Step) addScoring() {
	// As large in steps of every kind, and held, for a step that runs ahead has the rest of
	// the arena before the host has read it.
	s.Scores = &Scratch{Name: "log-probabilities", Bytes: ir.Const(4 * ScoreWords * TokenSets * MaxSampled), Held: true}
	for _, name := range []string{ScoreRow, ScoreToken, ScoreTop} {
		s.add(name, kernel.I32, s.Sampled)
	}
	s.add(ScoreInto, kernel.I32, 0)
}
