package doctor

import (
	"context"
	"slices"
	"time"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// repeats is how often steps are run to be timed, as often as a whole and kernel
// by kernel.
const repeats = 3

// measure times a prefill and a decode step, and their kernels, on a device that
// has a clock.
func (c *check) measure(ctx context.Context, dev device.Planned) error {
	t, ok := dev.(device.Profiled)
	if !ok {
		return nil
	}
	times, beside := newKernelTimes(t), newKernelTimes(t)
	for round := range 2 * repeats {
		if err := ctx.Err(); err != nil {
			return err
		}
		one, mode := (*kernelTimes)(nil), profile.Off
		if round%2 == 1 {
			one, mode = times, profile.Warm
		}
		if err := t.Profile(mode); err != nil {
			return err
		}
		if err := c.twoSteps(dev, one); err != nil {
			return err
		}
		if one != nil {
			if err := twoRows(dev, beside); err != nil {
				return err
			}
		}
	}
	for _, k := range dev.Bundle().Plan.Kernels {
		one := Kernel{Name: k.Name}
		all := times.of[k.Name]
		if len(all) == 0 { // one of several rows alone
			all = beside.of[k.Name]
		}
		if len(all) > 0 {
			slices.Sort(all)
			one.Seconds = all[len(all)/2].Seconds()
		}
		c.Kernels = append(c.Kernels, one)
	}
	return nil
}

// kernelTimes are the times of kernels, by name.
type kernelTimes struct {
	dev device.Profiled
	of  map[string][]time.Duration
}

func newKernelTimes(dev device.Profiled) *kernelTimes {
	return &kernelTimes{dev: dev, of: map[string][]time.Duration{}}
}

// gather adds the times of dispatches of a kind of step that were started last, from one to
// before another.
func (k *kernelTimes) gather(phase program.Phase, from, to int) {
	dispatches, times := k.dev.Bundle().Plan.Step(phase).Dispatches, k.dev.Timings(phase)
	for i := from; i < min(to, len(times)); i++ {
		if d := times[i]; d > 0 { // a kernel without threadgroups takes no time
			name := dispatches[i].Kernel.Name
			k.of[name] = append(k.of[name], d)
		}
	}
}

// afterStep adds the times of a step's dispatches, and of those that score a token of it.
func (k *kernelTimes) afterStep(phase program.Phase) error {
	step := k.dev.Bundle().Plan.Step(phase)
	k.gather(phase, 0, step.Scoring())
	s, ok := k.dev.(device.Scorer)
	if !ok {
		return nil
	}
	if err := s.Score([]program.Ask{{Token: -1, Top: program.MaxTop}}, make([]device.Score, 1)); err != nil {
		return err
	}
	k.gather(phase, step.Scoring(), len(step.Dispatches))
	return nil
}

// timedRows is how long a prompt is timed, at most, and leadRows what stands before one whose
// kernels are timed, at most: what looks back has work.
const (
	timedRows = 128
	leadRows  = 256
)

// twoSteps runs a prefill step and a decode step after it, and keeps the best
// times of whole ones. Those whose kernels are timed draw a token, for which all kernels of
// sampling have work.
func (c *check) twoSteps(dev device.Planned, times *kernelTimes) error {
	p := dev.Bundle().Plan
	n, lead := max(1, min(timedRows, p.Chunk, p.Context-1)), 0
	if times != nil {
		lead = min(leadRows, p.Context-1-n)
	}
	rows := make([]ir.Row, lead+n)
	for i := range rows {
		rows[i] = ir.Row{Token: int32((7*i + 1) % dev.Vocab()), Position: int32(i)}
	}
	dev.Reset(0)
	for chunk := range slices.Chunk(rows[:lead], p.Chunk) {
		if _, err := dev.Prefill(chunk, nil); err != nil {
			return err
		}
	}
	if err := c.oneStep(dev, program.Prefill, rows[lead:], times, &c.Prefill); err != nil || len(rows) >= p.Context {
		return err
	}
	next := []ir.Row{{Token: 1, Position: int32(len(rows))}}
	return c.oneStep(dev, program.Decode, next, times, &c.Decode)
}

// twoRows times the kernels of a decode step of two rows, where there are slots for them.
func twoRows(dev device.Planned, times *kernelTimes) error {
	p := dev.Bundle().Plan
	if p.Slots < 2 || p.Wanted < 2 {
		return nil
	}
	dev.Reset(0)
	dev.Reset(1)
	step := lockstep.Step{Phase: program.Decode, Rows: []ir.Row{{Token: 1}, {Token: 2, Slot: 1}}, Wanted: []int{0, 1}}
	if _, err := step.Run(dev); err != nil {
		return err
	}
	times.gather(program.Decode, 0, p.Step(program.Decode).Picks())
	return nil
}

func (c *check) oneStep(dev device.Planned, phase program.Phase, rows []ir.Row, times *kernelTimes, s *Speed) error {
	step := lockstep.Step{Phase: phase, Rows: rows, Wanted: []int{len(rows) - 1}}
	if times != nil {
		step.Choices = []sampling.Choice{sampling.Params{Temperature: 1, TopP: 0.9}.Choice(0, 0)}
	}
	start := time.Now()
	if _, err := step.Run(dev); err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	if times != nil {
		return times.afterStep(phase)
	}
	if s.Seconds > 0 && took >= s.Seconds {
		return nil
	}
	s.Rows, s.Seconds = len(rows), took
	if g, ok := dev.(device.Clocked); ok {
		gpu, err := g.StepTime()
		if err != nil {
			return err
		}
		s.GPU = gpu.Seconds()
	}
	return nil
}
