package metal

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/metal/fake"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/models/checkpoint"
)

// gpu runs the dispatches that reach the fake Metal through the MSL stand-in, and
// checks each against the plan: what a pointer points into is resident and large
// enough, and what is written between two barriers is used by nobody else.
type gpu struct {
	t      testing.TB
	fake   *fake.Runtime
	device *Device

	program *standin.Program // of the kernels, if they were compiled before
	host    *standin.Host
	mirrors map[uint64]mirror // of the fake's buffers, by address
	kernels map[string]*kernel.Kernel
	step    standin.Addr
	epoch   [2]int // command buffer and barriers before it
	ranges  []access
	count   int
	same    bool // sums in the same order each time: the stand-in takes that of even seeds
}

type mirror struct {
	at   standin.Addr
	size int
	file bool
}

// access is memory that a dispatch uses since the last barrier.
type access struct {
	kernel     string
	start, end uint64
	written    bool
}

// newGPU is a fake machine that executes nothing, for tests of all around.
func newGPU(t testing.TB, o fake.Options) *gpu { return &gpu{t: t, fake: fake.New(o)} }

// newExecutor is a fake machine that executes dispatches.
func newExecutor(t testing.TB, o fake.Options) *gpu {
	g := &gpu{t: t, mirrors: map[uint64]mirror{}, kernels: map[string]*kernel.Kernel{}}
	o.Execute = g.execute
	g.fake = fake.New(o)
	return g
}

// open opens a model on the machine, and at the end of the test sees that no rule
// was broken and nothing left.
func (g *gpu) open(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) (*Device, error) {
	g.t.Helper()
	api, err := objc.Bind(g.fake.Entry())
	if err != nil {
		g.t.Fatal(err)
	}
	o.API = api
	g.t.Cleanup(func() { g.check() })
	g.device, err = Open(b, ck, o)
	return g.device, err
}

func (g *gpu) check() {
	g.t.Helper()
	if g.device != nil {
		if err := g.device.Close(); err != nil {
			g.t.Error(err)
		}
	}
	for _, v := range g.fake.Violations() {
		g.t.Error(v)
	}
	for class, n := range g.fake.Live() {
		g.t.Errorf("%d objects of class %s were not released", n, class)
	}
	g.fake.Close()
	if g.host != nil {
		g.host.Close()
	}
}

// start compiles the device's kernels and maps the checkpoint's files.
func (g *gpu) start() error {
	compiler, err := standin.Find()
	if err != nil {
		return err
	}
	sources := map[string]string{}
	for _, k := range g.device.Bundle().Plan.Kernels {
		g.kernels[k.Name] = k
		if sources[k.Name+".metal"], err = msl.Print(k); err != nil {
			return err
		}
	}
	if g.program == nil {
		// A few steps are run: an optimizer takes longer than it saves.
		if g.program, err = compiler.Build(g.t.TempDir(), sources, standin.Options{Unoptimized: true}); err != nil {
			return err
		}
	}
	if g.host, err = g.program.Start(); err != nil {
		return err
	}
	for i, views := range g.device.machine.memory.views {
		path, err := filepath.Abs(g.device.machine.memory.files[i].Path())
		if err != nil {
			return err
		}
		at, _, err := g.host.Map(path)
		if err != nil {
			return err
		}
		for _, v := range views {
			g.mirrors[v.address] = mirror{at + standin.Addr(v.start), 0, true}
		}
	}
	for _, b := range g.fake.Buffers() {
		if !b.NoCopy {
			at, err := g.host.Alloc(len(b.Memory), planned.PoisonByte)
			if err != nil {
				return err
			}
			g.mirrors[b.Address] = mirror{at, len(b.Memory), false}
			if err := g.host.Write(at, b.Memory); err != nil { // tables of distances
				return err
			}
		}
	}
	return nil
}

// translate is an address of the GPU as one of the stand-in's, and the buffer it
// lies in.
func (g *gpu) translate(address uint64) (standin.Addr, fake.Buffer, error) {
	for _, b := range g.fake.Buffers() {
		n := uint64(len(b.Memory))
		if address >= b.Address && address < b.Address+n {
			m, ok := g.mirrors[b.Address]
			if !ok {
				return 0, b, fmt.Errorf("%#x is in buffer %q, made after the first step", address, b.Label)
			}
			return m.at + standin.Addr(address-b.Address), b, nil
		}
	}
	return 0, fake.Buffer{}, fmt.Errorf("%#x is in no buffer", address)
}

