// Package lockstep runs a model on a device and in the evaluator, step by step
// alike, and compares what kernels write, value by value. The proofs of devices
// (package devicetest), `smelt verify` and `smelt doctor` are made of it.
//
//	p := lockstep.New(lockstep.Choices)
//	device := open(p.See) // which shows p what kernels write
//	err := p.Attach(device, weights)
//	logits, err := p.Step(program.Prefill, rows, wanted, nil)
//	for _, k := range p.Kernels() { ... }
package lockstep

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
	"smelt.example/smelt/runtime/sampling"
)

// Follow says what the evaluator takes over from the device.
type Follow int

// What is taken over.
const (
	// Choices are experts, entries and rounded codes. Where rounding turned one,
	// both sides go on alike. What else differs adds up along the step, as it does
	// on the device, and is seen in the logits; only choices are judged.
	Choices Follow = iota
	// Values are all that kernels write: each kernel is compared by itself, with
	// the inputs it had.
	Values
)

// Pair is a model on both sides.
type Pair struct {
	follow   Follow
	dev      device.Planned
	machine  *eval.Machine[float32]
	kernels  map[string]*Kernel
	steps    [2]*writers
	appended map[*ir.Value][]*plan.Cache // the caches that a value's rows go to
	reals    map[string]bool             // the values that are real numbers
	faults   int                         // kernels found wrong

	// The step that is compared:
	phase  program.Phase
	rows   []ir.Row
	seen   map[string][]byte          // what kernels wrote, by value
	lost   map[string]map[int]float32 // what of it was not finite
	scores map[*ir.Value]scoring      // what the evaluator's choices were made by
	err    error
}

// New prepares a pair. The device must show See, of the same pair, the arena's
// named values of each step after the dispatch that writes them.
func New(f Follow) *Pair { return &Pair{follow: f, kernels: map[string]*Kernel{}} }

// See takes the values that the device shows. The evaluator goes on with zeros where
// numbers are not finite. Where it follows Values, they become zeros in data too,
// which should be the device's memory: the kernels that follow are judged by what
// they make of that.
func (p *Pair) See(name string, data []byte) {
	if p.seen == nil {
		return
	}
	seen := slices.Clone(data)
	if p.reals[name] {
		if p.lost[name] = replaceLost(seen); p.lost[name] != nil && p.follow == Values {
			copy(data, seen)
		}
	}
	p.seen[name] = seen
}

// replaceLost puts zeros in the place of numbers that are not finite, and returns
// these by where they were.
func replaceLost(data []byte) (nonfinite map[int]float32) {
	for i := range len(data) / 4 {
		x := math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		if x-x == 0 {
			continue
		}
		if nonfinite == nil {
			nonfinite = map[int]float32{}
		}
		nonfinite[i] = x
		binary.LittleEndian.PutUint32(data[4*i:], 0)
	}
	return nonfinite
}

// Attach takes the device, and prepares the evaluator for what it runs.
func (p *Pair) Attach(dev device.Planned, weights eval.Weights) error {
	b := dev.Bundle()
	machine, err := eval.New[float32](b.Module, weights)
	if err != nil {
		return fmt.Errorf("the evaluator: %w", err)
	}
	p.dev, p.machine = dev, machine
	machine.Exchange = p.exchange
	for _, phase := range []program.Phase{program.Decode, program.Prefill} {
		p.steps[phase] = p.writersOf(b.Plan.Step(phase))
	}
	caches := map[string]*plan.Cache{}
	for _, c := range b.Plan.Caches {
		caches[c.State.Name] = c
	}
	p.appended, p.reals = map[*ir.Value][]*plan.Cache{}, map[string]bool{}
	for _, n := range b.Module.Nodes {
		p.reals[n.Result.Ref()] = !n.Result.Type.State && n.Result.Type.Elem == ir.F32
		if n.Op == ops.Append {
			p.appended[n.Args[3]] = append(p.appended[n.Args[3]], caches[StateOf(n)])
		}
	}
	return nil
}

