package devicetest

import (
	"math"
	"math/rand/v2"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// scoredRows has the device score tokens: as package sampling does by the device's logits,
// but for what a Scorer may round.
func (p *Pair) scoredRows() {
	p.t.Helper()
	d, ok := p.Device.(device.ScoringRunner)
	if !ok {
		p.t.Fatal("the device scores no tokens")
	}
	r := rand.New(rand.NewPCG(3, 0))
	var rows []ir.Row
	for i := range 9 {
		rows = append(rows, ir.Row{Token: int32(r.IntN(d.Vocab())), Position: int32(i)})
	}
	for _, wanted := range [][]int{{0, 3, 7, 8}, {8}, {2, 1}} {
		if err := d.SamplePrefill(rows, wanted, nil, nil); err != nil {
			p.t.Fatal(err)
		}
		p.scored(d, asksFor(r, len(wanted), d.Vocab(), 5*len(wanted)), nil)
		d.Reset(0)
	}
	picked := make([]int32, 2)
	if err := d.SamplePrefill(rows, []int{1, 4}, make([]sampling.Choice, 2), picked); err != nil {
		p.t.Fatal(err)
	}
	p.scored(d, asksFor(r, 2, -1, 40), picked)
	for name, ask := range map[string]program.Ask{
		"a token that is none": {Token: int32(d.Vocab())}, "a row that is none": {Row: 2}, "a row before the first": {Row: -1},
		"more than are listed": {Top: program.MaxTop + 1}, "fewer than none": {Top: -1},
	} {
		if err := d.Score([]program.Ask{ask}, make([]device.Score, 1)); err == nil {
			p.t.Errorf("%s: accepted", name)
		}
	}
	if err := d.Score(make([]program.Ask, 2), make([]device.Score, 1)); err == nil {
		p.t.Error("scores without room: accepted")
	}
	if _, err := d.Prefill([]ir.Row{{Token: 5, Position: 9}}, []int{0}); err != nil { // no slot changed
		p.t.Error(err)
	}
	if err := d.Score([]program.Ask{{Token: -1}}, make([]device.Score, 1)); err == nil {
		p.t.Error("the score of a token that nobody picked: accepted")
	}
	d.Reset(0)
	p.scoredAhead(d, r)
}

// asksFor are asks for tokens of some of n rows, or for those that were picked where vocab
// is negative, each with a random number of others; the largest is among those.
func asksFor(r *rand.Rand, n, vocab, most int) (asks []program.Ask) {
	for range 1 + r.IntN(most) {
		a := program.Ask{Row: int32(r.IntN(n)), Token: -1, Top: int32(r.IntN(program.MaxTop + 1))}
		if vocab > 0 {
			a.Token = int32(r.IntN(vocab))
		}
		asks = append(asks, a)
	}
	asks[0].Top = program.MaxTop
	return asks
}

// scored scores tokens of the last step.
func (p *Pair) scored(d device.Scorer, asks []program.Ask, picked []int32) {
	p.t.Helper()
	scores := make([]device.Score, len(asks))
	if err := d.Score(asks, scores); err != nil {
		p.t.Fatal(err)
	}
	p.expectScores(d.LastLogits, asks, picked, scores)
}

// expectScores compares scores with what package sampling makes of the rows' logits.
func (p *Pair) expectScores(logitsOf func(row int) ([]float32, error), asks []program.Ask, picked []int32, scores []device.Score) {
	p.t.Helper()
	for i, a := range asks {
		logits, err := logitsOf(int(a.Row))
		if err != nil {
			p.t.Fatal(err)
		}
		token, got := a.Token, scores[i]
		if token < 0 {
			token = picked[a.Row]
		}
		close := func(got, want float64) bool { return math.Abs(got-want) <= 8e-6-want*0x1p-23 }
		if want := sampling.LogProb(logits, token); got.Token != token || !close(got.LogProb, want) {
			p.t.Errorf("row %d: token %d scores %v, expected %d and %v", a.Row, got.Token, got.LogProb, token, want)
		}
		want := sampling.Top(logits, int(a.Top))
		if len(got.Top) != len(want) {
			p.t.Errorf("row %d: %d tokens are listed, expected %d", a.Row, len(got.Top), len(want))
			continue
		}
		for n, w := range want {
			if g := got.Top[n]; g.Token != w.Token || !close(g.LogProb, w.LogProb) {
				p.t.Errorf("row %d: the most probable token but %d is %+v, expected %+v", a.Row, n, g, w)
			}
		}
	}
}

// scoredAhead scores tokens of steps of which the next is begun before they are known: as
// of steps that are waited for, in another slot.
func (p *Pair) scoredAhead(d device.ScoringRunner, r *rand.Rand) {
	p.t.Helper()
	const steps = 4
	row := func(slot, n int, token int32) []ir.Row {
		return []ir.Row{{Token: token, Position: int32(n), Slot: int32(slot)}}
	}
	must := func(err error) {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
	}
	choice, picked := []sampling.Choice{{Inv: 1, Random: r.Uint32()}}, make([]int32, 1)
	var logits [steps][]float32
	token := int32(3)
	for n := range steps {
		must(d.SampleDecode(row(0, n, token), []int{0}, choice, picked))
		var err error
		logits[n], err = d.LastLogits(0)
		must(err)
		token = picked[0]
	}
	must(d.BeginDecode(row(1, 0, 3), nil, []int{0}))
	for n := range steps {
		asks, scores := asksFor(r, 1, -1, 1), make([]device.Score, 1)
		must(d.BeginPick(choice))
		must(d.BeginScore(asks))
		if err := d.BeginScore(asks); err == nil {
			p.t.Error("tokens of a step are scored twice")
		}
		must(d.BeginDecode(row(1, n+1, 0), []int32{0}, []int{0}))
		must(d.Await(picked))
		must(d.AwaitScore(scores))
		if err := d.AwaitScore(scores); err == nil {
			p.t.Error("scores came twice")
		}
		p.expectScores(func(int) ([]float32, error) { return logits[n], nil }, asks, picked, scores)
	}
	d.Reset(0)
	d.Reset(1)
}