// execute runs a dispatch, as [fake.Options.Execute].
func (g *gpu) execute(d *fake.Dispatch) error {
	if g.host == nil {
		if err := g.start(); err != nil {
			return err
		}
	}
	g.count++
	s := g.device.machine.steps[0]
	if at := g.device.machine.steps[1].blocks; d.Step >= at.address && d.Step < at.address+uint64(len(at.bytes)) {
		s = g.device.machine.steps[1]
	}
	job, x := g.find(s, d)
	if x == nil {
		return fmt.Errorf("dispatch %d of command buffer %d, %s, is not the plan's", d.Index, d.CommandBuffer, d.Kernel)
	}
	if d.Grid != [3]int{int(job.grid[0]), int(job.grid[1]), int(job.grid[2])} || d.Threads != x.Kernel.Schedule.Threads {
		return fmt.Errorf("%s has a grid of %v threadgroups of %d, which the plan has not", d.Kernel, d.Grid, d.Threads)
	}
	if err := g.write(s, d); err != nil {
		return err
	}
	args, out, err := g.arguments(s, d, x)
	if err != nil {
		return fmt.Errorf("%s: %w", d.Kernel, err)
	}
	seed := uint64(g.count)
	if g.same {
		seed *= 2
	}
	err = g.host.Launch(standin.Launch{Kernel: d.Kernel, Grid: [3]uint32{uint32(d.Grid[0]), uint32(d.Grid[1]), uint32(d.Grid[2])},
		Threads: uint32(d.Threads), Args: args, Step: g.step, Poison: planned.PoisonByte, Seed: seed})
	if err != nil {
		return err
	}
	for _, r := range out {
		if err := g.read(r); err != nil {
			return err
		}
	}
	return nil
}

// find is the plan's dispatch that an encoded one must be: the one whose argument
// block it has.
func (g *gpu) find(s *step, d *fake.Dispatch) (*job, *plan.Dispatch) {
	offset := len(s.args.bytes) - len(d.Args)
	for i := range s.jobs {
		if s.jobs[i].args == offset && s.jobs[i].kernel == d.Kernel {
			return &s.jobs[i], s.plan.Dispatches[i]
		}
	}
	return nil, nil
}

// write gives the stand-in what the processor wrote: before the first dispatch of what is
// started the step's parameters, and before that of a step the arena and the caches.
func (g *gpu) write(s *step, d *fake.Dispatch) error {
	at, _, err := g.translate(d.Step)
	if err != nil {
		return err
	}
	g.step = at
	offset := len(s.args.bytes) - len(d.Args)
	first := s.jobs[0].args == offset
	begins := func(i int) bool { return i < len(s.jobs) && s.jobs[i].args == offset }
	if !first && !begins(s.plan.Picks()) && !begins(s.plan.Scoring()) {
		return nil
	}
	block := s.blocks.bytes[d.Step-s.blocks.address:][:s.paramBytes()]
	if err := g.host.Write(at, block); err != nil || !first {
		return err
	}
	for _, b := range g.fake.Buffers() {
		if b.Label != "caches" && b.Label != "activations" {
			continue
		}
		if err := g.host.Write(g.mirrors[b.Address].at, b.Memory); err != nil {
			return err
		}
	}
	return nil
}

