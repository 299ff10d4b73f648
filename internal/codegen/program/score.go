package program

import "smelt.example/smelt/internal/codegen/kernel"

// ScoreTarget is the array of the step block that says which token's probability is
// wanted in each wanted row (i32); none where it is negative. The place of such a row in
// the scores keeps what it had.
const ScoreTarget = "score_target"

// ScoreRegion stands in the place of a region's name in a launch that scores.
const ScoreRegion = "score"

// addScoring adds the array that scoring reads.
func (s *Step) addScoring() { s.add(ScoreTarget, kernel.I32, s.MaxRows) }
