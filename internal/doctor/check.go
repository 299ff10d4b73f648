// Package doctor finds out whether a machine computes what it should: it runs a
// model on a device and in the evaluator, compares every value that kernels
// write, and times every kernel. It knows no device in particular.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/passes"
)

// Subject is a device of this machine.
type Subject struct {
	Name string
	// Open opens the device. Observe, if not nil, is to see the named values of
	// each step after the dispatch that writes them.
	Open func(observe func(name string, data []byte)) (device.Planned, error)
	// Absent is the error of Open if the machine has no such device.
	Absent error
	// Notes, if not nil, returns remarks on an open device.
	Notes func(device.Planned) []string
	// Progress, if not nil, is told how many steps are done, of how many.
	Progress func(done, total int)
	// Text, if not nil, words errors for whoever reads the result.
	Text func(error) string
}

func (s *Subject) text(err error) string {
	if s.Text == nil {
		return err.Error()
	}
	return s.Text(err)
}

// Kernel holds the findings on a kernel. Field names are stable.
type Kernel struct {
	Name string `json:"name"`
	Ran  bool   `json:"ran"`
	OK   bool   `json:"ok"`
	// Values are the numbers compared. Where there are none, what the kernel
	// writes is read by those of Through alone, and their values show it.
	Values  int      `json:"values"`
	Through []string `json:"through"`
	// Difference is the largest, as a share of the largest number of a row; -1 if
	// one is no finite number where the other is.
	Difference float64 `json:"difference"`
	// Turned are choices and rounded numbers that came out the other way because
	// what they were made from was added up in another order.
	Turned int `json:"turned"`
	// Seconds is the median time of its launches, alone on the device; 0 if the
	// device has no clock for it.
	Seconds float64 `json:"seconds"`
	// Trouble says what is wrong; "" if nothing is.
	Trouble string `json:"trouble"`

	order int // of those that are wrong
}

// Result holds the findings on a device. Field names are stable; lists are never
// null.
type Result struct {
	Device string `json:"device"`
	// Here: the machine has it. If not, Reason says what is missing.
	Here   bool   `json:"here"`
	Reason string `json:"reason"`
	OK     bool   `json:"ok"`
	// Errors are all that went wrong, in full.
	Errors []string `json:"errors"`
	Notes  []string `json:"notes"`
	// Opening is how long it took to open, kernels compiled.
	Opening float64 `json:"opening_seconds"`
	// Whole compares the logits of whole steps, in which kernels overlap, with
	// those of kernels one by one; -1 where one is no finite number.
	Whole float64 `json:"whole_steps_difference"`
	Steps int     `json:"steps"`
	// Company are the numbers of rows that were run side by side, to see that none
	// notices the others.
	Company []int    `json:"rows_side_by_side"`
	Prefill Speed    `json:"prefill"`
	Decode  Speed    `json:"decode"`
	Kernels []Kernel `json:"kernels"`
}

// Speed is how long a step took: the best of a few.
type Speed struct {
	Rows    int     `json:"rows"`
	Seconds float64 `json:"seconds"`
	// GPU is how long the device itself took; 0 if it does not tell.
	GPU float64 `json:"gpu_seconds"`
}

// Compile makes a bundle of a model as doctor wants it: caches that hold what is
// computed, so that no rounding stands between a kernel and the evaluator, and
// room for all that the script does.
func Compile(s bundle.Source, begin progress.Begin) (*bundle.Bundle, error) {
	b, _, err := bundle.Compile(s, bundle.Options{
		Lean: true, Formats: passes.Formats{Rows: "f32", Keys: "f32"},
		Context: 256, Chunk: 256, Slots: program.MaxDecodeRows, Wanted: program.MaxDecodeRows, Begin: begin,
	})
	return b, err
}

func absent(name string, why error) Result {
	r := newResult(name)
	r.Here, r.Reason = false, why.Error()
	return r
}

func newResult(name string) Result {
	return Result{Device: name, Here: true, Errors: []string{}, Notes: []string{}, Company: []int{}, Kernels: []Kernel{}}
}

// Check runs the script on the device and in the evaluator, first in whole steps,
// as they run in use, then kernel by kernel, so that a fault names its kernel. What
// goes wrong is part of the result; the error is the context's.
func Check(ctx context.Context, s Subject, weights eval.Weights) (Result, error) {
	c := &check{Result: newResult(s.Name), subject: s, weights: weights}
	for _, part := range []func(context.Context) error{c.whole, c.single} {
		err := part(ctx)
		switch {
		case ctx.Err() != nil:
			return c.Result, ctx.Err()
		case !c.opened && s.Absent != nil && errors.Is(err, s.Absent):
			return absent(s.Name, errors.Unwrap(err)), nil
		}
		if err != nil {
			c.Errors = append(c.Errors, c.subject.text(err))
		}
		if !c.opened {
			break
		}
	}
	c.judge()
	return c.Result, nil
}

// check is a check of one device.
type check struct {
	Result
	subject  Subject
	weights  eval.Weights
	logits   [][]float32 // of whole steps
	opened   bool        // once at least
	complete bool        // all steps ran, kernel by kernel
	done     int
}

// open opens the device and closes it after use.
func (c *check) open(observe func(name string, data []byte), use func(device.Planned) error) error {
	dev, err := c.subject.Open(observe)
	if err != nil {
		return openingError{err}
	}
	c.opened = true
	err = use(dev)
	if e := dev.Close(); e != nil && err == nil {
		err = fmt.Errorf("the device does not close: %w", e)
	}
	return err
}

