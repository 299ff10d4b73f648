package cpu

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/models/synthetic"
	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/models"
)

// BenchmarkColdJIT compiles the kernels of Flash's 43 layers with nothing kept,
// for this machine, and where it has AVX-512 also for those with AVX2; and
// takes them from a cache. With -v it names the kernels that take longest.
func BenchmarkColdJIT(b *testing.B) {
	l := openLLVM(b)
	config, err := synthetic.Flash()
	if err != nil {
		b.Fatal(err)
	}
	m, err := synthetic.New("flash", config, synthetic.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	host := l.Host().Lanes()
	kernels := flashKernels(b, m.Model, host)
	b.Run(fmt.Sprint("cpu", host), func(b *testing.B) { coldJIT(b, l, kernels, host, jit.Options{}) })
	b.Run("kept", func(b *testing.B) { warmJIT(b, l, kernels) })
	if host == 16 {
		kernels := flashKernels(b, m.Model, 8)
		b.Run("cpu8", func(b *testing.B) { coldJIT(b, l, kernels, 8, jit.Options{CPU: "x86-64-v3"}) })
	}
}

func flashKernels(b *testing.B, m *models.Model, register int) []*kernel.Kernel {
	b.Helper()
	source := bundle.Source{Name: "flash", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}
	machine, err := target.Processor(register)
	if err != nil {
		b.Fatal(err)
	}
	bundled, _, err := bundle.Compile(source, bundle.Options{Lean: true, Target: machine})
	if err != nil {
		b.Fatal(err)
	}
	return bundled.Plan.Kernels
}

// warmJIT is what a start takes whose machine code was kept, until all kernels can
// be called.
func warmJIT(b *testing.B, l *jit.LLVM, kernels []*kernel.Kernel) {
	cache, err := codecache.Open(b.TempDir(), 64<<20)
	if err != nil {
		b.Fatal(err)
	}
	open := func() (misses int) {
		c, err := compile(kernels, Options{LLVM: l, Cache: cache, Threads: runtime.GOMAXPROCS(0)})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.program.Close(); err != nil {
			b.Fatal(err)
		}
		return c.build.Misses
	}
	open()
	b.ResetTimer()
	for range b.N {
		if n := open(); n > 0 {
			b.Fatalf("%d modules were compiled again", n)
		}
	}
}

func coldJIT(b *testing.B, l *jit.LLVM, kernels []*kernel.Kernel, register int, o jit.Options) {
	modules, _ := modulesOf(kernels, register, nil)
	var all jit.Stages
	var build *jit.Build
	var err error
	b.ResetTimer()
	for range b.N {
		if build, err = l.CompileAll(modules, o, nil, runtime.GOMAXPROCS(0), nil); err != nil {
			b.Fatal(err)
		}
		for _, s := range build.Stages {
			all.Parse += s.Parse
			all.Passes += s.Passes
			all.Code += s.Code
		}
	}
	b.ReportMetric(float64(len(modules)), "modules")
	b.ReportMetric(all.Parse.Seconds()/float64(b.N), "s-parse/op")
	b.ReportMetric(all.Passes.Seconds()/float64(b.N), "s-passes/op")
	b.ReportMetric(all.Code.Seconds()/float64(b.N), "s-code/op")
	order := make([]int, len(modules))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int { return cmp.Compare(build.Stages[y].Total(), build.Stages[x].Total()) })
	for _, i := range order[:10] {
		b.Logf("%-28s %+v, %d bytes", modules[i].Name, build.Stages[i], len(build.Objects[i]))
	}
}