// arguments are the argument block for the stand-in, and what the dispatch may
// have written.
func (g *gpu) arguments(s *step, d *fake.Dispatch, x *plan.Dispatch) (args []byte, out []access, err error) {
	if now := [2]int{d.CommandBuffer, d.Epoch}; now != g.epoch {
		g.epoch, g.ranges = now, nil
	}
	offsets, size := x.Kernel.Args()
	args = append([]byte(nil), d.Args[:size]...)
	var mine []access
	for i, p := range x.Kernel.Params {
		if !p.Pointer {
			continue
		}
		address := binary.LittleEndian.Uint64(args[offsets[i]:])
		at, b, err := g.translate(address)
		if err != nil {
			return nil, nil, fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		if !g.fake.Resident(d, address) {
			return nil, nil, fmt.Errorf("parameter %s: buffer %q is not resident", p.Name, b.Label)
		}
		binary.LittleEndian.PutUint64(args[offsets[i]:], uint64(at))
		size, err := g.sizeOf(s, x.Args[i])
		if err != nil {
			return nil, nil, err
		}
		if address+uint64(size) > b.Address+uint64(len(b.Memory)) {
			return nil, nil, fmt.Errorf("parameter %s: its %d bytes go beyond buffer %q", p.Name, size, b.Label)
		}
		if a := x.Args[i]; a.Weight != nil && a.Weight.Table {
			if err := g.distances(x, d.Args, i, at); err != nil {
				return nil, nil, fmt.Errorf("parameter %s: %w", p.Name, err)
			}
		} else if a.Weight == nil {
			mine = append(mine, access{d.Kernel, address, address + uint64(size), p.Access != kernel.Read})
		}
	}
	for _, a := range mine {
		for _, b := range g.ranges {
			if (a.written || b.written) && a.start < b.end && b.start < a.end {
				return nil, nil, fmt.Errorf("%s and %s use the same memory, one writes it, and no barrier lies between", b.kernel, a.kernel)
			}
		}
		if a.written {
			out = append(out, a)
		}
	}
	g.ranges = append(g.ranges, mine...)
	return args, out, nil
}

// distances gives the stand-in a table of pieces: files lie elsewhere there, and
// so do the pieces from their first.
func (g *gpu) distances(x *plan.Dispatch, block []byte, table int, to standin.Addr) error {
	offsets, _ := x.Kernel.Args()
	of := x.Args[table].Weight
	for i, a := range x.Args {
		if a.Weight == nil || a.Weight.Table || a.Weight.Param != of.Param || a.Weight.Role != of.Role {
			continue
		}
		p, err := g.device.Bundle().Params.Get(of.Param)
		if err != nil {
			return err
		}
		first := binary.LittleEndian.Uint64(block[offsets[i]:])
		firstAt, _, err := g.translate(first)
		if err != nil {
			return err
		}
		gpu, err := g.fake.Find(binary.LittleEndian.Uint64(block[offsets[table]:]), 8*len(p.Pieces))
		if err != nil {
			return err
		}
		var out []byte
		for n := range p.Pieces {
			at, _, err := g.translate(first + binary.LittleEndian.Uint64(gpu[8*n:]))
			if err != nil {
				return fmt.Errorf("piece %d: %w", n, err)
			}
			out = binary.LittleEndian.AppendUint64(out, uint64(at-firstAt))
		}
		return g.host.Write(to, out)
	}
	return fmt.Errorf("no parameter holds the pieces")
}

// sizeOf is how many bytes an argument has; of weights how many a tensor's first
// piece has.
func (g *gpu) sizeOf(s *step, a plan.Arg) (int64, error) {
	switch {
	case a.Buffer != nil:
		return a.Buffer.Size, nil
	case a.Cache != nil:
		return a.Cache.Bytes, nil
	case a.Weight == nil:
		return 0, fmt.Errorf("a pointer %s is bound to nothing", a.Param.Name)
	case a.Weight.Table:
		return 8, nil
	}
	p, err := g.device.Bundle().Params.Get(a.Weight.Param)
	if err != nil || len(p.Pieces) == 0 {
		return 0, err
	}
	return p.Pieces[0].Plane(a.Weight.Role).Bytes, nil
}

// read takes over what the stand-in's kernel wrote.
func (g *gpu) read(a access) error {
	at, b, err := g.translate(a.start)
	if err != nil {
		return err
	}
	data, err := g.host.Read(at, int(a.end-a.start))
	if err != nil {
		return err
	}
	copy(b.Memory[a.start-b.Address:], data)
	return nil
}

// open is for proofs: a device on a fake machine.
func open(o fake.Options) devicetest.Open {
	return func(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(string, []byte)) device.Planned {
		t.Helper()
		if _, err := standin.Find(); err != nil {
			t.Skip(err)
		}
		g := newExecutor(t, o)
		g.same = observe == nil // bits are compared, not with another device's
		d, err := g.open(b, ck, Options{Poison: true, Observe: observe, Kept: devicetest.KeptRoom})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}
