package fake

import (
	"testing"
	"unsafe"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// loop is the sends of a step of many dispatches, made beforehand.
type loop struct {
	g                     *gpu
	sizes                 [2][3]uintptr
	calls                 [4][]uintptr // of a dispatch
	begin, open, end      []uintptr
	bind                  [2][]uintptr
	signal, commit, ended []uintptr
	pool                  []uintptr
}

func newLoop(g *gpu) *loop {
	s := func(name string) uintptr { return g.Entry().Selector(name) }
	l := &loop{g: g, sizes: [2][3]uintptr{oneGroup, simd}, pool: make([]uintptr, 1)}
	l.calls = [4][]uintptr{
		{0, s("setComputePipelineState:"), uintptr(g.pipeline)},
		{0, s("setBufferOffset:atIndex:"), 16, 0},
		{0, s("dispatchThreadgroups:threadsPerThreadgroup:"), uintptr(unsafe.Pointer(&l.sizes[0])), uintptr(unsafe.Pointer(&l.sizes[1]))},
		{0, s("memoryBarrierWithScope:"), objc.BarrierBuffers},
	}
	l.begin = []uintptr{uintptr(g.queue), s("commandBufferWithUnretainedReferences")}
	l.open = []uintptr{0, s("computeCommandEncoderWithDispatchType:"), objc.DispatchConcurrent}
	for i, b := range []objc.ID{g.args, g.step} {
		l.bind[i] = []uintptr{0, s("setBuffer:offset:atIndex:"), uintptr(b), 0, uintptr(i)}
	}
	l.end = []uintptr{0, s("endEncoding")}
	l.signal = []uintptr{0, s("encodeSignalEvent:value:"), uintptr(g.event), 0}
	l.commit = []uintptr{0, s("commit")}
	l.ended = []uintptr{uintptr(g.event), s("waitUntilSignaledValue:timeoutMS:"), 0, 1000}
	return l
}

// step encodes n dispatches and runs them.
func (l *loop) step(n int) bool {
	e := l.g.api
	l.pool[0] = e.PoolPush()
	cb := e.Send(l.begin)
	l.open[0] = cb
	encoder := e.Send(l.open)
	for i := range l.bind {
		l.bind[i][0] = encoder
		e.Send(l.bind[i])
	}
	for range n {
		for _, c := range l.calls {
			c[0] = encoder
			e.Send(c)
		}
	}
	l.end[0] = encoder
	e.Send(l.end)
	l.g.value++
	l.signal[0], l.signal[3] = cb, uintptr(l.g.value)
	e.Send(l.signal)
	l.commit[0] = cb
	e.Send(l.commit)
	l.ended[2] = uintptr(l.g.value)
	reached := e.Send(l.ended) != 0
	e.PoolPop(l.pool)
	return reached
}

// A step allocates nothing but, now and then, room for more IDs.
func TestStepsAllocateNothing(t *testing.T) {
	g := newGPU(t, Options{})
	l := newLoop(g)
	if !l.step(500) {
		t.Fatal("the step did not end")
	}
	if n := testing.AllocsPerRun(100, func() { l.step(500) }); n > 0 {
		t.Errorf("%g allocations a step", n)
	}
	g.clean()
}

func TestManyStepsLeaveNothing(t *testing.T) {
	g := newGPU(t, Options{})
	l := newLoop(g)
	before := g.Live()
	for range 2000 {
		l.step(3)
	}
	after := g.Live()
	for class, n := range after {
		if n != before[class] {
			t.Errorf("%d of %s, before %d", n, class, before[class])
		}
	}
	if len(g.spare.commandBuffers) != 1 || len(g.spare.encoders) != 1 {
		t.Errorf("%d command buffers and %d encoders are spare, expected to use one again and again",
			len(g.spare.commandBuffers), len(g.spare.encoders))
	}
	g.clean()
}

// BenchmarkStep is a step of 500 dispatches, four sends each.
func BenchmarkStep(b *testing.B) {
	l := newLoop(newGPU(b, Options{}))
	b.ReportAllocs()
	for b.Loop() {
		l.step(500)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/send")
}
