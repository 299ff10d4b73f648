package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"smelt/codegen/lower"
	"smelt/codegen/plan"
	"smelt/ir"
	"smelt/ir/tensor"
	"smelt/runtime/reference"
	"smelt/runtime/session"
)

// tolerance is how far kernels may be from the evaluator.
type tolerance struct {
	logits  float64 // largest difference of a logit
	choices float64 // share of ids that may differ
	why     string
}

// Sums in another order move a float32 logit by some 1e-5; 5e-4 is the bound
// that holds for caches of float32. What is rounded to fewer bits can land on
// the other side of a step, which moves an element of a cache by one step of
// its format, and a near tie among entries the other way.
var tolerances = map[string]tolerance{
	"f32":  {5e-4, 0, "caches hold float32: only the order of sums differs"},
	"bf16": {2e-2, 0.02, "caches round to bf16: a sum in another order can land on the next value, 2^-8 away"},
	"fp8":  {2e-1, 0.05, "caches round to fp8 or fp4: a sum in another order can land on the next code, 2^-3 or 2^-1 away"},
}

// toleranceOf is the looser one of rows' and keys'.
func toleranceOf(rows, keys string) tolerance {
	if keys == "fp4" {
		keys = "fp8"
	}
	t, k := tolerances[rows], tolerances[keys]
	if k.logits > t.logits {
		return k
	}
	return t
}

// verifyCheck is one prompt and what followed.
type verifyCheck struct {
	Name       string  `json:"name"`
	Prompt     int     `json:"prompt"`  // tokens, of all texts
	Decoded    int     `json:"decoded"` // tokens after that, of each text
	Logits     int     `json:"logits"`
	Difference float64 `json:"difference"` // the largest; -1 if one of the two is no finite number
	Choices    int     `json:"choices"`    // ids of experts and entries compared
	Differ     int     `json:"choices_that_differ"`
	OK         bool    `json:"ok"`
}

// observed keeps the integers that kernels write, by value.
type observed struct {
	values map[string][]int32
	want   map[string]bool
}

func (o *observed) bytes(name string, data []byte) []byte {
	name = strings.TrimPrefix(name, "%")
	if o.want[name] {
		ids := make([]int32, len(data)/4)
		for i := range ids {
			ids[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
		}
		o.values[name] = ids
	}
	return nil
}

// verifier runs the same steps on two devices.
type verifier struct {
	plan      *plan.Plan
	ref       *reference.Device
	dev       session.Device
	seen      *observed
	expected  map[string][]int32
	tolerance tolerance
	random    *rand.Rand
	decode    int
}

func newVerifier(p *plan.Plan, m *ir.Module, ref *reference.Device, dev session.Device, seen *observed, t tolerance, o verifyOptions) *verifier {
	v := &verifier{plan: p, ref: ref, dev: dev, seen: seen, tolerance: t, random: rand.New(rand.NewPCG(o.seed, 0)), decode: o.tokens}
	v.seen.want = chosen(m)
	v.ref.Observe(func(name string, x tensor.Value[float32]) {
		if v.seen.want[name] {
			v.expected[name] = slices.Clone(x.I)
		}
	})
	return v
}

// chosen are the named integers that regions yield: ids of experts and entries.
func chosen(m *ir.Module) map[string]bool {
	names := map[string]bool{}
	for _, r := range m.Regions {
		for _, y := range r.Yields {
			if y.Type.Elem == ir.I32 && !y.Type.State && y.Name != "" {
				names[y.Name] = true
			}
		}
	}
	return names
}

// texts are what one check feeds: the length of a prompt by slot.
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
	if n := min(v.plan.Slots, v.plan.Wanted, lower.MaxDecodeRows); n > 1 && v.plan.Context > 1 {
		together := texts{fmt.Sprintf("%d at once", n), map[int32]int{}}
		for slot := range n {
			together.lengths[int32(slot)] = min(1+5*slot, v.plan.Context-1)
		}
		all = append(all, together)
	}
	return all
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
		v.ref.Reset(slot)
		v.dev.Reset(slot)
	}
	for _, slot := range slots {
		for at := 0; at < t.lengths[slot]; at += v.plan.Chunk {
			rows := make([]ir.Row, min(v.plan.Chunk, t.lengths[slot]-at))
			for i := range rows {
				rows[i] = v.row(slot, at+i)
			}
			if err := v.step(ctx, lower.Prefill, rows, &c); err != nil {
				return c, err
			}
		}
	}
	for i := range c.Decoded {
		rows := make([]ir.Row, len(slots))
		for k, slot := range slots {
			rows[k] = v.row(slot, t.lengths[slot]+i)
		}
		if err := v.step(ctx, lower.Decode, rows, &c); err != nil {
			return c, err
		}
	}
	c.OK = c.Difference >= 0 && c.Difference <= v.tolerance.logits && float64(c.Differ) <= v.tolerance.choices*float64(c.Choices)
	return c, nil
}

func (v *verifier) row(slot int32, position int) ir.Row {
	return ir.Row{Token: int32(v.random.IntN(v.dev.Vocab())), Position: int32(position), Slot: slot}
}

// step runs rows on both devices and compares what they give.
func (v *verifier) step(ctx context.Context, kind lower.Kind, rows []ir.Row, c *verifyCheck) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	wanted := spread(len(rows), v.plan.Wanted)
	v.expected, v.seen.values = map[string][]int32{}, map[string][]int32{}
	want, got, err := v.both(kind, rows, wanted)
	if err != nil {
		return fmt.Errorf("%s, %s step from token %d: %w", c.Name, kind, rows[0].Position, err)
	}
	c.Logits += len(want)
	c.Difference = larger(c.Difference, want, got)
	return v.compareChoices(c)
}

// both runs a step on the two devices. The evaluator has one way for both kinds.
func (v *verifier) both(kind lower.Kind, rows []ir.Row, wanted []int) (want, got []float32, err error) {
	run := v.dev.Decode
	if kind == lower.Prefill {
		run = v.dev.Prefill
	}
	if want, err = v.ref.Decode(rows, wanted); err != nil {
		return nil, nil, err
	}
	got, err = run(rows, wanted)
	return want, got, err
}

// compareChoices compares the ids of a step.
func (v *verifier) compareChoices(c *verifyCheck) error {
	for _, name := range slices.Sorted(maps.Keys(v.expected)) {
		ids, other := v.expected[name], v.seen.values[name]
		if len(other) != len(ids) {
			return fmt.Errorf("%s, %s: the kernels gave %d ids, the evaluator %d", c.Name, name, len(other), len(ids))
		}
		c.Choices += len(ids)
		for i := range ids {
			if ids[i] != other[i] {
				c.Differ++
			}
		}
	}
	return nil
}

// spread is at most `most` rows of n, the first and the last among them.
func spread(n, most int) []int {
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

// larger is the larger of a difference and those of two lists; -1, which is
// final, if they are not of finite numbers.
func larger(worst float64, want, got []float32) float64 {
	if worst < 0 || len(want) != len(got) {
		return -1
	}
	for i := range want {
		d := math.Abs(float64(want[i]) - float64(got[i]))
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return -1
		}
		worst = max(worst, d)
	}
	return worst
}
