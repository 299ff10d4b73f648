package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/ir"
)

// verifyCheck is one prompt and what followed.
type verifyCheck struct {
	Name       string  `json:"name"`
	Prompt     int     `json:"prompt"`  // tokens, of all texts
	Decoded    int     `json:"decoded"` // tokens after that, of each text
	Logits     int     `json:"logits"`
	Difference float64 `json:"difference"` // the largest; -1 if one of the two is no finite number
	Choices    int     `json:"choices"`    // ids of experts and entries compared
	Differ     int     `json:"choices_that_differ"`
	Codes      int     `json:"rounded"` // numbers rounded to fewer bits, compared
	CodesOther int     `json:"rounded_that_differ"`
	Trouble    string  `json:"trouble"` // the first choice that rounding does not explain; ""
	OK         bool    `json:"ok"`
}

// verifier runs the same steps on two devices.
type verifier struct {
	plan   *plan.Plan
	both   *lockstep.Pair
	random *rand.Rand
	decode int
	done   func(n int64) // is told of the tokens of each step
}

// newVerifier takes a pair that is ready to run.
func newVerifier(both *lockstep.Pair, o verifyOptions) *verifier {
	return &verifier{plan: both.Plan(), both: both, random: rand.New(rand.NewPCG(o.seed, 0)), decode: o.tokens, done: func(int64) {}}
}

// texts has the lengths of one check's prompts, by slot.
type texts struct {
	name    string
	lengths map[int32]int
}

// prompts are texts of lengths that straddle the edges of blocks: of a few
// tokens, of windows and of prefill's tiles, as far as the context has room for
// one token more; and, with slots for it, several texts that are decoded
// together.
func (v *verifier) prompts() []texts {
	lengths := []int{1, 2, 3, 4, 5, 127, 128, 129}
	for _, c := range v.plan.Caches {
		if keep, constant := c.State.Keep.Value(); constant && keep > 5 {
			lengths = append(lengths, int(keep)-1, int(keep), int(keep)+1)
		}
	}
	slices.Sort(lengths)
	var all []texts
	for _, n := range slices.Compact(lengths) {
		if n < v.plan.Context {
			all = append(all, texts{fmt.Sprintf("prompt of %d", n), map[int32]int{int32(n % v.plan.Slots): n}})
		}
	}
	if n := min(v.plan.Slots, v.plan.Wanted, program.MaxDecodeRows); n > 1 && v.plan.Context > 1 {
		together := texts{fmt.Sprintf("%d at once", n), map[int32]int{}}
		for slot := range n {
			together.lengths[int32(slot)] = min(1+5*slot, v.plan.Context-1)
		}
		all = append(all, together)
	}
	return all
}

// tokens is how many a check of these texts runs.
func (v *verifier) tokens(t texts) (n int64) {
	decode := v.decode
	for _, length := range t.lengths {
		n += int64(length)
		decode = min(decode, v.plan.Context-length)
	}
	return n + int64(decode*len(t.lengths))
}

// run gives prompts to both devices in prefill steps, then decodes a row of
// each in every step. The evaluator's tokens would do as well as random ones,
// but those visit more.
func (v *verifier) run(ctx context.Context, t texts) (verifyCheck, error) {
	slots := slices.Sorted(maps.Keys(t.lengths))
	c := verifyCheck{Name: t.name, Decoded: v.decode}
	for _, slot := range slots {
		c.Prompt += t.lengths[slot]
		c.Decoded = min(c.Decoded, v.plan.Context-t.lengths[slot])
		v.both.Reset(slot)
	}
	v.both.Clear()
	for _, slot := range slots {
		for at := 0; at < t.lengths[slot]; at += v.plan.Chunk {
			rows := make([]ir.Row, min(v.plan.Chunk, t.lengths[slot]-at))
			for i := range rows {
				rows[i] = v.row(slot, at+i)
			}
			if err := v.step(ctx, program.Prefill, rows, &c); err != nil {
				return c, err
			}
		}
	}
	for i := range c.Decoded {
		rows := make([]ir.Row, len(slots))
		for k, slot := range slots {
			rows[k] = v.row(slot, t.lengths[slot]+i)
		}
		if err := v.step(ctx, program.Decode, rows, &c); err != nil {
			return c, err
		}
	}
	v.choices(&c)
	c.OK = c.Difference >= 0 && c.Difference <= lockstep.Logits && c.Trouble == ""
	return c, nil
}

func (v *verifier) row(slot int32, position int) ir.Row {
	return ir.Row{Token: int32(v.random.IntN(v.both.Vocab())), Position: int32(position), Slot: slot}
}

// step runs rows on both devices and compares what they give.
func (v *verifier) step(ctx context.Context, phase program.Phase, rows []ir.Row, c *verifyCheck) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	r, err := v.both.Step(phase, rows, lockstep.SampleRows(len(rows), v.plan.Wanted), nil)
	if err != nil {
		return fmt.Errorf("%s, %s step from token %d: %w", c.Name, phase, rows[0].Position, err)
	}
	v.done(int64(len(rows)))
	c.Logits += len(r.Evaluator)
	c.Difference = lockstep.Worse(c.Difference, r.Difference())
	return nil
}

// choices sums up what was found of choices.
func (v *verifier) choices(c *verifyCheck) {
	for _, k := range v.both.Kernels() {
		c.Choices, c.Differ = c.Choices+k.Ids, c.Differ+k.IdsTurned
		c.Codes, c.CodesOther = c.Codes+k.Codes, c.CodesOther+k.CodesTurned
		if why := k.Trouble(); why != "" && c.Trouble == "" {
			c.Trouble = fmt.Sprintf("kernel %s: %s", k.Name, why)
		}
	}
}
