package fake

import (
	"runtime"
	"testing"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

func TestEveryMethodOfTheTableIsKnown(t *testing.T) {
	for _, residency := range []bool{false, true} {
		f := New(Options{Residency: residency})
		for _, s := range objc.Methods() {
			c := f.classes[s.Owner]
			known := c != nil
			if known && s.Static {
				o, _ := f.find(f.Entry().Class(s.Owner))
				c = o.class
			}
			var m *method
			if known {
				m = c.method(f.number(s.Selector))
			}
			if want := s.Since == 0 || residency; (m != nil) != want {
				t.Errorf("residency %t: %s %s known: %t", residency, s.Owner, s.Selector, m != nil)
				continue
			}
			if m != nil && (len(m.params) != len(s.Args) || m.double != (s.Result == objc.Double)) {
				t.Errorf("%s %s: %d arguments and a double: %t here, %d and %t in the table",
					s.Owner, s.Selector, len(m.params), m.double, len(s.Args), s.Result == objc.Double)
			}
		}
		f.Close()
	}
}

func TestSendsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*rig)
		want string
	}{
		"selector":       {func(g *rig) { g.do(g.device, "explode") }, "unrecognized selector"},
		"not registered": {func(g *rig) { g.send([]uintptr{uintptr(g.device), 7}) }, "0x7 is no selector"},
		"receiver":       {func(g *rig) { g.do(12345, "name") }, "the receiver is no live object"},
		"nil":            {func(g *rig) { g.do(0, "name") }, "the receiver is no live object"},
		"count":          {func(g *rig) { g.do(g.device, "supportsFamily:") }, "takes 1 arguments, not 0"},
		"class":          {func(g *rig) { g.do(g.Entry().Class("NSString"), "retain") }, "class NSString retain: unrecognized"},
		"argument": {func(g *rig) { g.do(g.Entry().Class("NSURL"), "fileURLWithPath:", uintptr(g.device)) },
			"argument 0: MTLDevice"},
		"dead argument": {func(g *rig) { g.do(g.Entry().Class("NSURL"), "fileURLWithPath:", 99) }, "argument 0: 0x63 is no live object"},
		"double":        {func(g *rig) { g.Entry().SendFloat64(g.device, g.Entry().Selector("name")) }, "the result is a double: false"},
		"few words":     {func(g *rig) { g.send(nil) }, "takes a receiver and a selector"},
		"closed":        {func(g *rig) { g.Close(); g.do(g.device, "name") }, "the runtime is closed"},
		"NULL text": {func(g *rig) { g.do(g.Entry().Class("NSString"), "stringWithUTF8String:", 0) },
			"the text is NULL"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, Options{})
			c.do(g)
			g.broken(c.want)
		})
	}
}

func TestOwnership(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*rig)
		want string
	}{
		"over-release": {func(g *rig) {
			b := g.api.NewFence(g.device)
			g.api.Retain(b)
			for range 3 {
				g.api.Release(b)
			}
		}, "released MTLFence"},
		"share of a pool": {func(g *rig) { g.api.Release(objc.ID(g.text("x"))) }, "released more often than it was retained"},
		"after its pool": {func(g *rig) {
			pool := g.api.PoolPush()
			s := objc.ID(g.text("x"))
			g.api.PoolPop([]uintptr{pool})
			g.do(s, "UTF8String")
		}, "released NSString"},
		"pool twice": {func(g *rig) {
			pool := []uintptr{g.api.PoolPush()}
			g.api.PoolPop(pool)
			g.api.PoolPop(pool)
		}, "is no pool of this thread"},
		"inner pool left": {func(g *rig) {
			pool := g.api.PoolPush()
			g.api.PoolPush()
			g.api.PoolPop([]uintptr{pool})
		}, "a pool that was pushed later is still there"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, Options{})
			c.do(g)
			g.broken(c.want)
		})
	}
}

