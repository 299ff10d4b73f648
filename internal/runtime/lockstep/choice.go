package lockstep

import (
	"math"
	"slices"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// scoring has the arguments of a choice of the evaluator: scores, and perhaps the ids that
// they stand for.
type scoring struct{ args []tensor.Value[float32] }

// compareIDs judges integers. A choice may have come out another way if the scores
// of what was left and what was taken are as close as rounding makes them; all else
// must be the same.
func (p *Pair) compareIDs(k *Kernel, v *ir.Value, want tensor.Value[float32], got []int32) tensor.Value[float32] {
	width := want.Shape[len(want.Shape)-1]
	k.Values += len(got)
	k.Ids += len(got)
	fit := true
	for at := 0; at < len(got); at += width {
		w, g := want.I[at:at+width], got[at:at+width]
		if slices.Equal(w, g) {
			continue
		}
		for i := range w {
			if w[i] != g[i] {
				k.IdsTurned++
			}
		}
		if s, chosen := p.scores[v]; !chosen || !s.close(at/width, w, g, p.limit()) {
			p.wrong(k, "%s[row %d] is %v, expected %v", v.Ref(), at/width, g, w)
			fit = fit && chosen && s.possible(at/width, w, g)
		}
	}
	if fit {
		want.I = got
	}
	return want
}

// ranked are the scores of a row by id.
func (s scoring) ranked(row int) map[int32]float64 {
	n := s.args[0].Shape[1]
	scores := map[int32]float64{}
	for i, x := range s.args[0].F[row*n : (row+1)*n] {
		id := int32(i)
		if len(s.args) > 1 {
			id = s.args[1].I[row*n+i]
		}
		if id >= 0 {
			scores[id] = float64(x)
		}
	}
	return scores
}

// possible reports whether ids could be a row's choice: as many as the evaluator
// chose, different, ascending, with -1 behind, and of those there are.
func (s scoring) possible(row int, want, got []int32) bool {
	scores := s.ranked(row)
	for i, id := range got {
		if id < 0 != (want[i] < 0) || id < -1 {
			return false
		}
		if _, known := scores[id]; id >= 0 && (!known || i > 0 && got[i-1] >= id) {
			return false
		}
	}
	return true
}

// close reports whether a row's ids are those that the evaluator chose but for
// scores that are nearly equal.
func (s scoring) close(row int, want, got []int32, limit float64) bool {
	if !s.possible(row, want, got) {
		return false
	}
	scores := s.ranked(row)
	largest := 0.0
	for _, x := range scores {
		if a := math.Abs(x); !math.IsInf(a, 0) && !math.IsNaN(a) {
			largest = max(largest, a)
		}
	}
	worst, best := math.Inf(1), math.Inf(-1) // of what the device took instead, and of what it left
	for i := range want {
		if !slices.Contains(want, got[i]) {
			worst = min(worst, scores[got[i]])
		}
		if !slices.Contains(got, want[i]) {
			best = max(best, scores[want[i]])
		}
	}
	return best-worst <= 2*limit*largest // false for NaN
}

// compareToken judges a token that the device picked from its logits.
func (p *Pair) compareToken(i int, got int32, c sampling.Choice, logits []float32) {
	k := p.steps[p.phase].tokens
	if k == nil {
		return
	}
	k.Values++
	k.Ids++
	want, err := c.Pick(logits, nil)
	if err != nil {
		want = -1 // no logit is a number
	}
	if got != want {
		p.wrong(k, "of wanted row %d token %d was picked, expected %d", i, got, want)
	}
}

// compareScore judges a token's score, and those of the most probable tokens, by the logits
// that the device has for them.
func (p *Pair) compareScore(got device.Score, ask program.Ask, logits []float32) {
	k := p.steps[p.phase].scores
	if k == nil {
		return
	}
	judge := func(token int32, got, want float64) {
		k.Values++
		d := difference(float32(want), float32(got), max(1, math.Abs(want)))
		k.Difference = Worse(k.Difference, d)
		if d < 0 || d > Bound {
			p.wrong(k, "of wanted row %d token %d scores %v, expected %v", ask.Row, token, got, want)
		}
	}
	if got.Token != ask.Token {
		p.wrong(k, "of wanted row %d the score is that of token %d, expected %d", ask.Row, got.Token, ask.Token)
		return
	}
	if ask.Token >= 0 {
		judge(ask.Token, got.LogProb, sampling.LogProb(logits, ask.Token))
	}
	want := sampling.Top(logits, int(ask.Top))
	if len(got.Top) != len(want) {
		p.wrong(k, "of wanted row %d the %d most probable tokens are %d, expected %d", ask.Row, ask.Top, len(got.Top), len(want))
		return
	}
	for n, w := range want {
		if got.Top[n].Token != w.Token {
			p.wrong(k, "of wanted row %d the most probable token but %d is %d, expected %d", ask.Row, n, got.Top[n].Token, w.Token)
			return
		}
		judge(w.Token, got.Top[n].LogProb, w.LogProb)
	}
}
