package fake

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/halves"
	"smelt.example/smelt/internal/runtime/metal/objc"
)

// dispatchSeconds is how long every dispatch takes on the fake's clock.
const dispatchSeconds = 1e-6

func bits(f float64) uintptr { return uintptr(math.Float64bits(f)) }

// commit runs a command buffer. What it uses is in flight until somebody sees
// that it is completed.
func commit(r *Runtime, self *object, _ []uintptr) uintptr {
	cb := self.data.(*commandBuffer)
	if !r.editable(cb) {
		return 0
	}
	q := cb.queue
	q.open--
	q.commits++
	cb.commit, cb.status = q.commits, scheduled
	for _, s := range q.sets {
		s.drop()
		cb.sets = append(cb.sets, s)
		cb.use(s.object)
		for _, b := range s.members {
			cb.use(b.object)
		}
	}
	usable := true
	for _, o := range cb.uses {
		if !o.alive() {
			usable = false
			r.violate("uses %s", r.describe(o.id))
		}
		o.inFlight++
	}
	r.fences(cb)
	cb.parts++
	q.pending = append(q.pending, cb)
	cb.timeouts = r.options.Timeouts
	r.running++
	r.run(cb, usable)
	r.running--
	r.ended.Broadcast()
	return 0
}

// run runs the dispatches of a command buffer and sets its outcome.
func (r *Runtime) run(cb *commandBuffer, usable bool) {
	r.clock += dispatchSeconds
	cb.start = r.clock
	switch {
	case cb.queue.failed:
		cb.failure = errorInfo{objc.CommandBufferErrors, objc.FailedAccessRevoked, "ignored: work before it on the queue failed"}
	case !usable:
		cb.failure = errorInfo{objc.CommandBufferErrors, objc.FailedPageFault, "it uses an object that was released"}
	default:
		cb.failure = r.dispatches(cb)
	}
	r.clock += dispatchSeconds
	cb.end = r.clock
	if cb.failure.code != 0 {
		cb.status, cb.queue.failed = objc.StatusError, true
		return
	}
	cb.status = objc.StatusCompleted
	for _, s := range cb.signals {
		s.event.value = max(s.event.value, s.value)
	}
}

// dispatches runs a command buffer's dispatches up to the first that fails.
func (r *Runtime) dispatches(cb *commandBuffer) errorInfo {
	if len(cb.commands) > 0 && cb.commands[0].pipeline.kernel == halves.Name {
		r.convert(cb.dispatch(0))
		return errorInfo{}
	}
	if r.options.Execute == nil && r.options.Fault == nil {
		r.ran += len(cb.commands)
		r.clock += dispatchSeconds * float64(len(cb.commands))
		return errorInfo{}
	}
	for i := range cb.commands {
		d := cb.dispatch(i)
		if f := r.outcome(d); f.code != 0 {
			return f
		}
		r.ran++
		r.clock += dispatchSeconds
	}
	return errorInfo{}
}

// outcome runs a dispatch and says why it failed; code 0 if it did not.
func (r *Runtime) outcome(d *Dispatch) errorInfo {
	code := 0
	err := r.unlocked(func() error {
		if r.options.Fault != nil {
			if code = r.options.Fault(d); code != 0 {
				return fmt.Errorf("fault %d", code)
			}
		}
		if r.options.Execute != nil {
			return r.options.Execute(d)
		}
		return nil
	})
	if err == nil {
		return errorInfo{}
	}
	if code == 0 {
		code = objc.FailedPageFault
	}
	return errorInfo{objc.CommandBufferErrors, code, fmt.Sprintf("dispatch %d, %s: %v", d.Index, d.Kernel, err)}
}

// complete makes a command buffer, and those committed before it, completed.
func (r *Runtime) complete(cb *commandBuffer) {
	q := cb.queue
	n := 0
	for last := cb.commit; n < len(q.pending) && q.pending[n].commit <= last; n++ {
		done := q.pending[n]
		q.complete, done.timeouts = done.commit, 0
		for _, o := range done.uses {
			o.inFlight--
		}
		r.part(done)
	}
	left := copy(q.pending, q.pending[n:])
	clear(q.pending[left:])
	q.pending = q.pending[:left]
}

// seen completes a command buffer whose work ended: the caller asks for it.
func (r *Runtime) seen(cb *commandBuffer) {
	if cb.status >= objc.StatusCompleted && cb.commit > cb.queue.complete {
		r.complete(cb)
	}
}

// wait waits until the work that runs has ended, or done says so.
func (r *Runtime) wait(done func() bool) {
	call := r.call
	for !done() && r.running > 0 {
		r.ended.Wait()
	}
	r.call = call
}

func waitCompleted(r *Runtime, self *object, _ []uintptr) uintptr {
	cb := self.data.(*commandBuffer)
	if cb.commit == 0 {
		r.violate("waits for ever: the command buffer is not committed")
		return 0
	}
	r.wait(func() bool { return cb.status >= objc.StatusCompleted })
	cb.timeouts = 0
	r.seen(cb)
	return 0
}