func TestRetainOutlivesPool(t *testing.T) {
	g := newRig(t, Options{})
	pool := g.api.PoolPush()
	s := objc.ID(g.text("kept"))
	g.api.Retain(s)
	g.text("dropped")
	g.api.PoolPop([]uintptr{pool})
	if live := g.Live(); live["NSString"] != 1 {
		t.Errorf("live: %v, expected one NSString", live)
	}
	g.api.Release(s)
	g.api.Release(g.device)
	if live := g.Live(); len(live) != 0 {
		t.Errorf("live: %v", live)
	}
	g.clean()
}

// What an object holds lives as long as it.
func TestHolds(t *testing.T) {
	g := newRig(t, Options{})
	pool := g.api.PoolPush()
	f := g.api.NewFence(g.device)
	array := objc.ID(g.do(g.Entry().Class("NSArray"), "arrayWithObject:", uintptr(f)))
	g.api.Release(f)
	if g.Live()["MTLFence"] != 1 {
		t.Error("an array's object died before it")
	}
	g.api.Retain(array)
	g.api.PoolPop([]uintptr{pool})
	g.api.Release(array)
	if live := g.Live(); live["MTLFence"] != 0 || live["NSArray"] != 0 {
		t.Errorf("live: %v", live)
	}
	g.clean()
}

// Threads have pools of their own, where threads can be told apart.
func TestNoPool(t *testing.T) {
	f := New(Options{})
	defer f.Close()
	api, err := objc.Bind(f.Entry())
	if err != nil {
		t.Fatal(err)
	}
	pushed, done := make(chan bool), make(chan bool)
	if runtime.GOOS == "linux" {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			pool := api.PoolPush()
			pushed <- true
			<-done
			api.PoolPop([]uintptr{pool})
			pushed <- true
		}()
		<-pushed
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := api.DefaultDevice()
	api.DeviceName(d)
	g := &rig{TB: t, Runtime: f}
	g.broken("autoreleased with no pool on this thread")
	if f.Live()["NSString"] != 1 {
		t.Errorf("live: %v, expected the leak", f.Live())
	}
	if runtime.GOOS == "linux" {
		done <- true
		<-pushed
	}
}

func TestCountsAndMessages(t *testing.T) {
	g := newRig(t, Options{})
	g.ResetCounts()
	pool := g.api.PoolPush()
	g.api.DeviceName(g.device)
	g.api.PoolPop([]uintptr{pool})
	calls := g.Calls()
	for _, name := range []string{"name", "UTF8String", "objc_autoreleasePoolPush", "objc_autoreleasePoolPop"} {
		if calls[name] != 1 {
			t.Errorf("%s: %d calls, expected 1", name, calls[name])
		}
	}
	if g.TotalCalls() != 4 {
		t.Errorf("%d calls in all, expected 4: %v", g.TotalCalls(), calls)
	}
	for range maxViolations + 5 {
		g.do(g.device, "explode")
	}
	v := g.Violations()
	if len(v) != maxViolations+1 || v[maxViolations] != "and 5 more" {
		t.Errorf("%d violations, the last %q", len(v), v[len(v)-1])
	}
}

func TestTexts(t *testing.T) {
	g := newRig(t, Options{Residency: true})
	if name := g.api.DeviceName(g.device); name != "Fake M3" {
		t.Errorf("name %q", name)
	}
	if got := g.api.SystemVersion(); got != "Version 15.0 (fake)" {
		t.Errorf("system %q", got)
	}
	if got := g.api.DeviceArchitecture(g.device); got != "applegpu_fake" {
		t.Errorf("architecture %q", got)
	}
	if !g.api.Unified(g.device) || !g.api.SupportsFamily(g.device, objc.FamilyApple9) || g.api.SupportsFamily(g.device, objc.FamilyApple10) {
		t.Error("not an M3")
	}
	if got := g.api.WorkingSet(g.device); got != 96<<30 || g.api.MaxBuffer(g.device) != 64<<30 {
		t.Errorf("sizes %d, %d", got, g.api.MaxBuffer(g.device))
	}
	if g.api.Allocated(g.device) != 0 || g.api.ThreadgroupMemory(g.device) != 32768 {
		t.Error("memory of a fresh device")
	}
	g.clean()
	if New(Options{NoDevice: true}).Entry().DefaultDevice() != 0 {
		t.Error("a device where there is none")
	}
}
