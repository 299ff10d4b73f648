package fake

// fence is an MTLFence's, as the commits so far left it.
type fence struct {
	updated bool
	encoder int // the serial of the encoder whose whole work it waits for; 0 if a part
}

// fencePoint is a fence and how many dispatches its encoder had at that point.
type fencePoint struct {
	object *object
	fence  *fence
	at     int
}

// lastWork is the encoder with dispatches that a queue was given last.
type lastWork struct {
	encoder int // its serial; 0 if there is none
	commit  int
}

func waitForFence(r *Runtime, e *encoder, args []uintptr) {
	o := r.object(args[0])
	f := o.data.(*fence)
	for _, u := range e.updates {
		if u.fence == f {
			r.violate("the encoder updated %s before", r.describe(o.id))
			return
		}
	}
	e.waits = append(e.waits, fencePoint{o, f, e.dispatched})
	e.cb.use(o)
}

func updateFence(r *Runtime, e *encoder, args []uintptr) {
	o := r.object(args[0])
	e.updates = append(e.updates, fencePoint{o, o.data.(*fence), e.dispatched})
	e.cb.use(o)
}

// fences checks and follows the fences of a command buffer at its commit: fences
// order encoders as they are committed. Buffers are untracked, so an encoder with
// dispatches must wait, before its first, for a fence that the last one before it
// updated after its last, unless the caller saw that one completed.
func (r *Runtime) fences(cb *commandBuffer) {
	q := cb.queue
	for _, e := range cb.encoders {
		waited := q.last.encoder == 0 || q.last.commit <= q.complete
		for _, w := range e.waits {
			if !w.fence.updated {
				r.violate("%s waits for %s, which was never updated", r.describe(e.object.id), r.describe(w.object.id))
			}
			waited = waited || w.at == 0 && w.fence.encoder == q.last.encoder
		}
		if e.dispatched > 0 {
			if !waited {
				r.violate("encoder %d (command buffer %d) does not wait for encoder %d (commit %d): no fence orders them",
					e.serial, cb.number, q.last.encoder, q.last.commit)
			}
			q.last = lastWork{encoder: e.serial, commit: cb.commit}
		}
		for _, u := range e.updates {
			u.fence.updated, u.fence.encoder = true, 0
			if u.at == e.dispatched {
				u.fence.encoder = e.serial
			}
		}
	}
}
