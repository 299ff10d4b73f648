package standin

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// faults are launches of testdata/faults.metal and what their errors say.
var faults = []struct {
	kernel  string
	threads uint32
	width   int
	want    []string
	ends    bool // the host does not survive
}{
	{"barrier_missed", 64, 0, []string{
		"kernel barrier_missed, threadgroup (0,0,0), thread 7:",
		"threadgroup_barrier at 16:5 waits for it forever: 63 of the threadgroup's 64 threads are there, but this one has ended"}, false},
	{"barriers_crossed", 64, 0, []string{"threadgroup_barrier at 25:9", "threadgroup_barrier at 23:9"}, false},
	{"sum_missed", 64, 0, []string{"thread 40: simd_sum at 32:32 waits for it forever: 31 of the SIMD group's 32 lanes are there, but this one has ended"}, false},
	{"sum_before_barrier", 64, 0, []string{"thread 3: simd_sum at 40:13 waits", "but this one waits in threadgroup_barrier at 42:5"}, false},
	{"sums_crossed", 32, 0, []string{"is in simd_sum at 48:53 while lane 0 of its SIMD group is in simd_sum at 48:36"}, false},
	{"sums_uneven", 32, 0, []string{"thread 0: simd_sum at 55:13 waits for it forever: 1 of"}, false},
	{"product_missed", 32, 0, []string{"thread 9: simdgroup_multiply_accumulate at 64:9 waits"}, false},
	{"lane_beyond", 32, 0, []string{"thread 31: simd_shuffle at 83:20 reads a lane that the SIMD group does not have 32"}, false},
	{"product_missed", 16, 0, []string{"needs a whole SIMD group; lanes of this one: 16"}, false},
	{"too_much_memory", 32, 0, []string{"32784 bytes of threadgroup memory"}, false},
	{"endless", 32, 0, []string{"kernel endless, threadgroup (0,0,0), thread 5 (last in threadgroup_barrier at 74:5): still running"}, true},
}

func checkFault(t *testing.T, r rig, kernel string, threads uint32, width int, wants []string) {
	t.Helper()
	in, out := put(r, noise(64, 1)), r.space(64)
	err := r.Launch(Launch{Kernel: kernel, Grid: [3]uint32{1, 1, 1}, Threads: threads, Args: args(width, in, out), Limit: 200 * time.Millisecond})
	for _, want := range wants {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", kernel, err, want)
		}
	}
}

// works is a launch without fault.
func works(t *testing.T, r rig) {
	t.Helper()
	out := r.space(64)
	r.launch(Launch{Kernel: "unwritten", Threads: 64, Args: args(64, out, out)})
	for i, got := range get[float32](r, out, 64) {
		if got != float32(63-i) {
			t.Fatalf("unwritten: %d is %v, want %d", i, got, 63-i)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	if err := compiler(t).Check("faults.metal", testdata(t, "faults.metal")); err != nil {
		t.Error(err)
	}
	for _, sanitize := range []bool{false, true} {
		r := start(t, sanitize)
		for _, f := range faults {
			checkFault(t, r, f.kernel, f.threads, f.width, f.want)
			if !f.ends {
				works(t, r)
				continue
			}
			if _, err := r.Alloc(1, 0); err == nil || !strings.Contains(err.Error(), f.want[0]) {
				t.Errorf("%s: alloc afterwards: %v, want the same error", f.kernel, err)
			}
			r = start(t, sanitize)
		}
	}
}

// TestCrashes: what ends the host without sanitizers.
func TestCrashes(t *testing.T) {
	t.Parallel()
	checkFault(t, start(t, false), "divides", 1, 0, []string{"kernel divides, threadgroup (0,0,0), thread 0: integer division by zero"})
	checkFault(t, start(t, false), "unreachable_memory", 1, 0, []string{"thread 0: invalid memory access"})
}

// TestSanitized: what only sanitizers find; accesses at the limits are fine.
func TestSanitized(t *testing.T) {
	t.Parallel()
	if p := program(t, true); p.symbolizer == "" {
		t.Skipf("reports have no names of functions and no lines: install addr2line (Debian's binutils) or llvm-symbolizer (llvm-%d)", compiler(t).version)
	}
	for _, f := range []struct {
		kernel      string
		threads     uint32
		fine, wrong int
		want        []string
	}{
		{"read_beyond", 1, 63, 64, []string{"heap-buffer-overflow", "READ of size 4", "read_beyond", "faults.metal:109"}},
		{"read_beyond", 1, 0, -1, []string{"heap-buffer-overflow", "READ of size 4"}},
		{"write_beyond", 32, 32, 33, []string{"heap-buffer-overflow", "WRITE of size 4", "kernel write_beyond, threadgroup (0,0,0), thread 31"}},
		{"shared_beyond", 32, 32, 33, []string{"faults.metal:122", "thread 31"}},
		{"matrix_beyond", 32, 8, 9, []string{"global-buffer-overflow", "WRITE of size 4", "tile", "kernel matrix_beyond"}},
		{"overflows", 1, 32767, 32768, []string{"signed integer overflow", "faults.metal:140"}},
		{"shifts_far", 1, 31, 32, []string{"shift exponent 32 is too large"}},
		{"divides", 1, 1, 0, []string{"division by zero"}},
	} {
		r := start(t, true)
		checkFine(t, r, f.kernel, f.threads, f.fine)
		checkFault(t, r, f.kernel, f.threads, f.wrong, f.want)
	}
}

func checkFine(t *testing.T, r rig, kernel string, threads uint32, width int) {
	t.Helper()
	r.launch(Launch{Kernel: kernel, Threads: threads, Args: args(width, put(r, noise(64, 1)), r.space(64))})
}

// TestFoundByComparing: what two launches with another poison or seed show.
func TestFoundByComparing(t *testing.T) {
	r := start(t, false)
	run := func(kernel string, width int, poison byte, seed uint64) []float32 {
		out, err := r.Alloc(4*64, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.launch(Launch{Kernel: kernel, Grid: [3]uint32{2}, Threads: 64, Args: args(width, out, out), Poison: poison, Seed: seed})
		return get[float32](r, out, 64)
	}
	for _, test := range []struct {
		name   string
		a, b   []float32
		differ bool
	}{
		{"unwritten threadgroup memory, two poisons", run("unwritten", 63, 1, 0), run("unwritten", 63, 2, 0), true},
		{"written threadgroup memory, two poisons", run("unwritten", 64, 1, 0), run("unwritten", 64, 2, 0), false},
		{"forgotten barrier, two seeds", run("barrier_forgotten", 0, 0, 0), run("barrier_forgotten", 0, 0, 1), true},
		{"all barriers, two seeds", run("unwritten", 64, 0, 0), run("unwritten", 64, 0, 1), false},
		{"dependent threadgroups, two seeds", run("groups_depend", 0, 0, 0), run("groups_depend", 0, 0, 1), true},
	} {
		if slices.Equal(test.a, test.b) == test.differ {
			t.Errorf("%s: results differ: %v, want %v", test.name, !test.differ, test.differ)
		}
	}
}
