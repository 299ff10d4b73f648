package fake

import "smelt.example/smelt/internal/runtime/metal/objc"

// queue is an MTLCommandQueue's.
type queue struct {
	object   *object
	most     int // command buffers that are not completed
	open     int // command buffers that are not committed
	commits  int
	complete int // commits up to this one are completed
	pending  []*commandBuffer
	sets     []*residencySet
	last     lastWork
	failed   bool // a fault: what is committed later fails
}

// commandBuffer is an MTLCommandBuffer's. It is used again when nothing needs it.
type commandBuffer struct {
	object   object
	queue    *queue
	number   int // from 1, in the order made
	commit   int // its place among the queue's commits; 0 before
	status   int
	timeouts int // waits for an event that will end before the status is told
	failure  errorInfo
	open     *encoder
	encoders []*encoder
	commands []command
	signals  []signal
	sets     []*residencySet // of the queue at the commit
	uses     []*object
	start    float64 // seconds
	end      float64
	parts    int // what still needs it: its object, its encoders', the queue
}

// signal is an event's at the end of a command buffer.
type signal struct {
	event *event
	value uint64
}

// Values of MTLCommandBufferStatus beside objc's.
const (
	notEnqueued = 0
	scheduled   = 3
)

// spare keeps what can be used again, so that steps allocate nothing.
type spare struct {
	commandBuffers []*commandBuffer
	encoders       []*encoder
}

// takeSpare takes one of the spare ones, or a new one.
func takeSpare[T any](spare *[]*T) *T {
	last := len(*spare) - 1
	if last < 0 {
		return new(T)
	}
	x := (*spare)[last]
	*spare = (*spare)[:last]
	return x
}

func queueClasses() []*class {
	return []*class{
		{name: "MTLCommandQueue", extends: root, instance: append(queueResidency(),
			setLabel(),
			method{selector: "commandBufferWithUnretainedReferences", do: newCommandBuffer})},
		{name: "MTLCommandBuffer", extends: root, destroy: dropCommandBuffer, instance: []method{
			setLabel(),
			{selector: "computeCommandEncoderWithDispatchType:", params: []string{word}, do: newEncoder},
			{selector: "encodeSignalEvent:value:", params: []string{"MTLSharedEvent", word}, do: encodeSignal},
			{selector: "commit", do: commit},
			{selector: "waitUntilCompleted", do: waitCompleted},
			{selector: "status", do: func(r *Runtime, self *object, _ []uintptr) uintptr {
				cb := self.data.(*commandBuffer)
				if cb.timeouts > 0 {
					return scheduled
				}
				r.seen(cb)
				return uintptr(cb.status)
			}},
			{selector: "error", do: func(r *Runtime, self *object, _ []uintptr) uintptr {
				cb := self.data.(*commandBuffer)
				r.seen(cb)
				if cb.status != objc.StatusError {
					return 0
				}
				return r.newError(cb.failure)
			}},
			{selector: "GPUStartTime", double: true, do: func(r *Runtime, self *object, _ []uintptr) uintptr {
				cb := self.data.(*commandBuffer)
				r.seen(cb)
				return bits(cb.start)
			}},
			{selector: "GPUEndTime", double: true, do: func(r *Runtime, self *object, _ []uintptr) uintptr {
				cb := self.data.(*commandBuffer)
				r.seen(cb)
				return bits(cb.end)
			}},
		}},
	}
}

func newQueue(r *Runtime, _ *object, args []uintptr) uintptr {
	if args[0] == 0 {
		r.violate("a queue of 0 command buffers")
		return 0
	}
	q := &queue{most: int(args[0])}
	q.object = r.make("MTLCommandQueue", q)
	q.object.thread = thread()
	r.queues = append(r.queues, q)
	return r.owned(q.object)
}

func newCommandBuffer(r *Runtime, self *object, _ []uintptr) uintptr {
	q := self.data.(*queue)
	if q.open >= q.most {
		r.violate("waits for ever: %d command buffers are neither committed nor given up, all that the queue has", q.open)
		return 0
	}
	if q.open+len(q.pending) >= q.most { // as if it had waited for the oldest
		r.complete(q.pending[0])
	}
	cb := takeSpare(&r.spare.commandBuffers)
	r.made.commandBuffers++
	cb.queue, cb.number, cb.parts = q, r.made.commandBuffers, 1
	cb.object = object{class: r.classes["MTLCommandBuffer"], data: cb, thread: self.thread, holds: cb.object.holds}
	cb.object.hold(self)
	r.place(&cb.object)
	q.open++
	return r.autoreleased(&cb.object)
}

// editable tells whether a command buffer takes commands from outside an encoder.
func (r *Runtime) editable(cb *commandBuffer) bool {
	switch {
	case cb.commit != 0:
		r.violate("the command buffer is committed")
		return false
	case cb.open != nil:
		r.violate("%s is open", r.describe(cb.open.object.id))
		return false
	}
	return true
}

// use notes that a command buffer uses an object, which it does not retain.
func (cb *commandBuffer) use(o *object) {
	if o.stamp != cb.number {
		o.stamp = cb.number
		cb.uses = append(cb.uses, o)
	}
}

func dropCommandBuffer(r *Runtime, o *object) {
	cb := o.data.(*commandBuffer)
	if cb.commit == 0 {
		cb.queue.open--
	}
	r.part(cb)
}

// part tells that one thing less needs a command buffer. The last makes it and its
// encoders spare.
func (r *Runtime) part(cb *commandBuffer) {
	cb.parts--
	if cb.parts > 0 {
		return
	}
	r.spare.encoders = append(r.spare.encoders, cb.encoders...)
	clear(cb.encoders)
	clear(cb.commands)
	clear(cb.signals)
	clear(cb.sets)
	clear(cb.uses)
	*cb = commandBuffer{
		object:   object{holds: cb.object.holds[:0]},
		encoders: cb.encoders[:0], commands: cb.commands[:0], signals: cb.signals[:0],
		sets: cb.sets[:0], uses: cb.uses[:0],
	}
	r.spare.commandBuffers = append(r.spare.commandBuffers, cb)
}
