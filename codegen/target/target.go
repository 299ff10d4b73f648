// Package target is the table of machines that kernels are printed for.
package target

import (
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"

	"smelt/codegen/kernel"
	"smelt/codegen/llvm"
	"smelt/codegen/lower"
	"smelt/codegen/msl"
)

// Target is a machine with the text its kernels are printed in.
type Target struct {
	Name      string
	Doc       string
	Schedule  lower.Target
	Language  string // of the text, for people
	Extension string // of files of that text
	Folder    string // of a bundle, where they lie
	Print     func(*kernel.Kernel) (string, error)
}

// All are the targets.
var All = []Target{
	{Name: "metal", Doc: "Apple silicon's GPU", Schedule: lower.Metal, Language: "Metal", Extension: ".metal", Folder: "kernels/metal", Print: msl.Print},
	processor(4, "processors with vector registers of 128 bits, as Apple silicon's"),
	processor(8, "processors with AVX2"),
	processor(16, "processors with AVX-512"),
}

// processor is the target of vector registers of so many lanes of 32 bits.
func processor(lanes int, doc string) Target {
	return Target{Name: fmt.Sprintf("cpu%d", lanes), Doc: doc, Schedule: lower.CPU(lanes), Language: "LLVM IR", Extension: ".ll", Folder: "kernels/cpu", Print: func(k *kernel.Kernel) (string, error) { return llvm.Module(k, lanes) }}
}

// Host names the target of this machine's processor.
func Host() string { return fmt.Sprintf("cpu%d", hostLanes()) }

// hostLanes is the width of this machine's vector registers in f32.
func hostLanes() int {
	switch {
	case runtime.GOARCH == "amd64" && cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW:
		return 16
	case runtime.GOARCH == "amd64" && cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		return 8
	}
	return 4
}

// Named is the target of that name; "cpu" is this machine's processor.
func Named(name string) (Target, error) {
	if name == "cpu" {
		name = Host()
	}
	names := []string{"cpu"}
	for _, t := range All {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return Target{}, fmt.Errorf("no such target; expected %s", strings.Join(names, ", "))
}

// Of is the target that has that schedule.
func Of(s lower.Target) (Target, error) {
	for _, t := range All {
		if t.Schedule == s {
			return t, nil
		}
	}
	return Target{}, fmt.Errorf("no target has the schedule %q", s.Name)
}
