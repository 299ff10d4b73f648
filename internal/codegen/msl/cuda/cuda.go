// Package cuda makes CUDA C++ of the text of a Metal kernel, which stays as it is:
// folder include has a stand-in for the Metal Standard Library that NVRTC compiles it
// against, and a function behind the text, which the driver launches, calls the
// kernel.
//
// That function takes the argument block by value, so that kernels read it from
// constant memory, the address of the step block, and where to leave the number of
// the dispatch that began last, for messages about faults.
package cuda

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"smelt.example/smelt/internal/codegen/msl/head"
)

//go:embed include
var include embed.FS

// Header is a file that texts include, by its name.
type Header struct{ Name, Text string }

// Headers are the stand-in's files.
func Headers() (list []Header) {
	err := fs.WalkDir(include, "include", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := include.ReadFile(path)
		list = append(list, Header{strings.TrimPrefix(path, "include/"), string(text)})
		return err
	})
	if err != nil {
		panic(err) // the files are part of the program
	}
	return list
}

// Options are NVRTC's for a card of a compute capability: 90 for 9.0. Nothing is
// contracted, and divisions, square roots and subnormals are exact as they are by
// default.
func Options(capability int) []string {
	return []string{fmt.Sprintf("--gpu-architecture=sm_%d", capability), "--fmad=false", "--std=c++17", "--device-as-default-execution-space", "--disable-warnings"}
}

// Entry is the function that is launched for a kernel.
type Entry struct {
	Name    string
	Threads int // the most of a threadgroup, which the text names
	// Args and Step tell whether the kernel reads the argument block and the step block.
	Args, Step bool
}

// positions says what a parameter with an attribute is given. Threadgroups and SIMD
// groups count along x only.
var positions = map[string]string{
	"threadgroup_position_in_grid":   "::uint3{blockIdx.x, blockIdx.y, blockIdx.z}",
	"thread_index_in_threadgroup":    "threadIdx.x",
	"thread_index_in_simdgroup":      "threadIdx.x % 32",
	"simdgroup_index_in_threadgroup": "threadIdx.x / 32",
}

// Source is the text of one kernel with the function that is launched.
func Source(text string) (string, Entry, error) {
	kernels, err := head.Kernels(text)
	if err != nil {
		return "", Entry{}, err
	}
	if len(kernels) != 1 {
		return "", Entry{}, fmt.Errorf("%d kernels in a text, expected one", len(kernels))
	}
	k := kernels[0]
	e := Entry{Name: "launch_" + k.Name, Threads: k.MaxThreads}
	var args []string
	for _, p := range k.Params {
		value, err := e.argument(p)
		if err != nil {
			return "", Entry{}, fmt.Errorf("kernel %s: %w", k.Name, err)
		}
		args = append(args, value)
	}
	params := []string{"unsigned *begun", "unsigned number"}
	if e.Step {
		params = slices.Insert(params, 0, "const Step *step")
	}
	if e.Args {
		params = slices.Insert(params, 0, "const __grid_constant__ Args args")
	}
	return text + fmt.Sprintf(`
extern "C" __global__ void __launch_bounds__(%d, %d) %s(%s)
{
    if (begun && threadIdx.x == 0 && blockIdx.x == 0 && blockIdx.y == 0 && blockIdx.z == 0)
        *(volatile unsigned *)begun = number;
    %s(%s);
}
`, e.Threads, e.together(), e.Name, strings.Join(params, ", "), k.Name, strings.Join(args, ", ")), e, nil
}

// together is how many threadgroups a core is to hold at least, which bounds their
// registers: 512 threads, for loads to hide behind each other, and two of those that
// have 512 by themselves, for one alone would leave the core empty while it waits.
func (e *Entry) together() int {
	if e.Threads > 256 && e.Threads <= 512 {
		return 2
	}
	return max(1, 512/max(e.Threads, 1))
}

// argument is what the kernel's parameter is given.
func (e *Entry) argument(p head.Param) (string, error) {
	switch {
	case p.Attribute == "buffer" && p.Index == "0" && p.Type == "Args":
		e.Args = true
		return "args", nil
	case p.Attribute == "buffer" && p.Index == "1" && p.Type == "Step":
		e.Step = true
		return "*step", nil
	case p.Attribute == "buffer":
		return "", fmt.Errorf("parameter %q: only buffer 0 (Args) and buffer 1 (Step) exist", p.Text)
	}
	value, ok := positions[p.Attribute]
	if !ok {
		return "", fmt.Errorf("parameter %q: attribute %s is not known here", p.Text, p.Attribute)
	}
	return value, nil
}
