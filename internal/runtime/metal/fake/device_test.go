package fake

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

func TestBuffers(t *testing.T) {
	g := newRig(t, Options{MaxBuffer: 1 << 20, NewBufferFails: func(n int64) bool { return n == 777 }})
	a := g.api.NewBuffer(g.device, 5000, "a")
	pages, err := allocate(8192, 4096)
	if err != nil {
		t.Fatal(err)
	}
	b := g.api.NewBufferNoCopy(g.device, unsafe.Pointer(&pages[0]), 8192, "b")
	if g.api.Contents(b) != unsafe.Pointer(&pages[0]) {
		t.Error("a no-copy buffer's contents are not the memory given")
	}
	if uintptr(g.api.Contents(a))%4096 != 0 {
		t.Error("memory does not begin at a page")
	}
	list := g.Buffers()
	if len(list) != 2 || list[0].Label != "a" || list[1].Label != "b" || list[0].NoCopy || !list[1].NoCopy ||
		len(list[0].Memory) != 5000 || list[0].Address != g.api.Address(a) {
		t.Errorf("buffers %+v", list)
	}
	if g.api.Address(b) < g.api.Address(a)+5000+1<<30 || g.api.Address(b)%(1<<30) != 0 {
		t.Errorf("addresses %#x and %#x lie too close", g.api.Address(a), g.api.Address(b))
	}
	if g.api.Allocated(g.device) != 5000+8192 {
		t.Errorf("%d bytes allocated", g.api.Allocated(g.device))
	}
	pages[100] = 9
	at := g.api.Address(b)
	if found, err := g.Find(at+100, 8092); err != nil || found[0] != 9 || len(found) != 8092 {
		t.Errorf("find: %d bytes, %v", len(found), err)
	}
	for _, c := range []struct {
		at   uint64
		n    int
		want string
	}{
		{at + 100, 8093, "8093 bytes at byte 100"}, {at + 8192, 1, "no buffer"}, {at, -1, "-1 bytes"},
		{at - 1, 1, "no buffer"}, {uint64(uintptr(g.api.Contents(a))), 1, "no buffer"}, {0, 1, "no buffer"},
	} {
		if _, err := g.Find(c.at, c.n); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("find %#x, %d: %v, expected %q", c.at, c.n, err, c.want)
		}
	}
	for _, n := range []int64{0, 1<<20 + 1, 777} {
		if g.api.NewBuffer(g.device, n, "refused") != 0 {
			t.Errorf("a buffer of %d bytes was made", n)
		}
	}
	g.api.Release(a)
	g.api.Release(b)
	if len(g.Buffers()) != 0 || g.api.Allocated(g.device) != 0 {
		t.Error("released buffers are still there")
	}
	g.clean()
	if err := free(pages); err != nil {
		t.Error(err)
	}
}

func TestBufferRules(t *testing.T) {
	pages, err := allocate(8192, 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := free(pages); err != nil {
			t.Error(err)
		}
	}()
	at := uintptr(unsafe.Pointer(&pages[0]))
	const noCopy = "newBufferWithBytesNoCopy:length:options:deallocator:"
	for name, c := range map[string]struct {
		selector string
		args     []uintptr
		want     string
	}{
		"pointer":     {noCopy, []uintptr{at + 16, 4096, objc.Shared, 0}, "does not begin at a page"},
		"NULL":        {noCopy, []uintptr{0, 4096, objc.Shared, 0}, "does not begin at a page"},
		"length":      {noCopy, []uintptr{at, 5000, objc.Shared, 0}, "5000 bytes are no whole pages"},
		"large":       {noCopy, []uintptr{at, 8192, objc.Shared, 0}, "more than the largest buffer's 4096"},
		"deallocator": {noCopy, []uintptr{at, 4096, objc.Shared, 1}, "a deallocator"},
		"tracked":     {"newBufferWithLength:options:", []uintptr{4096, 0}, "options 0x0"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, Options{MaxBuffer: 4096})
			g.do(g.device, c.selector, c.args...)
			g.broken(c.want)
		})
	}
}

