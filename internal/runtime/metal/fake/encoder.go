package fake

import (
	"unsafe"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// maxBindings is how many buffers an encoder binds.
const maxBindings = 31

// binding is a part of a buffer that a kernel sees.
type binding struct {
	buffer *buffer
	offset int
}

// encoder is an MTLComputeCommandEncoder's.
type encoder struct {
	object     object
	cb         *commandBuffer
	serial     int // from 1, in the order made
	ordered    bool
	ended      bool
	pipeline   *pipeline
	bound      [maxBindings]binding
	epoch      int // barriers so far
	groups     int // debug groups that are open
	dispatched int
	waits      []fencePoint
	updates    []fencePoint
	resident   []residence
}

// residence is a buffer that dispatches from one on find resident, for what it was
// declared.
type residence struct {
	buffer *buffer
	from   int
	usage  uintptr
}

func encoderClasses() []*class {
	return []*class{
		{name: "MTLCommandEncoder", extends: root, instance: []method{
			setLabel(),
			{selector: "pushDebugGroup:", params: []string{"NSString"}, do: encoding(func(_ *Runtime, e *encoder, _ []uintptr) { e.groups++ })},
			{selector: "popDebugGroup", do: encoding(func(r *Runtime, e *encoder, _ []uintptr) {
				if e.groups == 0 {
					r.violate("no debug group is open")
					return
				}
				e.groups--
			})},
			{selector: "endEncoding", do: encoding(endEncoding)},
		}},
		{name: "MTLComputeCommandEncoder", extends: "MTLCommandEncoder", destroy: dropEncoder, instance: []method{
			{selector: "setComputePipelineState:", params: []string{"MTLComputePipelineState"}, anywhere: true, do: encoding(setPipeline)},
			{selector: "setBuffer:offset:atIndex:", params: []string{"MTLBuffer?", word, word}, do: encoding(setBuffer)},
			{selector: "setBufferOffset:atIndex:", params: []string{word, word}, anywhere: true, do: encoding(setBufferOffset)},
			{selector: "dispatchThreadgroups:threadsPerThreadgroup:", params: []string{pointer, pointer}, do: encoding(dispatchThreadgroups)},
			{selector: "memoryBarrierWithScope:", params: []string{word}, anywhere: true, do: encoding(func(r *Runtime, e *encoder, args []uintptr) {
				if args[0]&objc.BarrierBuffers == 0 {
					r.violate("scope %#x orders no buffers", args[0])
					return
				}
				e.epoch++
			})},
			{selector: "useResources:count:usage:", params: []string{pointer, word, word}, do: encoding(useResources)},
			{selector: "waitForFence:", params: []string{"MTLFence"}, do: encoding(waitForFence)},
			{selector: "updateFence:", params: []string{"MTLFence"}, do: encoding(updateFence)},
		}},
	}
}

// encoding is a method that adds to an encoder, which must be open.
func encoding(do func(*Runtime, *encoder, []uintptr)) func(*Runtime, *object, []uintptr) uintptr {
	return func(r *Runtime, self *object, args []uintptr) uintptr {
		e := self.data.(*encoder)
		if e.ended {
			r.violate("the encoder has ended")
			return 0
		}
		do(r, e, args)
		return 0
	}
}

func newEncoder(r *Runtime, self *object, args []uintptr) uintptr {
	cb := self.data.(*commandBuffer)
	if !r.editable(cb) {
		return 0
	}
	if args[0] > objc.DispatchConcurrent {
		r.violate("%d is no dispatch type", args[0])
		return 0
	}
	e := takeSpare(&r.spare.encoders)
	*e = encoder{waits: e.waits[:0], updates: e.updates[:0], resident: e.resident[:0]}
	r.made.encoders++
	e.cb, e.serial, e.ordered = cb, r.made.encoders, args[0] != objc.DispatchConcurrent
	e.object = object{class: r.classes["MTLComputeCommandEncoder"], data: e, thread: self.thread}
	r.place(&e.object)
	cb.open, cb.encoders = e, append(cb.encoders, e)
	cb.parts++
	return r.autoreleased(&e.object)
}

func dropEncoder(r *Runtime, o *object) {
	e := o.data.(*encoder)
	if !e.ended {
		r.violate("%s is released before endEncoding", r.describe(o.id))
		e.ended, e.cb.open = true, nil
	}
	r.part(e.cb)
}

func endEncoding(r *Runtime, e *encoder, _ []uintptr) {
	if e.groups > 0 {
		r.violate("%d debug groups are open", e.groups)
	}
	e.ended, e.cb.open = true, nil
}

func setPipeline(r *Runtime, e *encoder, args []uintptr) {
	o := r.object(args[0])
	e.pipeline = o.data.(*pipeline)
	e.cb.use(o)
}

// index tells whether a buffer can be bound at an index.
func (r *Runtime) index(at uintptr) bool {
	if at >= maxBindings {
		r.violate("index %d: there are %d", at, maxBindings)
		return false
	}
	return true
}

// inside tells whether a kernel's arguments can begin at an offset of a buffer.
func (r *Runtime) inside(b *buffer, offset uintptr) bool {
	if offset%4 != 0 {
		r.violate("offset %d is no multiple of 4", offset)
		return false
	}
	if offset >= uintptr(len(b.memory)) {
		r.violate("offset %d is outside %s, which has %d bytes", offset, r.describe(b.object.id), len(b.memory))
		return false
	}
	return true
}

func setBuffer(r *Runtime, e *encoder, args []uintptr) {
	if !r.index(args[2]) {
		return
	}
	o := r.object(args[0])
	if o == nil {
		e.bound[args[2]] = binding{}
		return
	}
	b := o.data.(*buffer)
	if !r.inside(b, args[1]) {
		return
	}
	e.bound[args[2]] = binding{b, int(args[1])}
	e.resident = append(e.resident, residence{b, e.dispatched, 0})
	e.cb.use(o)
}

func setBufferOffset(r *Runtime, e *encoder, args []uintptr) {
	if !r.index(args[1]) {
		return
	}
	b := &e.bound[args[1]]
	if b.buffer == nil {
		r.violate("no buffer is bound at index %d", args[1])
		return
	}
	if r.inside(b.buffer, args[0]) {
		b.offset = int(args[0])
	}
}

func useResources(r *Runtime, e *encoder, args []uintptr) {
	if args[1] == 0 {
		r.violate("a count of 0")
		return
	}
	if args[0] == 0 {
		r.violate("the list is NULL")
		return
	}
	if args[2] == 0 || args[2]&^(objc.UsageRead|objc.UsageWrite) != 0 {
		r.violate("usage %#x: expected reading (1), writing (2) or both", args[2])
	}
	for i, id := range unsafe.Slice((*objc.ID)(objc.Pointer(args[0])), int(args[1])) {
		o, ok := r.find(id)
		if !ok || !o.class.is(r.classes["MTLResource"]) {
			r.violate("resource %d: %s is no live MTLResource", i, r.describe(id))
			continue
		}
		b := o.data.(*buffer)
		if args[2]&objc.UsageWrite != 0 && b.noCopy {
			r.violate("resource %d: %s is over a mapped file, which is read-only, and is named for writing", i, r.describe(id))
		}
		e.resident = append(e.resident, residence{b, e.dispatched, args[2]})
		e.cb.use(o)
	}
}
