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
	times := map[string][]time.Duration{}
	for round := range 2 * repeats {
		if err := ctx.Err(); err != nil {
			return err
		}
		single, mode := round%2 == 1, profile.Off
		if single {
			mode = profile.Warm
		}
		if err := t.Profile(mode); err != nil {
			return err
		}
		if err := c.twoSteps(dev, single); err != nil {
			return err
		}
		if single {
			gather(times, t)
		}
	}
	for _, k := range dev.Bundle().Plan.Kernels {
		one := Kernel{Name: k.Name}
		if all := times[k.Name]; len(all) > 0 {
			slices.Sort(all)
			one.Seconds = all[len(all)/2].Seconds()
		}
		c.Kernels = append(c.Kernels, one)
	}
	return nil
}

// gather adds the times of the last steps' dispatches.
func gather(times map[string][]time.Duration, dev device.Profiled) {
	for _, phase := range []program.Phase{program.Prefill, program.Decode} {
		dispatches := dev.Bundle().Plan.Step(phase).Dispatches
		for i, d := range dev.Timings(phase) {
			if d > 0 { // a kernel without threadgroups takes no time
				name := dispatches[i].Kernel.Name
				times[name] = append(times[name], d)
			}
		}
	}
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
func (c *check) twoSteps(dev device.Planned, single bool) error {
	p := dev.Bundle().Plan
	n, lead := max(1, min(timedRows, p.Chunk, p.Context-1)), 0
	if single {
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
	if err := c.oneStep(dev, program.Prefill, rows[lead:], single, &c.Prefill); err != nil || len(rows) >= p.Context {
		return err
	}
	next := []ir.Row{{Token: 1, Position: int32(len(rows))}}
	return c.oneStep(dev, program.Decode, next, single, &c.Decode)
}

func (c *check) oneStep(dev device.Planned, phase program.Phase, rows []ir.Row, single bool, s *Speed) error {
	step := lockstep.Step{Phase: phase, Rows: rows, Wanted: []int{len(rows) - 1}}
	if single {
		step.Choices = []sampling.Choice{sampling.Params{Temperature: 1, TopP: 0.9}.Choice(0, 0)}
	}
	start := time.Now()
	if _, err := step.Run(dev); err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	if single || s.Seconds > 0 && took >= s.Seconds {
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
