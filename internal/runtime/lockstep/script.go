package lockstep

import (
	"math/rand/v2"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// SamplingPresets are ways to pick tokens, of which every filter is a part.
func SamplingPresets() []sampling.Params {
	return []sampling.Params{
		sampling.Greedy(),
		{Temperature: 1, TopP: 1, Seed: 1},
		{Temperature: 0.7, TopK: 20, TopP: 1, Seed: 2},
		{Temperature: 1.2, TopP: 0.9, Seed: 3},
		{Temperature: 1, TopP: 1, MinP: 0.05, Seed: 4},
		{Temperature: 1.5, TopK: 50, TopP: 0.8, MinP: 0.02, Seed: 5},
		{RepetitionPenalty: 1.3},
		{RepetitionPenalty: 1.2, Bias: map[int32]float64{0: 0.5, 7: 2, 40: -100, 41: 1}},
		{Temperature: 0.8, TopP: 0.95, RepetitionPenalty: 0.9, PresencePenalty: 0.5, FrequencyPenalty: -0.25, Seed: 6},
	}
}

// RandomMask allows about half of the tokens.
func RandomMask(r *rand.Rand, vocab int) *pick.Mask {
	m := pick.NewMask(vocab)
	for id := range int32(vocab) {
		if r.IntN(2) == 0 {
			m.Allow(id)
		}
	}
	return m
}

// RandomChoice picks one way, after a text of random tokens; every other choice has a
// mask of its own.
func RandomChoice(r *rand.Rand, way sampling.Params, vocab int, row ir.Row) sampling.Choice {
	tokens := make([]int32, 40)
	for i := range tokens {
		tokens[i] = int32(r.IntN(vocab))
	}
	var mask *pick.Mask
	if r.IntN(2) == 0 {
		mask = RandomMask(r, vocab)
	}
	c := session.NewChooser(way, uint64(row.Slot), mask, tokens[:20])
	for _, t := range tokens[20:] {
		c.Add(t)
	}
	return c.Choice(int(row.Position))
}

// SampleRows is at most `most` rows of n, the first and the last among them; the last
// if one.
func SampleRows(n, most int) []int {
	if most == 1 {
		return []int{n - 1}
	}
	count := min(n, most)
	wanted := make([]int, count)
	for i := range wanted {
		wanted[i] = i
		if n > count {
			wanted[i] = i * (n - 1) / (count - 1)
		}
	}
	return wanted
}

// Step is a step to run on both sides.
type Step struct {
	Phase   program.Phase
	Rows    []ir.Row
	Wanted  []int
	Choices []sampling.Choice
	Asks    []program.Ask // for scores, once the step has run
}

// Output is what a step gives.
type Output struct {
	Logits []float32
	Tokens []int32        // nil if none were picked
	Scores []device.Score // nil if none were asked for
}

// Run runs the step. A device that can pick tokens does, if there are choices, and one
// that can score them, if there are asks; the logits are returned all the same.
func (a Step) Run(dev device.Device) (out Output, err error) {
	sampler, samples := dev.(device.Sampler)
	scorer, scores := dev.(device.Scorer)
	switch {
	case a.Choices != nil && samples:
		run := sampler.SampleDecode
		if a.Phase == program.Prefill {
			run = sampler.SamplePrefill
		}
		out.Tokens = make([]int32, len(a.Wanted))
		err = run(a.Rows, a.Wanted, a.Choices, out.Tokens)
	default:
		run := dev.Decode
		if a.Phase == program.Prefill {
			run = dev.Prefill
		}
		out.Logits, err = run(a.Rows, a.Wanted)
	}
	if scores && len(a.Asks) > 0 && err == nil {
		out.Scores = make([]device.Score, len(a.Asks))
		err = scorer.Score(a.Asks, out.Scores)
	}
	if out.Tokens == nil {
		return out, err
	}
	for i := 0; i < len(a.Wanted) && err == nil; i++ {
		var row []float32
		row, err = sampler.LastLogits(i)
		out.Logits = append(out.Logits, row...)
	}
	return out, err
}

// Script is a few texts, side by side, in which every kernel of a plan has work:
// blocks of 4 and of 128 close in prefill and in decode, there are more entries
// than a small model chooses, decode steps have rows of one text and of several, chunks of
// prompts take turns, a prompt's last rows stand alone, tokens are picked in all ways, and most
// steps score tokens, those that were picked and others. Less of it fits a plan with less room. Tokens are random.
func Script(p *plan.Plan, vocab int) []Step {
	s := &script{plan: p, vocab: vocab, random: rand.New(rand.NewPCG(1, 0)), length: make([]int, p.Slots), ways: SamplingPresets()}
	for _, part := range []piece{{0, 130}, {1, 60}, {0, 70}, {1, 66}, {2, 33}, {3, 7}, {4, 1}} {
		s.prefill(part)
	}
	for _, slots := range [][]int{{0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}, {0}, {1, 3, 2, 4}} {
		s.decode(slots)
	}
	return s.acts
}

// piece is a part of a prompt.
type piece struct{ slot, tokens int }

// decoded is how many tokens the script decodes after each prompt, at most.
const decoded = 3

type script struct {
	plan   *plan.Plan
	vocab  int
	random *rand.Rand
	length []int // of each slot's text
	acts   []Step
	ways   []sampling.Params
	picked int
	steps  int
}

// row is the next of a text.
func (s *script) row(slot int) ir.Row {
	s.length[slot]++
	return ir.Row{Token: int32(s.random.IntN(s.vocab)), Position: int32(s.length[slot] - 1), Slot: int32(slot)}
}

// prefill runs a part of a prompt, in as many steps as the plan's chunk makes of it.
func (s *script) prefill(part piece) {
	if part.slot >= s.plan.Slots {
		return
	}
	var rows []ir.Row
	for range min(part.tokens, max(1, s.plan.Context-decoded)-s.length[part.slot]) {
		rows = append(rows, s.row(part.slot))
	}
	for len(rows) > 0 {
		n := min(len(rows), s.plan.Chunk)
		s.add(program.Prefill, rows[:n:n])
		rows = rows[n:]
	}
}

// decode runs a row of each slot's text that there is.
func (s *script) decode(slots []int) {
	var rows []ir.Row
	for _, slot := range slots {
		if slot < s.plan.Slots && s.length[slot] > 0 && s.length[slot] < s.plan.Context && len(rows) < program.MaxDecodeRows {
			rows = append(rows, s.row(slot))
		}
	}
	if len(rows) > 0 {
		s.add(program.Decode, rows)
	}
}

func (s *script) add(phase program.Phase, rows []ir.Row) {
	a := Step{Phase: phase, Rows: rows, Wanted: SampleRows(len(rows), min(s.plan.Wanted, program.MaxSampled))}
	s.steps++
	picks, scores := s.steps%3 != 0, s.steps%3 != 1
	for i, w := range a.Wanted {
		if scores {
			token := int32(s.random.IntN(s.vocab))
			if picks && i%2 == 0 {
				token = -1
			}
			a.Asks = append(a.Asks, program.Ask{Row: int32(i), Token: token, Top: int32(s.random.IntN(program.MaxTop + 1))})
		}
		if picks {
			way := s.ways[s.picked%len(s.ways)]
			s.picked++
			a.Choices = append(a.Choices, RandomChoice(s.random, way, s.vocab, rows[w]))
		}
	}
	if scores {
		a.Asks[0].Top = program.MaxTop
	}
	s.acts = append(s.acts, a)
}
