package fake

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

func TestStep(t *testing.T) {
	g := newGPU(t, Options{Residency: true})
	for range 3 {
		pool := g.api.PoolPush()
		cb, e := g.ready()
		g.api.LabelEncoder(e, "step")
		g.api.PushGroup(e, "kernel")
		g.do(e, "setBufferOffset:atIndex:", 16, 0)
		g.dispatch(e, oneGroup, simd)
		g.do(e, "memoryBarrierWithScope:", objc.BarrierBuffers)
		g.dispatch(e, [3]uintptr{3, 2, 1}, [3]uintptr{256, 1, 1})
		g.api.PopGroup(e)
		if !g.finish(cb, e) {
			t.Fatal("the step did not end")
		}
		if s := g.api.Status(cb); s != objc.StatusCompleted {
			t.Errorf("status %d", s)
		}
		g.api.PoolPop([]uintptr{pool})
	}
	if g.Dispatches() != 6 {
		t.Errorf("%d dispatches ran, expected 6", g.Dispatches())
	}
	g.release()
	g.clean()
}

func TestNothingIsLeft(t *testing.T) {
	g := newGPU(t, Options{})
	g.release()
	pool := g.api.PoolPush()
	g.api.PoolPop([]uintptr{pool})
	live := g.Live()
	delete(live, "NSString") // labels, which the test's pool has
	if len(live) != 0 {
		t.Errorf("live: %v", live)
	}
	g.clean()
}

func TestEncoderRules(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*gpu)
		want string
	}{
		"two encoders": {func(g *gpu) {
			cb, e := g.ready()
			g.encoder(cb)
			g.end(e)
		}, "computeCommandEncoderWithDispatchType:: MTLComputeCommandEncoder"},
		"commit while open": {func(g *gpu) {
			cb, e := g.ready()
			g.do(cb, "commit")
			g.end(e)
		}, "is open"},
		"signal while open": {func(g *gpu) {
			cb, e := g.ready()
			g.do(cb, "encodeSignalEvent:value:", uintptr(g.event), 1)
			g.end(e)
		}, "is open"},
		"after endEncoding": {func(g *gpu) {
			_, e := g.ready()
			g.end(e)
			g.dispatch(e, oneGroup, simd)
		}, "the encoder has ended"},
		"ended twice": {func(g *gpu) {
			_, e := g.ready()
			g.end(e)
			g.end(e)
		}, "the encoder has ended"},
		"encoder after commit": {func(g *gpu) {
			cb := g.commandBuffer()
			g.do(cb, "commit")
			g.encoder(cb)
		}, "the command buffer is committed"},
		"committed twice": {func(g *gpu) {
			cb := g.commandBuffer()
			g.do(cb, "commit")
			g.do(cb, "commit")
		}, "the command buffer is committed"},
		"never ended": {func(g *gpu) {
			pool := g.api.PoolPush()
			g.ready()
			g.api.PoolPop([]uintptr{pool})
		}, "is released before endEncoding"},
		"dispatch type": {func(g *gpu) { g.do(g.commandBuffer(), "computeCommandEncoderWithDispatchType:", 2) }, "2 is no dispatch type"},
		"signal not growing": {func(g *gpu) {
			cb := g.commandBuffer()
			g.do(cb, "encodeSignalEvent:value:", uintptr(g.event), 5)
			g.do(cb, "encodeSignalEvent:value:", uintptr(g.event), 5)
		}, "signals 5 after 5"},
		"too many command buffers": {func(g *gpu) {
			for range 5 {
				g.commandBuffer()
			}
		}, "waits for ever: 4 command buffers"},
		"wait before commit": {func(g *gpu) { g.do(g.commandBuffer(), "waitUntilCompleted") }, "not committed"},
		"queue of none":      {func(g *gpu) { g.do(g.device, "newCommandQueueWithMaxCommandBufferCount:", 0) }, "a queue of 0"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGPU(t, Options{})
			c.do(g)
			g.broken(c.want)
		})
	}
}

