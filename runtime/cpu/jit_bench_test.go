package cpu

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"smelt/codegen/bundle"
	"smelt/codegen/kernel"
	"smelt/codegen/llvm"
	"smelt/codegen/lower"
	"smelt/models/synthetic"
	"smelt/runtime/cpu/jit"
)

// BenchmarkColdJIT compiles all kernels of Flash's 43 layers with nothing kept,
// for this machine and, where it has wider registers, for narrower ones.
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
	for _, x := range []struct {
		lanes   int
		options jit.Options
	}{
		{16, jit.Options{}},
		{8, jit.Options{CPU: "znver3"}},
		{4, jit.Options{CPU: "haswell", Features: "-avx2"}},
	} {
		bundled, _, err := bundle.Compile(bundle.Source{Name: "flash", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, bundle.Options{Lean: true, Target: lower.CPU(x.lanes)})
		if err != nil {
			b.Fatal(err)
		}
		x.options.Passes = os.Getenv("XPASSES")
		if v := os.Getenv("XLEVEL"); v != "" {
			x.options.Codegen = jit.CodegenLevel(v[0] - '0')
		}
		b.Run(fmt.Sprint("cpu", x.lanes), func(b *testing.B) {
			var modules []jit.Module
			made := map[string]bool{}
			for _, k := range bundled.Plan.Kernels {
				c := llvm.Canonical(k, x.lanes)
				if !made[c.Name] {
					made[c.Name] = true
					modules = append(modules, jit.Module{Name: k.Name, ID: c.Name, IR: func() (string, error) { return llvm.Module(c, x.lanes) }})
				}
			}
			for range b.N {
				build, err := l.CompileAll(modules, x.options, nil, runtime.GOMAXPROCS(0))
				if err != nil {
					b.Fatal(err)
				}
				var all jit.Stages
				for _, s := range build.Stages {
					all.Parse += s.Parse
					all.Passes += s.Passes
					all.Code += s.Code
				}
				b.ReportMetric(float64(len(modules)), "modules")
				b.ReportMetric(all.Parse.Seconds(), "parse-s")
				b.ReportMetric(all.Passes.Seconds(), "passes-s")
				b.ReportMetric(all.Code.Seconds(), "code-s")
				b.ReportMetric(build.Compiling.Seconds(), "llvm-s")
				if os.Getenv("EACH") != "" {
					var lines []string
					for i, s := range build.Stages {
						lines = append(lines, fmt.Sprintf("%6.0f %5.0f %5.0f %5.0f %7d %s", 1e3*s.Total().Seconds(), 1e3*s.Parse.Seconds(), 1e3*s.Passes.Seconds(), 1e3*s.Code.Seconds(), len(build.Objects[i]), modules[i].Name))
					}
					slices.Sort(lines)
					fmt.Println(strings.Join(lines, "\n"))
				}
			}
		})
	}
	_ = kernel.Print
}
