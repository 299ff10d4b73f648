package cpu

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/llvm"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/cpu/jit"
)

// code is the kernels' machine code.
type code struct {
	program   *jit.Program
	functions map[*kernel.Kernel]uintptr
	shared    int // bytes of threadgroup memory, of the kernel that takes most
	build     jit.Build
}

// compilerBytes bounds what LLVM takes of memory while it compiles a model's kernels, with
// the code that comes of it and the memory of the threads that run it. With Flash the
// process grew by 13 MB with one thread, by 31 MB with two.
func compilerBytes(threads int) int64 { return 32<<20 + int64(threads)*16<<20 }

// compile turns kernels into code, on all threads. Kernels that are alike but for
// names and where the step block has its fields share one function.
func compile(kernels []*kernel.Kernel, o Options) (*code, error) {
	c := &code{functions: map[*kernel.Kernel]uintptr{}}
	modules, symbols := modulesOf(kernels, o.LLVM.Host().Lanes(), o.Begin)
	done, end := o.Begin.Phase("compiling kernels", int64(len(modules)), "kernels")
	defer end()
	build, err := o.LLVM.CompileAll(modules, jit.Options{}, o.Cache, o.Threads, done)
	if err != nil {
		return nil, err
	}
	if c.program, err = o.LLVM.Link(build.Objects); err != nil {
		return nil, err
	}
	for i, k := range kernels {
		c.shared = max(c.shared, llvm.SharedBytes(k))
		if c.functions[k], err = c.program.Symbol(symbols[i]); err != nil {
			return nil, fmt.Errorf("kernel %s: %w", k.Name, err)
		}
	}
	c.build = *build
	c.build.Objects = nil
	return c, nil
}

// modulesOf are the kernels' modules for vector registers of so many floats, and
// for each kernel the function that it is. The largest come first, so that no
// thread begins with one when the others end.
func modulesOf(kernels []*kernel.Kernel, register int, begin progress.Begin) (modules []jit.Module, symbols []string) {
	done, end := begin.Phase("comparing kernels", int64(len(kernels)), "kernels")
	defer end()
	sizes := map[string]int{}
	for _, k := range kernels {
		canonical := llvm.Canonical(k, register)
		symbols = append(symbols, canonical.Name)
		done(1)
		if _, made := sizes[canonical.Name]; made {
			continue
		}
		sizes[canonical.Name] = size(k)
		modules = append(modules, jit.Module{Name: k.Name, ID: canonical.Name, IR: func() (string, error) { return llvm.Module(canonical, register) }})
	}
	slices.SortStableFunc(modules, func(a, b jit.Module) int { return sizes[b.ID] - sizes[a.ID] })
	return modules, symbols
}

// size is about how much there is to compile.
func size(k *kernel.Kernel) (n int) {
	kernel.Exprs(k.Body, func(*kernel.Expr) { n++ })
	return n
}
