package main

import (
	"context"
	"errors"
	"fmt"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
)

// referenceName is the device that has intermediates and float64.
const referenceName = "reference"

// deviceEngine reads texts on a device, in float32.
type deviceEngine struct {
	dev  device.Device
	sess *session.Session
	seq  *session.Sequence // nil before the first text
}

// openDevice opens the device that the flags name.
func (e *evaluation) openDevice(ctx context.Context) (*deviceEngine, error) {
	name, b := e.sizes.Device, e.files.Bundle
	if only := e.o.referenceOnly(); only != "" && name == devices.Auto {
		name = referenceName
		fmt.Fprintf(e.io.err, "device %s: the only one that has %s\n", name, only)
	}
	how := deviceOptions{name, devices.Options{Target: e.sizes.Target, Threads: e.sizes.Threads, GPU: e.sizes.GPU, Context: e.room(), Chunk: e.o.open.Chunk, Wanted: e.sizes.Chunk, Slots: 1, AllowPaging: e.o.open.AllowPaging, Stop: ctx.Err}}
	d, err := openDevice(e.io, how, e.files.Model, b)
	if err != nil {
		return nil, interrupted(err)
	}
	e.report.Device = d.Name()
	if p, ok := d.(device.Planned); ok && b != nil && p.Bundle().Plan.Wanted > b.Plan.Wanted {
		fmt.Fprintf(e.io.err, "note: the bundle gives the logits of %d rows of a step; it was planned anew in memory for %d, with the same kernels\n", b.Plan.Wanted, e.sizes.Chunk)
	}
	if p, ok := d.(device.Described); ok {
		e.report.Compiled = p.Build().Compiled
	}
	sess, err := session.New(d, session.Options{Chunk: e.sizes.Chunk, Context: e.sizes.Context})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &deviceEngine{dev: d, sess: sess}, nil
}

// Begin begins a text.
func (e *deviceEngine) Begin() (err error) {
	if e.seq != nil {
		e.seq.Close()
	}
	e.seq, err = e.sess.Open()
	return err
}

// Read goes on with tokens.
func (e *deviceEngine) Read(tokens []int32, first int, each func(i int, logits []float32) error) error {
	return e.seq.ExtendEach(tokens, first, each)
}

// scores is there where the device scores tokens itself; elsewhere the host does, from
// logits.
func (e *deviceEngine) scores() func(tokens []int32, first int, targets []int32, scores []float64) error {
	if _, ok := e.dev.(device.Scorer); !ok {
		return nil
	}
	return func(tokens []int32, first int, targets []int32, scores []float64) error {
		own := make([]device.Score, len(targets))
		err := e.seq.ExtendScores(tokens, first, targets, 0, own, false)
		for i, s := range own {
			scores[i] = s.LogProb
		}
		return err
	}
}

// observe has the reference device show intermediates: only there they are asked for.
func (e *deviceEngine) observe(f func(name string, v tensor.Value[float32])) {
	e.dev.(*reference.Device).Observe(f)
}

func (e *deviceEngine) pace() (done, total int) {
	if d, ok := e.dev.(device.Paced); ok {
		return d.Pace()
	}
	return 0, 0
}

// evaluator reads texts in float64.
type evaluator struct {
	machine *eval.Machine[float64]
	vocab   int
	at      int // tokens of the text
}

func (e *evaluation) newEvaluator() (*evaluator, error) {
	f := e.files
	graph := f.Model.Graph
	if f.Bundle != nil {
		graph = f.Bundle.Module
	}
	o := devices.Options{Context: e.room(), Chunk: e.sizes.Chunk, AllowPaging: e.o.open.AllowPaging, Watch: devices.Watch{Paging: notePaging(e.io)}}
	if err := devices.Evaluates[float64](graph, modelFor(f.Model, f.Bundle), o); err != nil {
		return nil, err
	}
	m, err := eval.New[float64](graph, f.Model.Weights)
	return &evaluator{machine: m, vocab: f.Model.VocabSize}, err
}

// Begin begins a text.
func (e *evaluator) Begin() error {
	e.machine.Reset(0)
	e.at = 0
	return nil
}

// Read goes on with tokens.
func (e *evaluator) Read(tokens []int32, first int, each func(i int, logits []float64) error) error {
	rows, wanted := make([]ir.Row, len(tokens)), []int{}
	for i, t := range tokens {
		rows[i] = ir.Row{Token: t, Position: int32(e.at + i)}
		if i >= first {
			wanted = append(wanted, i)
		}
	}
	out, err := e.machine.Step(rows, wanted)
	if err != nil {
		return err
	}
	e.at += len(tokens)
	for n, i := range wanted {
		if err := each(i, out[0].F[n*e.vocab:(n+1)*e.vocab]); err != nil {
			return err
		}
	}
	return nil
}

func (e *evaluator) observe(f func(name string, v tensor.Value[float64])) { e.machine.Observe = f }

func (e *evaluator) scores() func([]int32, int, []int32, []float64) error { return nil }

func (e *evaluator) pace() (done, total int) { return e.machine.Pace() }
