package fake

// event is an MTLSharedEvent's.
type event struct {
	value   uint64
	encoded uint64 // the largest that a command buffer signals
}

func eventClasses() []*class {
	return []*class{
		{name: "MTLFence", extends: root, instance: []method{setLabel()}},
		{name: "MTLSharedEvent", extends: root, instance: []method{
			setLabel(),
			{selector: "signaledValue", do: func(r *Runtime, self *object, _ []uintptr) uintptr {
				e := self.data.(*event)
				r.signaled(e, e.value)
				return uintptr(e.value)
			}},
			{selector: "waitUntilSignaledValue:timeoutMS:", params: []string{word, word}, do: eventWait},
		}},
	}
}

func encodeSignal(r *Runtime, self *object, args []uintptr) uintptr {
	cb := self.data.(*commandBuffer)
	if !r.editable(cb) {
		return 0
	}
	o, value := r.object(args[0]), uint64(args[1])
	e := o.data.(*event)
	if value <= e.encoded {
		r.violate("signals %d after %d: an event's values grow", value, e.encoded)
	}
	e.encoded = max(e.encoded, value)
	cb.signals = append(cb.signals, signal{e, value})
	cb.use(o)
	return 0
}

// eventWait waits for committed work only: what is not committed yet, or failed,
// is answered at once by NO, however long the caller would wait, and so are as many
// waits as the options say.
func eventWait(r *Runtime, self *object, args []uintptr) uintptr {
	e, value := self.data.(*event), uint64(args[0])
	if r.timesOut() {
		return 0
	}
	if e.value < value {
		r.wait(func() bool { return e.value >= value })
	}
	if e.value < value {
		return 0
	}
	r.signaled(e, value)
	return 1
}

// timesOut tells whether a wait ends by its timeout, and counts it for all work
// that nobody has seen the end of.
func (r *Runtime) timesOut() (out bool) {
	for _, q := range r.queues {
		for _, cb := range q.pending {
			if cb.timeouts > 0 {
				cb.timeouts--
				out = true
			}
		}
	}
	return out
}

// signaled completes the command buffers that had to signal an event up to value.
func (r *Runtime) signaled(e *event, value uint64) {
	for _, q := range r.queues {
		var last *commandBuffer
		for _, cb := range q.pending {
			for _, s := range cb.signals {
				if s.event == e && s.value <= value {
					last = cb
				}
			}
		}
		if last != nil {
			r.complete(last)
		}
	}
}
