package bench

import (
	"fmt"
	"time"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// generateAhead makes n tokens of each row's text, as a server does on a device that works
// beside the host: each step begins while the one before runs. It returns the time from
// each token to the next. The rows are then those of the step that would come next.
func (b *bench) generateAhead(d device.Runner, rows []ir.Row, wanted []int, n int) (times []time.Duration, err error) {
	choices, picked, sources := make([]sampling.Choice, len(rows)), make([]int32, len(rows)), make([]int32, len(rows))
	for i := range sources {
		sources[i] = int32(i)
	}
	start := time.Now()
	if err := d.BeginDecode(rows, nil, wanted); err != nil {
		return nil, err
	}
	for i := range n {
		if err := b.ctx.Err(); err != nil {
			return nil, err
		}
		if err := d.BeginPick(choices); err != nil {
			return nil, err
		}
		for r := range rows {
			rows[r].Position++
		}
		if i+1 < n {
			if err := d.BeginDecode(rows, sources, wanted); err != nil {
				return nil, err
			}
		}
		if err := d.Await(picked); err != nil {
			return nil, err
		}
		for r, t := range picked {
			if t < 0 {
				return nil, sampling.ErrNoLogits
			}
			rows[r].Token = t
		}
		now := time.Now()
		times = append(times, now.Sub(start))
		start = now
	}
	return times, nil
}

// idling is how long a device's processor had nothing to do between steps.
type idling struct {
	dev        device.Timed // nil: nobody knows
	busy, idle time.Duration
}

// watch begins to look at it, after a step.
func (b *bench) watch() (w idling, err error) {
	if d, ok := b.dev.(device.Timed); ok {
		w.dev = d
		w.busy, w.idle, err = d.Timeline()
	}
	return w, err
}

// share is what part of the time since then it was; nil if nobody knows.
func (w *idling) share() (*float64, error) {
	if w.dev == nil {
		return nil, nil
	}
	busy, idle, err := w.dev.Timeline()
	if err != nil {
		return nil, err
	}
	busy, idle = busy-w.busy, idle-w.idle
	if busy+idle <= 0 {
		return nil, fmt.Errorf("the device says that steps took %v, and pauses between them %v", busy, idle)
	}
	share := float64(idle) / float64(busy+idle)
	return &share, nil
}