// openingError is why a device does not open.
type openingError struct{ err error }

func (e openingError) Error() string { return "the device does not open: " + e.err.Error() }
func (e openingError) Unwrap() error { return e.err }

// whole runs the script as texts run in use, times it, and runs texts side by side.
func (c *check) whole(ctx context.Context) error {
	start := time.Now()
	err := c.open(nil, func(dev device.Planned) error {
		c.Opening = time.Since(start).Seconds()
		if c.subject.Notes != nil {
			c.Notes = c.subject.Notes(dev)
		}
		script := lockstep.Script(dev.Bundle().Plan, dev.Vocab())
		c.Steps = len(script)
		for _, act := range script {
			if err := c.tell(ctx); err != nil {
				return err
			}
			out, err := act.Run(dev)
			if err != nil {
				return err
			}
			c.logits = append(c.logits, out.Logits)
		}
		if err := c.measure(ctx, dev); err != nil {
			return err
		}
		return c.company(ctx, dev)
	})
	return during("in whole steps", err)
}

// during says what was being done; not of a device that does not open.
func during(what string, err error) error {
	if err == nil || errors.As(err, new(openingError)) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// tell reports progress; it fails when the context is done.
func (c *check) tell(ctx context.Context) error {
	if c.subject.Progress != nil {
		c.subject.Progress(c.done, 2*c.Steps)
	}
	c.done++
	return ctx.Err()
}

// single runs the script kernel by kernel, beside the evaluator.
func (c *check) single(ctx context.Context) error {
	pair := lockstep.New(lockstep.Values)
	err := c.open(pair.See, func(dev device.Planned) error {
		if err := pair.Attach(dev, c.weights); err != nil {
			return err
		}
		defer func() { c.take(pair) }()
		for i, act := range lockstep.Script(dev.Bundle().Plan, dev.Vocab()) {
			if err := c.tell(ctx); err != nil {
				return err
			}
			logits, err := pair.Run(act)
			if err != nil {
				return err
			}
			if i < len(c.logits) {
				c.Whole = lockstep.Worse(c.Whole, apart(c.logits[i], logits.Device, dev.Vocab()))
			}
		}
		c.complete = true
		return nil
	})
	return during("kernel by kernel", err)
}

// apart is the largest difference of two lists of logits, as a share of the
// largest of its row; -1 where they are not finite alike.
func apart(a, b []float32, vocab int) float64 {
	if len(a) != len(b) {
		return -1
	}
	worst := 0.0
	for at := 0; at < len(a); at += vocab {
		largest := 0.0
		for _, x := range a[at : at+vocab] {
			largest = max(largest, math.Abs(float64(x)))
		}
		for i := at; i < at+vocab; i++ {
			if a[i] == b[i] || math.Float32bits(a[i]) == math.Float32bits(b[i]) {
				continue
			}
			d := math.Abs(float64(a[i])-float64(b[i])) / largest
			if math.IsNaN(d) || math.IsInf(d, 0) {
				return -1
			}
			worst = max(worst, d)
		}
	}
	return worst
}

// take notes what was found of the kernels.
func (c *check) take(p *lockstep.Pair) {
	seconds := map[string]float64{}
	for _, k := range c.Kernels {
		seconds[k.Name] = k.Seconds
	}
	c.Kernels = c.Kernels[:0]
	for _, k := range p.Kernels() {
		one := Kernel{
			Name: k.Name, Ran: k.Ran, Values: k.Values, Through: append([]string{}, k.Through...),
			Difference: k.Difference, Turned: k.IdsTurned + k.CodesTurned, Seconds: seconds[k.Name], Trouble: k.Trouble(), order: k.Order,
		}
		one.OK = one.Trouble == ""
		c.Kernels = append(c.Kernels, one)
	}
}

// judge says whether the device computes what it should. What is wrong comes in
// the order in which it was found: what came first may be why others are.
func (c *check) judge() {
	var bad []Kernel
	for _, k := range c.Kernels {
		if !k.OK {
			bad = append(bad, k)
		}
	}
	slices.SortStableFunc(bad, func(a, b Kernel) int { return cmp.Compare(a.order, b.order) })
	for _, k := range bad {
		c.Errors = append(c.Errors, fmt.Sprintf("kernel %s: %s%s", k.Name, k.Trouble, c.feeders(k.Name)))
	}
	const overlap = "whole steps give other logits than their kernels one by one, so kernels that overlap get in each other's way"
	switch {
	case !c.complete:
	case c.Whole < 0:
		c.Errors = append(c.Errors, overlap+": some are finite on one side alone")
	case c.Whole > lockstep.Bound:
		c.Errors = append(c.Errors, fmt.Sprintf("%s: they differ by %.2g of the largest, and rounding makes that %g at most", overlap, c.Whole, lockstep.Bound))
	}
	c.OK = c.complete && len(c.Errors) == 0
}

// feeders names the kernels that hand a kernel what nobody else sees.
func (c *check) feeders(kernel string) string {
	var names []string
	for _, k := range c.Kernels {
		if slices.Contains(k.Through, kernel) {
			names = append(names, k.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" (or what it reads of %s, unseen otherwise)", strings.Join(names, ", "))
}
