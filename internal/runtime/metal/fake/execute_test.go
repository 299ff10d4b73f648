package fake

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

func TestDispatchesRunAtCommit(t *testing.T) {
	var got []Dispatch
	var g *gpu
	g = newGPU(t, Options{Execute: func(d *Dispatch) error {
		got = append(got, *d)
		d.Args[0]++
		_, err := g.Find(d.Step, 8)
		return err
	}})
	memory := unsafe.Slice((*byte)(g.api.Contents(g.args)), 4096)
	memory[64] = 41
	cb, e := g.ready()
	g.do(e, "setBufferOffset:atIndex:", 64, 0)
	g.do(e, "setBufferOffset:atIndex:", 128, 1)
	g.dispatch(e, [3]uintptr{4, 2, 1}, [3]uintptr{64, 1, 1})
	g.do(e, "memoryBarrierWithScope:", objc.BarrierBuffers)
	g.do(e, "setBufferOffset:atIndex:", 0, 0)
	g.dispatch(e, oneGroup, simd)
	g.end(e)
	if len(got) != 0 {
		t.Fatal("a dispatch ran before the commit")
	}
	g.commit(cb)
	if len(got) != 2 || !g.reached() {
		t.Fatalf("%d dispatches ran", len(got))
	}
	first, second := got[0], got[1]
	if first.Kernel != "small" || first.Source != source || first.Grid != [3]int{4, 2, 1} || first.Threads != 64 ||
		len(first.Args) != 4096-64 || first.Step != g.api.Address(g.step)+128 || first.Index != 0 || first.Epoch != 0 || first.CommandBuffer != 1 {
		t.Errorf("first dispatch: %+v", first)
	}
	if second.Index != 1 || second.Epoch != 1 || len(second.Args) != 4096 {
		t.Errorf("second dispatch: index %d, epoch %d", second.Index, second.Epoch)
	}
	if memory[64] != 42 {
		t.Errorf("the processor sees %d, expected 42", memory[64])
	}
	g.clean()
}

func TestSerialEncodersOrderDispatches(t *testing.T) {
	var epochs []int
	g := newGPU(t, Options{Execute: func(d *Dispatch) error { epochs = append(epochs, d.Epoch); return nil }})
	cb := g.commandBuffer()
	e := objc.ID(g.do(cb, "computeCommandEncoderWithDispatchType:", 0))
	g.bind(e)
	for range 3 {
		g.dispatch(e, oneGroup, simd)
	}
	g.finish(cb, e)
	if !slices.Equal(epochs, []int{0, 1, 2}) {
		t.Errorf("epochs %v", epochs)
	}
	g.clean()
}

