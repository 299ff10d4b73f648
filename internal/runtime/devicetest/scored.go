package devicetest

import (
	"math"
	"math/rand/v2"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// scoredRows has the device score tokens, if it can: as package sampling does by the
// device's logits, but for what a Scorer may round.
func (p *Pair) scoredRows() {
	p.t.Helper()
	d, ok := p.Device.(device.Scorer)
	if !ok {
		p.t.Fatal("the device scores no tokens")
	}
	r := rand.New(rand.NewPCG(3, 0))
	var rows []ir.Row
	for i := range 9 {
		rows = append(rows, ir.Row{Token: int32(r.IntN(d.Vocab())), Position: int32(i)})
	}
	const before = 7 // in the place of a score
	for _, wanted := range [][]int{{0, 3, 7, 8}, {8}, {2, 1}, nil} {
		targets, scores := make([]int32, len(wanted)), make([]float32, len(wanted))
		for i := range targets {
			targets[i], scores[i] = int32(r.IntN(d.Vocab())), before
		}
		if len(wanted) == 4 {
			targets[2] = -1
		}
		if err := d.ScorePrefill(rows, wanted, targets, scores); err != nil {
			p.t.Fatal(err)
		}
		for i, target := range targets {
			if target < 0 {
				if scores[i] != before {
					p.t.Errorf("row %d has the score %v, of no token", wanted[i], scores[i])
				}
				continue
			}
			logits, err := d.LastLogits(i)
			if err != nil {
				p.t.Fatal(err)
			}
			if want := sampling.LogProb(logits, target); !(math.Abs(float64(scores[i])-want) <= 8e-6-want*0x1p-23) {
				p.t.Errorf("row %d: token %d scores %v, expected %v", wanted[i], target, scores[i], want)
			}
		}
		d.Reset(0)
	}
	for name, c := range map[string]struct {
		targets []int32
		scores  int
	}{"a target too few": {[]int32{1}, 2}, "no room": {[]int32{1, 2}, 1}, "a token that is none": {[]int32{1, int32(d.Vocab())}, 2}} {
		if err := d.ScorePrefill(rows, []int{0, 1}, c.targets, make([]float32, c.scores)); err == nil {
			p.t.Errorf("%s: accepted", name)
		}
	}
	// No slot changed, and a step that does not ask has no scores.
	if _, err := d.Prefill(rows, nil); err != nil {
		p.t.Error(err)
	}
	d.Reset(0)
}