// StateOf names the state that an append adds to: its first operand is the state's
// node, or an append before it.
func StateOf(n *ir.Node) string {
	for n.Op == ops.Append {
		n = n.Args[0].Def
	}
	return n.Symbol
}

// Reset forgets a slot on both sides.
func (p *Pair) Reset(slot int32) {
	p.dev.Reset(slot)
	p.machine.Reset(slot)
}

// Results are the logits of a step's wanted rows. The evaluator's are the device's
// own where it follows Values.
type Results struct{ Device, Evaluator []float32 }

// Difference is the largest of a logit; -1 if one is no finite number where the
// other is.
func (r Results) Difference() float64 {
	worst := 0.0
	for i, w := range r.Evaluator {
		worst = Worse(worst, difference(w, r.Device[i], 1))
	}
	return worst
}

// Step runs rows on both sides and compares what kernels wrote. With choices, one
// for each wanted row, the device picks tokens too, and they are compared with
// what package sampling picks from its logits.
func (p *Pair) Step(phase program.Phase, rows []ir.Row, wanted []int, choices []sampling.Choice) (Results, error) {
	return p.Run(Step{Phase: phase, Rows: rows, Wanted: wanted, Choices: choices})
}

// Run is Step for steps of a Script: with asks the device scores tokens, and that is
// compared with what package sampling makes of its logits.
func (p *Pair) Run(a Step) (Results, error) {
	var r Results
	p.phase, p.rows, p.err = a.Phase, a.Rows, nil
	p.seen, p.lost, p.scores = map[string][]byte{}, map[string]map[int]float32{}, map[*ir.Value]scoring{}
	if err := p.steps[a.Phase].mark(a); err != nil {
		return r, err
	}
	out, err := a.Run(p.dev)
	if err != nil {
		return r, err
	}
	r.Device = out.Logits
	want, err := p.machine.Step(a.Rows, a.Wanted)
	switch {
	case p.err != nil:
		return r, p.err
	case err != nil:
		return r, fmt.Errorf("the evaluator: %w", err)
	}
	r.Evaluator = want[0].F
	if err := p.compareKept(); err != nil {
		return r, err
	}
	n := p.dev.Vocab()
	for i, token := range out.Tokens {
		p.compareToken(i, token, a.Choices[i], r.Device[i*n:(i+1)*n])
	}
	for i, score := range out.Scores {
		ask := a.Asks[i]
		if ask.Token < 0 {
			ask.Token = out.Tokens[ask.Row]
		}
		p.compareScore(score, ask, r.Device[int(ask.Row)*n:][:n])
	}
	return r, nil
}

// exchange is the machine's: it compares a value with what the device has of it,
// and gives the machine what it is to go on with.
func (p *Pair) exchange(n *ir.Node, args []tensor.Value[float32], v tensor.Value[float32]) tensor.Value[float32] {
	if n.Op == ops.TopK {
		p.scores[n.Result] = scoring{args}
	}
	if v.Log != nil || tensor.Len(v.Shape) == 0 || p.err != nil || !p.judged(n) {
		return v
	}
	out := v
	if data, ok := p.seen[n.Result.Ref()]; ok {
		if len(data) != 4*tensor.Len(v.Shape) {
			p.err = fmt.Errorf("the device shows %d bytes of %s in a %s step, which has %d", len(data), n.Result.Ref(), p.phase, 4*tensor.Len(v.Shape))
			return v
		}
		out = p.compare(p.steps[p.phase].values[n.Result.Ref()], n, v, words(data))
	}
	for _, c := range p.appended[n.Result] {
		got, hidden, err := p.cacheRows(c, n.Result, v.F)
		if err != nil {
			p.err = err
			return v
		}
		k := p.steps[p.phase].caches[c]
		out = p.compareReals(k, n, v, got, nonFinite(got))
		k.Values -= hidden
	}
	return out
}

// Plan is the device's.
func (p *Pair) Plan() *plan.Plan { return p.dev.Bundle().Plan }

// Vocab is the device's.
func (p *Pair) Vocab() int { return p.dev.Vocab() }
