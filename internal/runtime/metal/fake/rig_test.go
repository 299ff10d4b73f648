package fake

import (
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// rig drives a runtime like smelt does, and by raw sends where smelt would not.
type rig struct {
	testing.TB
	*Runtime
	api    *objc.API
	device objc.ID
	send   func([]uintptr) uintptr
}

// source has two kernels, one with the attribute that generated code has.
const source = "// kernel void ghost() {}\n" +
	"[[kernel, max_total_threads_per_threadgroup(256)]]\nvoid small(constant A &a [[buffer(0)]]) {}\n" +
	"kernel void wide(constant A &a [[buffer(0)]]) {}\n"

// newRig binds to a runtime, on one thread and in a pool, both until the test ends.
func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	f := New(o)
	t.Cleanup(f.Close)
	api, err := objc.Bind(f.Entry())
	if err != nil {
		t.Fatal(err)
	}
	pool := api.PoolPush()
	t.Cleanup(func() { api.PoolPop([]uintptr{pool}) })
	return &rig{t, f, api, api.DefaultDevice(), f.Entry().Send}
}

// do sends a message by name.
func (g *rig) do(to objc.ID, selector string, args ...uintptr) uintptr {
	return g.send(append([]uintptr{uintptr(to), g.Entry().Selector(selector)}, args...))
}

func (g *rig) new(class string) objc.ID { return objc.ID(g.do(g.Entry().Class(class), "new")) }

// text makes an NSString.
func (g *rig) text(s string) uintptr {
	b := append([]byte(s), 0)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&b[0])
	return g.do(g.Entry().Class("NSString"), "stringWithUTF8String:", uintptr(unsafe.Pointer(&b[0])))
}

// clean fails if a rule was broken so far.
func (g *rig) clean() {
	g.Helper()
	if v := g.Violations(); len(v) > 0 {
		g.Errorf("violations:\n%s", strings.Join(v, "\n"))
	}
}

// broken fails unless exactly one rule was broken, with this text.
func (g *rig) broken(want string) {
	g.Helper()
	v := g.Violations()
	if len(v) != 1 || !strings.Contains(v[0], want) {
		g.Errorf("violations: %q, expected one with %q", v, want)
	}
}

// gpu is a queue with what a dispatch needs.
type gpu struct {
	*rig
	queue, pipeline, args, step, fence, event objc.ID
	value                                     uint64 // signaled last
}

func newGPU(t testing.TB, o Options) *gpu {
	t.Helper()
	g := &gpu{rig: newRig(t, o)}
	a := g.api
	lib, err := a.NewLibrary(g.device, source)
	if err != nil {
		t.Fatal(err)
	}
	f := a.NewFunction(lib, "small")
	d := a.NewPipelineDescriptor(f, "small", 0)
	if g.pipeline, err = a.NewPipeline(g.device, d); err != nil {
		t.Fatal(err)
	}
	for _, id := range []objc.ID{d, f, lib} {
		a.Release(id)
	}
	g.queue = a.NewQueue(g.device, 4, "queue")
	g.args = a.NewBuffer(g.device, 4096, "args")
	g.step = a.NewBuffer(g.device, 4096, "step")
	g.fence, g.event = a.NewFence(g.device), a.NewEvent(g.device)
	g.clean()
	return g
}

func (g *gpu) commandBuffer() objc.ID {
	return objc.ID(g.do(g.queue, "commandBufferWithUnretainedReferences"))
}

func (g *gpu) encoder(cb objc.ID) objc.ID {
	return objc.ID(g.do(cb, "computeCommandEncoderWithDispatchType:", objc.DispatchConcurrent))
}

// bind sets all that a dispatch needs.
func (g *gpu) bind(e objc.ID) {
	g.do(e, "setComputePipelineState:", uintptr(g.pipeline))
	g.do(e, "setBuffer:offset:atIndex:", uintptr(g.args), 0, 0)
	g.do(e, "setBuffer:offset:atIndex:", uintptr(g.step), 0, 1)
}

func (g *gpu) dispatch(e objc.ID, grid, threads [3]uintptr) {
	var pin runtime.Pinner
	defer pin.Unpin()
	sizes := &[2][3]uintptr{grid, threads}
	pin.Pin(sizes)
	g.do(e, "dispatchThreadgroups:threadsPerThreadgroup:", uintptr(unsafe.Pointer(&sizes[0])), uintptr(unsafe.Pointer(&sizes[1])))
}

var (
	oneGroup = [3]uintptr{1, 1, 1}
	simd     = [3]uintptr{32, 1, 1}
)

// ready is an encoder to which a dispatch can be added, and its command buffer.
func (g *gpu) ready() (cb, e objc.ID) {
	cb = g.commandBuffer()
	e = g.encoder(cb)
	g.bind(e)
	return cb, e
}

func (g *gpu) end(e objc.ID) { g.do(e, "endEncoding") }

// commit signals the event's next value and commits.
func (g *gpu) commit(cb objc.ID) {
	g.value++
	g.do(cb, "encodeSignalEvent:value:", uintptr(g.event), uintptr(g.value))
	g.do(cb, "commit")
}

// reached waits for the last commit's value.
func (g *gpu) reached() bool {
	return g.do(g.event, "waitUntilSignaledValue:timeoutMS:", uintptr(g.value), 10_000) != 0
}

// finish ends, commits and waits.
func (g *gpu) finish(cb, e objc.ID) bool {
	g.end(e)
	g.commit(cb)
	return g.reached()
}

// release gives back what newGPU made.
func (g *gpu) release() {
	for _, id := range []objc.ID{g.queue, g.pipeline, g.args, g.step, g.fence, g.event, g.device} {
		g.api.Release(id)
	}
}
