// Package bench measures a device: kernel by kernel against what the machine can
// do at most (Kernels), and whole texts at growing lengths (Run). It counts bytes
// and operations from the plan, takes times from the device, and reports medians
// with their spread. It knows no device in particular and prints no tables.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
)

// Machine says what was measured on.
type Machine struct {
	System    string `json:"system"`    // linux/amd64
	Processor string `json:"processor"` // its name, if the system tells it
	Device    string `json:"device"`    // as --device names it, with what it uses
}

// Opening says what it took to open the device, and how much memory there is.
type Opening struct {
	Kernels  int     `json:"kernels"`          // of the plan
	Compiled int     `json:"compiled"`         // of them; the code of the others was kept
	Seconds  float64 `json:"seconds"`          // until all were there
	Compiler float64 `json:"compiler_seconds"` // of the compiler, all threads together
	// Planned is the plan's figure for running, Process the most that the process took
	// (0 if the system does not tell), Idle what it took before the model was opened. All
	// are bytes.
	Planned int64 `json:"planned_bytes"`
	Process int64 `json:"process_bytes"`
	Idle    int64 `json:"idle_bytes"`
}

// Model says what was measured.
type Model struct {
	Name    string `json:"name"`
	Layout  string `json:"layout"`  // how weights are stored
	Weights int64  `json:"weights"` // bytes
	Cache   string `json:"cache"`   // formats of cached rows and index keys
	Note    string `json:"note,omitempty"`
}

// Spread is the distribution of repeated times, in seconds.
type Spread struct {
	Median float64 `json:"median"`
	P10    float64 `json:"p10"`
	P90    float64 `json:"p90"`
}

// spread of times, which must not be empty; it sorts them.
func spread(times []time.Duration) Spread {
	slices.Sort(times)
	at := func(share float64) float64 {
		return times[int(math.Round(share*float64(len(times)-1)))].Seconds()
	}
	return Spread{at(0.5), at(0.1), at(0.9)}
}

// bench is a device with a text in slot 0 and random tokens to go on with.
type bench struct {
	dev    device.Profiled
	ctx    context.Context
	tokens []int32
	used   int             // of tokens, over and over
	chosen map[string]bool // kernels to report
}

// next is the next n tokens.
func (b *bench) next(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = b.tokens[b.used%len(b.tokens)]
		b.used++
	}
	return out
}

// rows are the next tokens of a slot from a position on.
func (b *bench) rows(slot int32, position, n int) []ir.Row {
	out := make([]ir.Row, n)
	for i, t := range b.next(n) {
		out[i] = ir.Row{Token: t, Position: int32(position + i), Slot: slot}
	}
	return out
}

var errNoTokens = errors.New("bench: there are no tokens to make a text of")

// extend runs a text of slot 0 from one length to another, in chunks, and
// returns the time of the steps.
func (b *bench) extend(from, to int) (time.Duration, error) {
	chunk, took := b.dev.Bundle().Plan.Chunk, time.Duration(0)
	for at := from; at < to; {
		if err := b.ctx.Err(); err != nil {
			return 0, err
		}
		rows := b.rows(0, at, min(chunk, to-at))
		var wanted []int
		if at += len(rows); at == to {
			wanted = []int{len(rows) - 1}
		}
		start := time.Now()
		if _, err := b.dev.Prefill(rows, wanted); err != nil {
			return 0, fmt.Errorf("prefill of tokens %d to %d: %w", at-len(rows), at-1, err)
		}
		took += time.Since(start)
	}
	return took, nil
}
