package metal

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/internal/runtime/profile"
)

// Where kernels find their arguments and the step's parameters (package msl).
const (
	argsIndex = 0
	stepIndex = 1
)

// waiting is how many command buffers a queue takes before it makes callers wait,
// and patience how long the event is waited for before command buffers are asked
// whether one failed: after a fault the event is never signalled.
const (
	waiting  = 256
	patience = 200 * time.Millisecond
)

// queue is a command queue with the thread that everything of it runs on.
type queue struct {
	api     *objc.API
	id      objc.ID
	event   objc.ID   // the end of a step
	fence   objc.ID   // the order of a step's command buffers
	set     objc.ID   // all buffers' residency; 0 before macOS 15
	mapped  []objc.ID // buffers that kernels only read
	own     []objc.ID // buffers that they also write
	value   uint64    // of the event, at the end of the work that was started last: its number
	ended   uint64    // the number of the last work that has been waited for
	encoder *encoder
	pool    []uintptr
	running []running // command buffers, from those on that were waited for last, kept for their times
	next    work
	until   uint64 // the number of the work to wait for
	times   times
	calls   chan func() error
	results chan error
	// Functions for each step, made once.
	submitNext, waitUntil func() error
	// Messages of each step, ready to send.
	newBuffer, newEncoder, bindArgs, bindStep, useMapped, useOwn, wait, update, end, signal, commit, completed, status, retain, release, signalled []uintptr
}

// work is to be committed: dispatches of a step from one to before another.
type work struct {
	step     *step
	from, to int
	mode     profile.Mode
}

// running is a committed command buffer.
type running struct {
	id          objc.ID
	number      uint64 // of the work that it is a part of
	step        *step  // nil if it measures
	first, last int    // its dispatches
}

// newQueue begins the thread, and makes the memory resident.
func newQueue(api *objc.API, gpu objc.ID, m *memory) (*queue, error) {
	q := &queue{api: api, mapped: m.mapped, own: m.own, encoder: newEncoder(api, m.m.opts.Groups), pool: make([]uintptr, 1), calls: make(chan func() error), results: make(chan error)}
	q.submitNext, q.waitUntil = q.submit, q.settle
	q.messages()
	go q.serve()
	err := q.do(func() error { return q.open(gpu) })
	if err != nil {
		q.close()
		return nil, err
	}
	return q, nil
}

// serve is the one thread that uses the queue.
func (q *queue) serve() {
	runtime.LockOSThread()
	for f := range q.calls {
		q.results <- q.pooled(f)
	}
	close(q.results)
}

func (q *queue) pooled(f func() error) error {
	q.pool[0] = q.api.PoolPush()
	defer q.api.PoolPop(q.pool)
	return f()
}

// do runs f on the queue's thread, in an autorelease pool.
func (q *queue) do(f func() error) error {
	q.calls <- f
	return <-q.results
}

func (q *queue) open(gpu objc.ID) (err error) {
	q.id, q.event, q.fence = q.api.NewQueue(gpu, waiting, "smelt"), q.api.NewEvent(gpu), q.api.NewFence(gpu)
	if q.id == 0 || q.event == 0 || q.fence == 0 {
		return errors.New("the GPU gives no command queue, event or fence")
	}
	if q.set, err = q.api.NewResidencySet(gpu, slices.Concat(q.mapped, q.own), "smelt"); err != nil {
		return fmt.Errorf("making the model's memory resident: %w", err)
	}
	if q.set != 0 {
		q.api.Reside(q.id, q.set)
	}
	return nil
}

// close waits for what still runs, and ends the thread.
func (q *queue) close() {
	_ = q.do(func() error {
		if q.ended < q.value {
			q.drain()
		}
		q.forgetAll()
		if q.set != 0 {
			q.api.Leave(q.id, q.set)
		}
		for _, id := range []objc.ID{q.set, q.fence, q.event, q.id} {
			q.api.Release(id)
		}
		return nil
	})
	close(q.calls)
	<-q.results
}

// message is a method with room for its receiver and n arguments.
func (q *queue) message(m objc.Method, args ...uintptr) []uintptr {
	return append([]uintptr{0, q.api.Selector(m)}, args...)
}