// A fault ends its command buffer and all later ones, and nobody is signaled.
func TestFault(t *testing.T) {
	for name, o := range map[string]Options{
		"fault": {Fault: func(d *Dispatch) int {
			if d.CommandBuffer == 2 && d.Index == 1 {
				return objc.FailedDeviceRemoved
			}
			return 0
		}},
		"execute": {Execute: func(d *Dispatch) error {
			if d.CommandBuffer == 2 && d.Index == 1 {
				return errors.New("page gone")
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGPU(t, o)
			for i := range 3 {
				cb, e := g.ready()
				g.dispatch(e, oneGroup, simd)
				g.dispatch(e, oneGroup, simd)
				if reached := g.finish(cb, e); reached != (i == 0) {
					t.Errorf("command buffer %d: signaled: %t", i+1, reached)
				}
				code := 0
				if g.api.Status(cb) == objc.StatusError {
					var failure *objc.Error
					if !errors.As(g.api.Failure(cb), &failure) || failure.Domain != objc.CommandBufferErrors {
						t.Fatalf("failure %v", g.api.Failure(cb))
					}
					code = failure.Code
					if i == 1 && !strings.Contains(failure.Text, "dispatch 1, small") {
						t.Errorf("failure says %q", failure.Text)
					}
				}
				fault := map[string]int{"fault": objc.FailedDeviceRemoved, "execute": objc.FailedPageFault}[name]
				if want := []int{0, fault, objc.FailedAccessRevoked}[i]; code != want {
					t.Errorf("command buffer %d failed with %d, expected %d", i+1, code, want)
				}
			}
			if g.Dispatches() != 3 {
				t.Errorf("%d dispatches ran, expected 3", g.Dispatches())
			}
			g.clean()
		})
	}
}

func TestTimesGrow(t *testing.T) {
	g := newGPU(t, Options{})
	last := 0.0
	for range 3 {
		cb, e := g.ready()
		g.dispatch(e, oneGroup, simd)
		g.end(e)
		if start, end := g.api.Times(cb); start != 0 || end != 0 {
			t.Errorf("times %g, %g before the commit", start, end)
		}
		g.commit(cb)
		g.reached()
		start, end := g.api.Times(cb)
		if start <= last || end <= start {
			t.Errorf("times %g to %g after %g", start, end, last)
		}
		last = end
	}
	g.send([]uintptr{uintptr(g.commandBuffer()), g.Entry().Selector("GPUStartTime")})
	g.broken("the result is a double: true")
}

// Command buffers whose end nobody saw need fences between them.
func TestFences(t *testing.T) {
	for name, c := range map[string]struct {
		wait, update, see bool
		late              bool // the wait comes after a dispatch
		early             bool // the update comes before a dispatch
		want              string
	}{
		"ordered":      {wait: true, update: true},
		"seen":         {see: true},
		"none":         {want: "no fence orders them"},
		"not waited":   {update: true, want: "no fence orders them"},
		"waited late":  {wait: true, update: true, late: true, want: "no fence orders them"},
		"updated soon": {wait: true, update: true, early: true, want: "no fence orders them"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGPU(t, Options{})
			for i := range 2 {
				cb, e := g.ready()
				fence := func(on bool, selector string) {
					if on {
						g.do(e, selector, uintptr(g.fence))
					}
				}
				fence(i == 1 && c.wait && !c.late, "waitForFence:")
				fence(i == 0 && c.update && c.early, "updateFence:")
				g.dispatch(e, oneGroup, simd)
				fence(i == 1 && c.wait && c.late, "waitForFence:")
				fence(i == 0 && c.update && !c.early, "updateFence:")
				g.end(e)
				g.commit(cb)
				if c.see {
					g.reached()
				}
			}
			if c.want == "" {
				g.clean()
			} else {
				g.broken(c.want)
			}
		})
	}
	t.Run("never updated", func(t *testing.T) {
		g := newGPU(t, Options{})
		cb, e := g.ready()
		g.do(e, "waitForFence:", uintptr(g.fence))
		g.finish(cb, e)
		g.broken("which was never updated")
	})
}

// A value that no committed work signals is not waited for.
func TestEventDoesNotSleep(t *testing.T) {
	g := newGPU(t, Options{})
	if g.do(g.event, "waitUntilSignaledValue:timeoutMS:", 1, 1<<40) != 0 {
		t.Error("a value was reached that nobody signals")
	}
	cb := g.commandBuffer()
	g.commit(cb)
	if g.do(g.event, "signaledValue") != 1 || !g.reached() {
		t.Error("the value was not signaled")
	}
	g.clean()
}

// Another thread waits while a dispatch runs.
func TestWaitBesideWork(t *testing.T) {
	begun, finish, reached := make(chan bool), make(chan bool), make(chan bool, 1)
	g := newGPU(t, Options{Execute: func(*Dispatch) error { close(begun); <-finish; return nil }})
	go func() {
		<-begun
		go func() { reached <- g.do(g.event, "waitUntilSignaledValue:timeoutMS:", 1, 1000) != 0 }()
		close(finish)
	}()
	cb, e := g.ready()
	g.dispatch(e, oneGroup, simd)
	g.end(e)
	g.commit(cb)
	if !<-reached {
		t.Error("the work that ran was not waited for")
	}
	g.clean()
}