// What an encoder is told, each on an encoder that is ready to dispatch.
func TestCommandRules(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(g *gpu, e objc.ID)
		want string
	}{
		"offset beyond":   {func(g *gpu, e objc.ID) { g.do(e, "setBufferOffset:atIndex:", 4096, 0) }, "offset 4096 is outside"},
		"buffer beyond":   {func(g *gpu, e objc.ID) { g.do(e, "setBuffer:offset:atIndex:", uintptr(g.args), 5000, 0) }, "offset 5000 is outside"},
		"offset odd":      {func(g *gpu, e objc.ID) { g.do(e, "setBufferOffset:atIndex:", 6, 0) }, "offset 6 is no multiple of 4"},
		"offset of none":  {func(g *gpu, e objc.ID) { g.do(e, "setBufferOffset:atIndex:", 0, 7) }, "no buffer is bound at index 7"},
		"index":           {func(g *gpu, e objc.ID) { g.do(e, "setBuffer:offset:atIndex:", uintptr(g.args), 0, 31) }, "index 31"},
		"index of offset": {func(g *gpu, e objc.ID) { g.do(e, "setBufferOffset:atIndex:", 0, 1<<40) }, "index 1099511627776"},
		"grid of 0":       {func(g *gpu, e objc.ID) { g.dispatch(e, [3]uintptr{1, 0, 1}, simd) }, "a grid of [1 0 1]"},
		"threads of 0":    {func(g *gpu, e objc.ID) { g.dispatch(e, oneGroup, [3]uintptr{32, 1, 0}) }, "of [32 1 0] threads"},
		"half a SIMD":     {func(g *gpu, e objc.ID) { g.dispatch(e, oneGroup, [3]uintptr{48, 1, 1}) }, "48 threads in a threadgroup are no multiple of 32"},
		"many threads":    {func(g *gpu, e objc.ID) { g.dispatch(e, oneGroup, [3]uintptr{256, 2, 1}) }, "512 threads in a threadgroup of small, which allows 256"},
		"NULL size":       {func(g *gpu, e objc.ID) { g.do(e, "dispatchThreadgroups:threadsPerThreadgroup:", 0, 0) }, "a size is NULL"},
		"unbound": {func(g *gpu, e objc.ID) {
			g.do(e, "setBuffer:offset:atIndex:", 0, 0, 1)
			g.dispatch(e, oneGroup, simd)
		}, "buffers 0 and 1 are not both bound"},
		"scope": {func(g *gpu, e objc.ID) { g.do(e, "memoryBarrierWithScope:", 2) }, "scope 0x2 orders no buffers"},
		"pop":   {func(g *gpu, e objc.ID) { g.do(e, "popDebugGroup") }, "no debug group is open"},
		"a pipeline that is none": {func(g *gpu, e objc.ID) { g.do(e, "setComputePipelineState:", uintptr(g.args)) },
			"is no MTLComputePipelineState"},
		"resources":     {func(g *gpu, e objc.ID) { g.use(e, g.fence, 1) }, "is no live MTLResource"},
		"usage":         {func(g *gpu, e objc.ID) { g.use(e, g.args, 8) }, "usage 0x8"},
		"no resources":  {func(g *gpu, e objc.ID) { g.do(e, "useResources:count:usage:", 0, 0, 1) }, "a count of 0"},
		"NULL resource": {func(g *gpu, e objc.ID) { g.do(e, "useResources:count:usage:", 0, 1, 1) }, "the list is NULL"},
		"wait after update": {func(g *gpu, e objc.ID) {
			g.do(e, "updateFence:", uintptr(g.fence))
			g.do(e, "waitForFence:", uintptr(g.fence))
		}, "the encoder updated MTLFence"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGPU(t, Options{})
			cb, e := g.ready()
			c.do(g, e)
			g.broken(c.want)
			if !g.finish(cb, e) {
				t.Error("what was right did not run")
			}
		})
	}
}