func TestResident(t *testing.T) {
	var g *gpu
	var named, member, late, other, bound []bool
	var ids [4]objc.ID // of the buffers that follow
	g = newGPU(t, Options{Residency: true, Execute: func(d *Dispatch) error {
		for i, list := range []*[]bool{&named, &member, &late, &other} {
			*list = append(*list, g.Resident(d, g.address(ids[i])+8))
		}
		bound = append(bound, g.Resident(d, d.Step) && !g.Resident(d, 1))
		return nil
	}})
	for i := range ids {
		ids[i] = g.api.NewBuffer(g.device, 64, "weights")
	}
	set, err := g.api.NewResidencySet(g.device, []objc.ID{ids[1]}, "set")
	if err != nil {
		t.Fatal(err)
	}
	g.api.Reside(g.queue, set)
	g.do(set, "addAllocation:", uintptr(ids[2])) // not committed in the first step
	for i := range 2 {
		cb, e := g.ready()
		g.dispatch(e, oneGroup, simd)
		g.use(e, ids[0], objc.UsageRead)
		g.dispatch(e, oneGroup, simd)
		if !g.finish(cb, e) {
			t.Fatal("the step did not end")
		}
		if i == 0 {
			g.do(set, "commit")
		}
	}
	for name, c := range map[string]struct{ got, want []bool }{
		"named": {named, []bool{false, true, false, true}}, "member": {member, []bool{true, true, true, true}},
		"late": {late, []bool{false, false, true, true}}, "other": {other, []bool{false, false, false, false}},
		"bound": {bound, []bool{true, true, true, true}},
	} {
		if len(c.got) != 4 || [4]bool(c.got) != [4]bool(c.want) {
			t.Errorf("%s: resident %v, expected %v", name, c.got, c.want)
		}
	}
	g.api.Leave(g.queue, set)
	g.clean()
	g.api.Leave(g.queue, set)
	if v := g.Violations(); len(v) != 2 || !strings.Contains(v[0], "does not have the set") || !strings.Contains(v[1], "was not requested") {
		t.Errorf("violations %q", v)
	}
}

// address is a buffer's, without a send: the dispatch's thread may not be the test's.
func (g *gpu) address(id objc.ID) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	o, _ := g.find(id)
	return o.data.(*buffer).address
}

func TestResidencyRules(t *testing.T) {
	old := newRig(t, Options{})
	if set, err := old.api.NewResidencySet(old.device, nil, ""); set != 0 || err != nil {
		t.Errorf("before macOS 15: set %d, %v", set, err)
	}
	old.clean()
	g := newGPU(t, Options{Residency: true})
	b := g.api.NewBuffer(g.device, 64, "b")
	set, err := g.api.NewResidencySet(g.device, []objc.ID{b}, "set")
	if err != nil {
		t.Fatal(err)
	}
	g.api.Reside(g.queue, set)
	cb, e := g.ready()
	g.dispatch(e, oneGroup, simd)
	g.end(e)
	g.commit(cb)
	g.api.Release(b)
	g.broken("b\" is released while a command buffer that uses it")
	g.do(g.queue, "addResidencySet:", uintptr(set))
	if v := g.Violations(); len(v) != 2 || !strings.Contains(v[1], "has the set already") {
		t.Errorf("violations %q", v)
	}
}

func TestLibrary(t *testing.T) {
	for _, residency := range []bool{false, true} {
		g := newRig(t, Options{Residency: residency, MaxThreads: map[string]int{"wide": 96},
			Compile: func(source string) error {
				if strings.Contains(source, "oops") {
					return errors.New("k.metal:1: error: oops")
				}
				return nil
			}})
		lib, err := g.api.NewLibrary(g.device, source)
		if err != nil {
			t.Fatal(err)
		}
		if g.api.NewFunction(lib, "ghost") != 0 {
			t.Error("a comment's kernel was found")
		}
		for name, threads := range map[string]int{"small": 256, "wide": 96} {
			d := g.api.NewPipelineDescriptor(g.api.NewFunction(lib, name), name, 0)
			p, err := g.api.NewPipeline(g.device, d)
			if err != nil || g.api.PipelineThreads(p) != threads || g.api.PipelineWidth(p) != 32 {
				t.Errorf("%s: %v, %d threads, expected %d", name, err, g.api.PipelineThreads(p), threads)
			}
		}
		_, err = g.api.NewLibrary(g.device, "oops")
		var failure *objc.Error
		if !errors.As(err, &failure) || failure.Domain != libraryErrors || failure.Text != "k.metal:1: error: oops" {
			t.Errorf("a source that is refused: %v", err)
		}
		g.clean()
	}
}

