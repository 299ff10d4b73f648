// Package target is the table of machines that kernels are made for: their names,
// the numbers that schedules depend on, and the form of their kernels' text. It
// knows no kernel; package printer has the printers.
package target

import (
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"
)

// Language is the form of a kernel's text, in words.
type Language string

// The languages there are printers for.
const (
	Metal Language = "Metal"
	LLVM  Language = "LLVM IR"
)

// Target is a machine: a row of the table All, or a variation of one, with a smaller
// limit of threads (see WithThreads) or without halves (see WithoutHalves).
type Target struct {
	Name         string
	Doc          string
	SimdWidth    int // lanes of a SIMD group, unless a kernel chooses otherwise
	MaxThreads   int // of a threadgroup
	LeastThreads int // the smallest MaxThreads with which every kernel can be made
	SharedMemory int // bytes of a threadgroup
	// Cores is how many cores the largest machine of the kind has that kernels are
	// cut for: a launch with fewer threadgroups than a few times as many leaves some
	// idle. 0: what runs kernels deals out threadgroups itself.
	Cores int
	// Vector is, where a SIMD group is a program for vector registers, their
	// lanes of 32 bits; kernels may have SIMD groups of any power of two of lanes
	// then. 0: SimdWidth is all the machine has.
	Vector int
	// Halves: halves become float32 in an instruction or two, and subnormal ones
	// exactly. Small floats are unpacked through them, else bit by bit.
	Halves bool
	// Fragments are the types whose 8 x 8 fragments the machine multiplies itself; of
	// others products are made of smaller instructions.
	Fragments Fragments
	// Memory is what the largest machine of the kind gives kernels, in bytes; 0: what
	// a machine has is all there is to know.
	Memory    int64
	Language  Language
	Extension string // of files of the kernels' text
	Folder    string // of a bundle, where they lie
}

// GPU is Apple silicon from M1 on: SIMD groups of 32, 1024 threads and 32 KB a
// threadgroup (Metal feature set tables). An M3 Ultra has 80 cores and at most 512 GB,
// of which Metal recommends three quarters.
var GPU = Target{Name: "metal", Doc: "Apple silicon's GPU", SimdWidth: 32, MaxThreads: 1024, LeastThreads: 64, SharedMemory: 32 << 10, Cores: 80, Halves: true,
	Fragments: FragmentsOf(F32, F16), Memory: 512e9 * 3 / 4,
	Language: Metal, Extension: ".metal", Folder: "kernels/metal"}

// CUDA is NVIDIA's cards of compute capability 7.5 and newer: warps of 32, blocks of
// 1024 threads, and the 48 KB of shared memory that a block has without being asked
// (CUDA C++ Programming Guide, compute capabilities). An H200 has 132 multiprocessors,
// and a B300 288 GB. Cards before 8.0 multiply no fragments of bf16 themselves.
var CUDA = Target{Name: "cuda", Doc: "NVIDIA's cards", SimdWidth: 32, MaxThreads: 1024, LeastThreads: 64, SharedMemory: 48 << 10, Cores: 132, Halves: true,
	Fragments: FragmentsOf(F16, BF16), Memory: 288e9,
	Language: Metal, Extension: ".metal", Folder: "kernels/cuda"}

// Processors, by the lanes of their vector registers.
var (
	CPU4  = processor(4, "processors with vector registers of 128 bits, as Apple silicon's")
	CPU8  = processor(8, "processors with AVX2")
	CPU16 = processor(16, "processors with AVX-512")
)

// All are the targets. A name occurs once.
var All = []Target{GPU, CUDA, CPU4, CPU8, CPU16}

// processor is the target of vector registers of so many lanes of 32 bits. A
// threadgroup is one SIMD group: a program for one core, whose barriers cost
// nothing. Threadgroup memory must fit in the second level of its cache, beside the data
// that streams through.
func processor(lanes int, doc string) Target {
	return Target{Name: nameOf(lanes), Doc: doc, SimdWidth: 32, MaxThreads: 32, LeastThreads: 32, SharedMemory: 256 << 10, Vector: lanes, Halves: true,
		Language: LLVM, Extension: ".ll", Folder: "kernels/cpu"}
}

func nameOf(lanes int) string { return fmt.Sprintf("cpu%d", lanes) }

// Fragment is a type of the numbers in a fragment.
type Fragment uint8

// The types of fragments.
const (
	F32 Fragment = iota
	F16
	BF16
)

// Fragments is a set of types of fragments.
type Fragments uint8

// FragmentsOf is the set of some types.
func FragmentsOf(types ...Fragment) (set Fragments) {
	for _, f := range types {
		set |= 1 << f
	}
	return set
}

// Has tells whether a type is in the set.
func (s Fragments) Has(f Fragment) bool { return s&(1<<f) != 0 }

// Host names the target of this machine's processor.
func Host() string { return nameOf(hostLanes()) }

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

// Processor is the target of vector registers of so many lanes; the error names
// those there are.
func Processor(lanes int) (Target, error) { return Named(nameOf(lanes)) }

// Named is the target of that name; "cpu" is this machine's processor. The error
// lists the names there are.
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

// WithThreads is the target with threadgroups of at most so many threads: whole
// SIMD groups, no more than the target's own limit and no fewer than its kernels
// need.
func (t Target) WithThreads(most int) (Target, error) {
	if most < t.LeastThreads || most > t.MaxThreads || most%t.SimdWidth != 0 {
		return Target{}, fmt.Errorf("threadgroups of %d threads at most; target %s takes multiples of %d from %d to %d", most, t.Name, t.SimdWidth, t.LeastThreads, t.MaxThreads)
	}
	t.MaxThreads = most
	return t, nil
}

// WithoutHalves is the target for a machine that does not convert halves exactly.
func (t Target) WithoutHalves() Target {
	t.Halves = false
	return t
}

// Runs tells whether a machine of the target runs kernels that were planned for another
// one: a variation of the same row that asks for no more.
func (t Target) Runs(other Target) bool {
	return t.Name == other.Name && other.MaxThreads <= t.MaxThreads && (t.Halves || !other.Halves)
}

// Limit is the target's limit of threads where it is smaller than that of the
// table's row, else 0.
func (t Target) Limit() int {
	if row, err := Named(t.Name); err == nil && row.MaxThreads == t.MaxThreads {
		return 0
	}
	return t.MaxThreads
}

// Check refuses a target that is neither a row of the table nor a variation of one: its
// name would stand for other numbers.
func (t Target) Check() error {
	row, err := Named(t.Name)
	if err == nil {
		row, err = row.WithThreads(t.MaxThreads)
	}
	if !t.Halves {
		row = row.WithoutHalves()
	}
	if err == nil && row != t {
		err = fmt.Errorf("target %q has other numbers than the table's: %+v, expected %+v", t.Name, t, row)
	}
	return err
}

// String is the name, with what is not the table's.
func (t Target) String() string {
	s := t.Name
	if n := t.Limit(); n != 0 {
		s += fmt.Sprintf(", threadgroups of at most %d", n)
	}
	if t.bitwise() {
		s += ", without halves"
	}
	return s
}

// bitwise tells that the target is its row without halves.
func (t Target) bitwise() bool {
	row, err := Named(t.Name)
	return err == nil && row.Halves && !t.Halves
}

// Threads is the size of a threadgroup that is to have `want` threads.
func (t Target) Threads(want int) int { return min(want, t.MaxThreads) }

// Groups is how many of `want` SIMD groups a threadgroup can have.
func (t Target) Groups(want int) int { return min(want, t.MaxThreads/t.SimdWidth) }