func (g *gpu) use(e, resource objc.ID, usage uintptr) {
	var pin runtime.Pinner
	defer pin.Unpin()
	list := &resource
	pin.Pin(list)
	g.do(e, "useResources:count:usage:", uintptr(unsafe.Pointer(list)), 1, usage)
}

func TestUnsetState(t *testing.T) {
	t.Run("pipeline", func(t *testing.T) {
		g := newGPU(t, Options{})
		e := g.encoder(g.commandBuffer())
		g.dispatch(e, oneGroup, simd)
		g.end(e)
		g.broken("no pipeline is set")
	})
	t.Run("group", func(t *testing.T) {
		g := newGPU(t, Options{})
		e := g.encoder(g.commandBuffer())
		g.api.PushGroup(e, "open")
		g.end(e)
		g.broken("1 debug groups are open")
	})
}

func TestThreadOfQueue(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("threads are told apart on Linux only")
	}
	for _, what := range []string{"queue", "command buffer", "encoder"} {
		t.Run(what, func(t *testing.T) {
			g := newGPU(t, Options{})
			cb, e := g.ready()
			done := make(chan bool)
			go func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				pool := g.api.PoolPush()
				switch what {
				case "queue":
					g.commandBuffer()
				case "command buffer":
					g.api.Status(cb)
				case "encoder":
					g.dispatch(e, oneGroup, simd)
				}
				g.api.PoolPop([]uintptr{pool})
				close(done)
			}()
			<-done
			g.end(e)
			g.broken("called on another thread")
		})
	}
}

// Released in flight: between the commit and the caller's seeing its end.
func TestReleasedInFlight(t *testing.T) {
	for name, pick := range map[string]func(*gpu) objc.ID{
		"buffer": func(g *gpu) objc.ID { return g.args }, "pipeline": func(g *gpu) objc.ID { return g.pipeline },
		"fence": func(g *gpu) objc.ID { return g.fence }, "event": func(g *gpu) objc.ID { return g.event },
	} {
		for _, when := range []string{"before commit", "in flight", "after"} {
			t.Run(fmt.Sprint(name, " ", when), func(t *testing.T) {
				g := newGPU(t, Options{})
				cb, e := g.ready()
				g.dispatch(e, oneGroup, simd)
				g.do(e, "updateFence:", uintptr(g.fence))
				g.end(e)
				g.do(cb, "encodeSignalEvent:value:", uintptr(g.event), 1)
				if when == "before commit" {
					g.api.Release(pick(g))
				}
				g.do(cb, "commit")
				if when == "in flight" {
					g.api.Release(pick(g))
				}
				g.do(cb, "waitUntilCompleted")
				switch when {
				case "before commit":
					g.broken("commit: uses released MTL")
					if s := g.api.Status(cb); s != objc.StatusError {
						t.Errorf("status %d", s)
					}
				case "in flight":
					g.broken("while a command buffer that uses it is committed and not completed")
				case "after":
					g.api.Release(pick(g))
					g.clean()
				}
			})
		}
	}
}

// TestMappedForReading: a buffer over a mapped file may be named for reading alone.
func TestMappedForReading(t *testing.T) {
	for usage, want := range map[uintptr]string{
		objc.UsageRead:                   "",
		objc.UsageWrite:                  "named for writing",
		objc.UsageRead | objc.UsageWrite: "named for writing",
	} {
		g := newGPU(t, Options{})
		pages, err := allocate(4096, 4096)
		if err != nil {
			t.Fatal(err)
		}
		mapped := g.api.NewBufferNoCopy(g.device, unsafe.Pointer(&pages[0]), 4096, "a file")
		cb, e := g.ready()
		g.use(e, mapped, usage)
		if want != "" {
			g.broken(want)
		}
		g.finish(cb, e)
		g.api.Release(mapped)
		if err := free(pages); err != nil {
			t.Error(err)
		}
	}
}