func TestLibraryRules(t *testing.T) {
	for name, c := range map[string]struct {
		residency bool
		set       func(g *rig, options objc.ID)
		want      string
	}{
		"language": {false, func(g *rig, o objc.ID) { g.do(o, "setFastMathEnabled:", 0) }, "the language version is 0x0"},
		"fast":     {false, func(g *rig, o objc.ID) { g.do(o, "setLanguageVersion:", metal31) }, "fast math was not turned off"},
		"relaxed": {true, func(g *rig, o objc.ID) {
			g.do(o, "setLanguageVersion:", metal31)
			g.do(o, "setMathMode:", 1)
		}, "fast math was not turned off"},
		"fast functions": {true, func(g *rig, o objc.ID) {
			g.do(o, "setLanguageVersion:", metal31)
			g.do(o, "setMathMode:", mathModeSafe)
		}, "fast functions were not turned off"},
		"mode of macOS 15": {false, func(g *rig, o objc.ID) {
			g.do(o, "setLanguageVersion:", metal31)
			g.do(o, "setFastMathEnabled:", 0)
			g.do(o, "setMathMode:", mathModeSafe)
		}, "setMathMode:: unrecognized selector"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, Options{Residency: c.residency})
			o := g.new("MTLCompileOptions")
			c.set(g, o)
			g.do(g.device, "newLibraryWithSource:options:error:", g.text(source), uintptr(o), 0)
			g.broken(c.want)
		})
	}
	for name, args := range map[string][3]uintptr{"source": {0, 1, 0}, "options": {1, 0, 0}} {
		t.Run("nil "+name, func(t *testing.T) {
			g := newRig(t, Options{})
			if args[0] != 0 {
				args[0] = g.text(source)
			} else {
				args[1] = uintptr(g.new("MTLCompileOptions"))
			}
			g.do(g.device, "newLibraryWithSource:options:error:", args[:]...)
			g.broken("nil is no live object")
		})
	}
	t.Run("no function", func(t *testing.T) {
		g := newRig(t, Options{})
		if _, err := g.api.NewPipeline(g.device, g.new("MTLComputePipelineDescriptor")); err == nil {
			t.Error("a pipeline of no function was made")
		}
		g.broken("the descriptor has no function")
	})
}

func TestArchives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.archive")
	make := func(g *rig, archive objc.ID, text string, add bool) {
		t.Helper()
		lib, err := g.api.NewLibrary(g.device, text)
		if err != nil {
			t.Fatal(err)
		}
		d := g.api.NewPipelineDescriptor(g.api.NewFunction(lib, "wide"), "", archive)
		if _, err := g.api.NewPipeline(g.device, d); err != nil {
			t.Fatal(err)
		}
		if add {
			if err := g.api.ArchiveAdd(archive, d); err != nil {
				t.Fatal(err)
			}
		}
	}
	g := newRig(t, Options{})
	archive, err := g.api.NewArchive(g.device, "")
	if err != nil {
		t.Fatal(err)
	}
	make(g, archive, source, true)
	if err := g.api.ArchiveWrite(archive, path); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(content, []byte(archiveHead+"\nwide ")) {
		t.Errorf("file %q, %v", content, err)
	}
	if archive, err = g.api.NewArchive(g.device, path); err != nil {
		t.Fatal(err)
	}
	g.ResetCounts()
	make(g, archive, source, false)
	if g.Compiled() != 0 {
		t.Error("an archived kernel was compiled")
	}
	make(g, archive, source+"// changed", false)
	if g.Compiled() != 1 {
		t.Error("a kernel of another source came from the archive")
	}
	if err := os.WriteFile(path, []byte("no archive\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + ".missing"} {
		if _, err := g.api.NewArchive(g.device, p); err == nil {
			t.Errorf("%s was opened", p)
		}
	}
	if err := g.api.ArchiveWrite(archive, filepath.Join(path, "below a file")); err == nil {
		t.Error("a file was written below a file")
	}
	g.clean()
}