func (q *queue) messages() {
	q.newBuffer = q.message(objc.QueueCommandBuffer)
	q.newEncoder = q.message(objc.CommandBufferEncoder, objc.DispatchConcurrent)
	q.bindArgs = q.message(objc.EncoderBuffer, 0, 0, argsIndex)
	q.bindStep = q.message(objc.EncoderBuffer, 0, 0, stepIndex)
	// Kernels read weights through addresses in their arguments, so that an encoder must be
	// told of them. The mappings of files are read-only: to name them for writing too would
	// ask for what the pages do not allow, and make readers wait for each other.
	q.useMapped = q.message(objc.EncoderUse, uintptr(objc.Array(q.mapped)), uintptr(len(q.mapped)), objc.UsageRead)
	q.useOwn = q.message(objc.EncoderUse, uintptr(objc.Array(q.own)), uintptr(len(q.own)), objc.UsageRead|objc.UsageWrite)
	q.wait = q.message(objc.EncoderWaitFence, 0)
	q.update = q.message(objc.EncoderUpdateFence, 0)
	q.end = q.message(objc.EncoderEnd)
	q.signal = q.message(objc.CommandBufferSignal, 0, 0)
	q.commit = q.message(objc.CommandBufferCommit)
	q.completed = q.message(objc.CommandBufferWait)
	q.status = q.message(objc.CommandBufferStatus)
	q.retain = q.message(objc.Retain)
	q.release = q.message(objc.Release)
	q.signalled = q.message(objc.EventWait, 0, uintptr(patience.Milliseconds()))
}

// send sends a message to a receiver.
func (q *queue) send(message []uintptr, to objc.ID) uintptr {
	message[0] = uintptr(to)
	return q.api.Send(message)
}

// start commits dispatches of a step whose parameters and grids are written.
func (q *queue) start(s *step, from, to int, mode profile.Mode) error {
	q.next = work{s, from, to, mode}
	return q.do(q.submitNext)
}

// await waits for the work up to a number.
func (q *queue) await(number uint64) error {
	if number <= q.ended {
		return nil
	}
	q.until = number
	return q.do(q.waitUntil)
}

// submit encodes and commits command buffers, one for each that the plan has, or for
// each dispatch where these are timed.
func (q *queue) submit() error {
	q.forget()
	w := q.next
	s := w.step
	clear(s.times)
	end := w.to // of the dispatches that have threadgroups
	for end > w.from && s.jobs[end-1].idle() {
		end--
	}
	if end == w.from {
		return q.nothing(s, w.from)
	}
	for from := w.from; from < end; {
		to := from + 1
		for w.mode == profile.Off && to < end && s.jobs[to].buffer == s.jobs[from].buffer {
			to++
		}
		if s.idle(from, to) { // an encoder without dispatches orders nothing
			from = to
			continue
		}
		if err := q.encode(s, from, to, to == end); err != nil {
			return q.failed(err)
		}
		if w.mode == profile.Cold && to < end {
			if err := q.between(s); err != nil {
				return q.failed(err)
			}
		}
		from = to
	}
	return nil
}

// settle waits for the work up to a number, and notes its times in a profile.
func (q *queue) settle() error {
	if err := q.wakeAt(q.until); err != nil {
		return q.failed(err)
	}
	q.ended = q.until
	if q.next.mode != profile.Off {
		return q.time()
	}
	return nil
}

// failed is a failure after which nothing is on the GPU any more.
func (q *queue) failed(err error) error {
	q.drain()
	q.ended = q.value
	return err
}

// forget gives back the command buffers that have been waited for. Only those that
// have not are still to be ordered before what comes.
func (q *queue) forget() {
	n := 0
	for n < len(q.running) && q.running[n].number <= q.ended {
		n++
	}
	q.forgetFirst(n)
}

// forgetAll gives back all of them. Nothing may be on the GPU.
func (q *queue) forgetAll() { q.forgetFirst(len(q.running)) }

func (q *queue) forgetFirst(n int) {
	for _, r := range q.running[:n] {
		q.times.add(q, r)
		q.send(q.release, r.id)
	}
	q.running = q.running[:copy(q.running, q.running[n:])]
}

