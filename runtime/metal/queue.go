package metal

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"smelt/runtime/metal/objc"
	"smelt/runtime/profile"
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
	event   objc.ID // the end of a step
	fence   objc.ID // the order of a step's command buffers
	set     objc.ID // all buffers' residency; 0 before macOS 15
	all     []objc.ID
	value   uint64 // of the event, at the end of the last step
	encoder *encoder
	pool    []uintptr
	running []running // the command buffers of the last step, kept for their times
	step    *step     // to be run
	mode    profile.Mode
	calls   chan func() error
	results chan error
	runStep func() error
	// Messages of each step, ready to send.
	newBuffer, newEncoder, bindArgs, bindStep, use, wait, update, end, signal, commit, completed, status, retain, release, ended []uintptr
}

// running is a committed command buffer.
type running struct {
	id          objc.ID
	first, last int // its dispatches
}

// newQueue begins the thread, and makes the memory resident.
func newQueue(api *objc.API, gpu objc.ID, m *memory) (*queue, error) {
	q := &queue{api: api, all: m.all, encoder: newEncoder(api, m.d.opts.Groups), pool: make([]uintptr, 1), calls: make(chan func() error), results: make(chan error)}
	q.runStep = q.submit
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
	if q.set, err = q.api.NewResidencySet(gpu, q.all, "smelt"); err != nil {
		return fmt.Errorf("making the model's memory resident: %w", err)
	}
	if q.set != 0 {
		q.api.Reside(q.id, q.set)
	}
	return nil
}

// close ends the thread; no step runs, for run waits.
func (q *queue) close() {
	_ = q.do(func() error {
		q.forget()
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
	q.use = q.message(objc.EncoderUse, uintptr(objc.Array(q.all)), uintptr(len(q.all)), objc.UsageRead|objc.UsageWrite)
	q.wait = q.message(objc.EncoderWaitFence, 0)
	q.update = q.message(objc.EncoderUpdateFence, 0)
	q.end = q.message(objc.EncoderEnd)
	q.signal = q.message(objc.CommandBufferSignal, 0, 0)
	q.commit = q.message(objc.CommandBufferCommit)
	q.completed = q.message(objc.CommandBufferWait)
	q.status = q.message(objc.CommandBufferStatus)
	q.retain = q.message(objc.Retain)
	q.release = q.message(objc.Release)
	q.ended = q.message(objc.EventWait, 0, uintptr(patience.Milliseconds()))
}

// send sends a message to a receiver.
func (q *queue) send(message []uintptr, to objc.ID) uintptr {
	message[0] = uintptr(to)
	return q.api.Send(message)
}

// run runs a prepared step to its end.
func (q *queue) run(s *step, mode profile.Mode) error {
	q.step, q.mode = s, mode
	return q.do(q.runStep)
}

// submit encodes and commits the step's command buffers, one for each that the
// plan has, or for each dispatch where these are timed, and waits for the last.
func (q *queue) submit() error {
	q.forget()
	s := q.step
	for from := 0; from < len(s.jobs); {
		to := from + 1
		for q.mode == profile.Off && s.d.opts.Observe == nil && to < len(s.jobs) && s.jobs[to].buffer == s.jobs[from].buffer {
			to++
		}
		if err := q.encode(s, from, to); err != nil {
			return errors.Join(err, q.drain())
		}
		if s.d.opts.Observe != nil {
			if err := q.observe(s, q.running[len(q.running)-1]); err != nil {
				return errors.Join(err, q.drain())
			}
		}
		if q.mode == profile.Cold && to < len(s.jobs) {
			if err := q.between(s); err != nil {
				return errors.Join(err, q.drain())
			}
		}
		from = to
	}
	if err := q.settle(); err != nil {
		return errors.Join(err, q.drain())
	}
	if q.mode != profile.Off {
		return q.time(s)
	}
	return nil
}

// observe waits for a dispatch and shows the named values it wrote.
func (q *queue) observe(s *step, r running) error {
	q.send(q.completed, r.id)
	if q.send(q.status, r.id) == objc.StatusError {
		return q.fault(r)
	}
	for b := range s.plan.Dispatches[r.first].Values() {
		n, err := b.Bytes.Eval(s.symbol)
		if err != nil {
			return err
		}
		s.d.opts.Observe(b.Name, s.arena[b.Offset:][:n])
	}
	return nil
}

// forget gives back the command buffers of the step before.
func (q *queue) forget() {
	for _, r := range q.running {
		q.send(q.release, r.id)
	}
	q.running = q.running[:0]
}

// encode makes a command buffer of the jobs from one to before another.
func (q *queue) encode(s *step, from, to int) error {
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
	q.finish(cb, enc, from, to, to == len(s.jobs))
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
		q.send(q.use, enc)
	}
	return cb, enc
}

// finish ends and commits a command buffer, and keeps it.
func (q *queue) finish(cb, enc objc.ID, from, to int, last bool) {
	q.update[2] = uintptr(q.fence)
	q.send(q.update, enc)
	q.send(q.end, enc)
	if last {
		q.value++
		q.signal[2], q.signal[3] = uintptr(q.event), uintptr(q.value)
		q.send(q.signal, cb)
	}
	q.send(q.retain, cb)
	q.running = append(q.running, running{cb, from, to})
	q.send(q.commit, cb)
}

// settle waits for the step's end.
func (q *queue) settle() error {
	for {
		q.ended[2] = uintptr(q.value)
		signalled := q.send(q.ended, q.event)&0xff != 0
		last := q.running[len(q.running)-1]
		for _, r := range q.running {
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

// drain waits until nothing of the step is on the GPU; its error was told.
func (q *queue) drain() error {
	for _, r := range q.running {
		q.send(q.completed, r.id)
	}
	return nil
}

// time notes how long each dispatch took on the GPU.
func (q *queue) time(s *step) error {
	clear(s.times)
	for _, r := range q.running {
		q.send(q.completed, r.id)
		if q.send(q.status, r.id) == objc.StatusError {
			return q.fault(r)
		}
		if r.first < r.last {
			start, end := q.api.Times(r.id)
			s.times[r.first] = time.Duration((end - start) * float64(time.Second))
		}
	}
	return nil
}