// encode makes a command buffer of the jobs from one to before another; last says that
// no other follows in this step.
func (q *queue) encode(s *step, from, to int, last bool) error {
	cb, enc := q.begin()
	if cb == 0 || enc == 0 {
		return fmt.Errorf("the queue gives no command buffer for kernel %s", s.jobs[from].kernel)
	}
	if q.encoder.groups {
		name := s.span(from, to)
		q.api.LabelCommandBuffer(cb, name)
		q.api.LabelEncoder(enc, name)
	}
	q.bindArgs[2], q.bindStep[2], q.bindStep[3] = uintptr(s.args.id), uintptr(s.blocks.id), uintptr(s.block*s.stride())
	q.send(q.bindArgs, enc)
	q.send(q.bindStep, enc)
	q.encoder.begin(enc)
	for i := from; i < to; i++ {
		q.encoder.encode(&s.jobs[i], i == from)
	}
	q.finish(cb, enc, running{step: s, first: from, last: to}, last)
	return nil
}

// begin makes a command buffer with an encoder that goes on after the encoders
// before it: buffers are untracked, so that nothing else orders them.
func (q *queue) begin() (cb, enc objc.ID) {
	cb = objc.ID(q.send(q.newBuffer, q.id))
	if cb == 0 {
		return 0, 0
	}
	enc = objc.ID(q.send(q.newEncoder, cb))
	if enc == 0 {
		return 0, 0
	}
	if len(q.running) > 0 {
		q.wait[2] = uintptr(q.fence)
		q.send(q.wait, enc)
	}
	if q.set == 0 {
		q.name(enc)
	}
	return cb, enc
}

// name tells an encoder which buffers its kernels read and write by address.
func (q *queue) name(enc objc.ID) {
	if len(q.mapped) > 0 {
		q.send(q.useMapped, enc)
	}
	if len(q.own) > 0 {
		q.send(q.useOwn, enc)
	}
}

// nothing commits work that has no dispatches with threadgroups: a command buffer that signals.
func (q *queue) nothing(s *step, at int) error {
	cb := objc.ID(q.send(q.newBuffer, q.id))
	if cb == 0 {
		return q.failed(fmt.Errorf("the queue gives no command buffer for kernel %s", s.jobs[at].kernel))
	}
	q.keep(cb, running{step: s, first: at, last: at}, true)
	return nil
}

// finish ends an encoder and commits its command buffer.
func (q *queue) finish(cb, enc objc.ID, r running, last bool) {
	q.update[2] = uintptr(q.fence)
	q.send(q.update, enc)
	q.send(q.end, enc)
	q.keep(cb, r, last)
}

// keep commits a command buffer, and keeps it; the last of some work signals its number.
func (q *queue) keep(cb objc.ID, r running, last bool) {
	if last {
		q.value++
		q.signal[2], q.signal[3] = uintptr(q.event), uintptr(q.value)
		q.send(q.signal, cb)
	}
	q.send(q.retain, cb)
	r.id, r.number = cb, q.value
	if !last {
		r.number++
	}
	q.running = append(q.running, r)
	q.send(q.commit, cb)
}

// wakeAt waits for the end of the work up to a number.
func (q *queue) wakeAt(number uint64) error {
	n := len(q.running) // of the command buffers that are waited for
	for q.running[n-1].number > number {
		n--
	}
	last := q.running[n-1]
	for {
		q.signalled[2] = uintptr(number)
		signalled := q.send(q.signalled, q.event)&0xff != 0
		for _, r := range q.running[:n] {
			if signalled && r.id != last.id {
				q.send(q.completed, r.id) // it has run; its status follows
			}
			if q.send(q.status, r.id) == objc.StatusError {
				return q.fault(r)
			}
		}
		if signalled || q.send(q.status, last.id) == objc.StatusCompleted {
			return nil
		}
	}
}

// drain waits until nothing is on the GPU, whatever became of it.
func (q *queue) drain() {
	for _, r := range q.running {
		q.send(q.completed, r.id)
	}
}

// time notes how long each dispatch took on the GPU.
func (q *queue) time() error {
	for _, r := range q.running {
		q.send(q.completed, r.id)
		if q.send(q.status, r.id) == objc.StatusError {
			return q.fault(r)
		}
		if r.first < r.last {
			start, end := q.api.Times(r.id)
			r.step.times[r.first] = time.Duration((end - start) * float64(time.Second))
		}
	}
	return nil
}
