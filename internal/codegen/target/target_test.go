package target

import (
	"strings"
	"testing"
)

// TestTable: names, and what must hold for every row.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range All {
		if seen[row.Name] || row.Name == "cpu" {
			t.Errorf("%s occurs twice", row.Name)
		}
		seen[row.Name] = true
		if got, err := Named(row.Name); err != nil || got != row {
			t.Errorf("the target %s is %+v, %v", row.Name, got, err)
		}
		if err := row.Check(); err != nil {
			t.Error(err)
		}
		if row.Doc == "" || row.Language == "" || row.Folder == "" || row.Extension == "" || row.MaxThreads%row.SimdWidth != 0 || row.LeastThreads%row.SimdWidth != 0 {
			t.Errorf("incomplete: %+v", row)
		}
		if row.Limit() != 0 || row.String() != row.Name {
			t.Errorf("%s: a limit of its own: %d, %q", row.Name, row.Limit(), row)
		}
		if row.Vector == 0 && (row.Cores == 0 || row.Memory == 0 || row.Fragments == 0) {
			t.Errorf("no cores, no memory or no fragments: %+v", row)
		}
		if p, err := Processor(row.Vector); row.Vector > 0 && (err != nil || p != row) {
			t.Errorf("the processor of %d lanes is %+v, %v", row.Vector, p, err)
		}
	}
	host, err := Named("cpu")
	if err != nil || host.Name != Host() {
		t.Errorf("cpu is %+v, %v; the host is %s", host, err, Host())
	}
	for _, name := range []string{"", "CUDA", "Metal", "cpu32", "cpu "} {
		if _, err := Named(name); err == nil || !strings.Contains(err.Error(), "cpu16") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestFragments: a set has what it was made of, and nothing else.
func TestFragments(t *testing.T) {
	all := []Fragment{F32, F16, BF16}
	for bits := range 1 << len(all) {
		var some []Fragment
		for i, f := range all {
			if bits>>i&1 != 0 {
				some = append(some, f)
			}
		}
		set := FragmentsOf(some...)
		for i, f := range all {
			if set.Has(f) != (bits>>i&1 != 0) {
				t.Errorf("the set of %v has %v: %v", some, f, set.Has(f))
			}
		}
	}
	if CUDA.Fragments.Has(F32) || !CUDA.Fragments.Has(BF16) || GPU.Fragments.Has(BF16) || !GPU.Fragments.Has(F32) {
		t.Error("Apple's GPUs multiply f32 and f16, NVIDIA's cards f16 and bf16")
	}
}

// TestWithThreads: smaller limits keep the name; what no kernel can have, or other
// numbers under a name of the table, is refused.
func TestWithThreads(t *testing.T) {
	for _, n := range []int{64, 96, 512, 992, 1024} {
		s, err := GPU.WithThreads(n)
		if err != nil || s.Name != "metal" || s.MaxThreads != n || s.Check() != nil {
			t.Errorf("%d: %+v, %v, %v", n, s, err, s.Check())
		}
		if s.Limit() != n%1024 {
			t.Errorf("%d: the limit is %d", n, s.Limit())
		}
	}
	for _, n := range []int{-32, 0, 1, 32, 65, 1000, 1056, 1 << 40} {
		if _, err := GPU.WithThreads(n); err == nil || !strings.Contains(err.Error(), "from 64 to 1024") {
			t.Errorf("%d: %v", n, err)
		}
	}
	small, err := GPU.WithThreads(64)
	if err != nil {
		t.Fatal(err)
	}
	without := GPU.WithoutHalves()
	both := small.WithoutHalves()
	if without.Check() != nil || both.Check() != nil || both.String() != "metal, threadgroups of at most 64, without halves" || without.String() != "metal, without halves" {
		t.Errorf("%v, %v: %v, %v", without, both, without.Check(), both.Check())
	}
	for _, c := range []struct {
		on, planned Target
		runs        bool
	}{
		{GPU, GPU, true}, {GPU, small, true}, {small, GPU, false}, {GPU, without, true}, {without, GPU, false}, {without, both, true}, {small, both, true},
		{without, small, false}, {GPU, CUDA, false}, {CUDA, GPU, false},
	} {
		if c.on.Runs(c.planned) != c.runs {
			t.Errorf("%v runs kernels for %v: %v", c.on, c.planned, !c.runs)
		}
	}
	if _, err := CPU8.WithThreads(16); err == nil {
		t.Error("half a SIMD group is taken")
	}
	for name, change := range map[string]func(*Target){
		"memory":  func(t *Target) { t.SharedMemory++ },
		"lanes":   func(t *Target) { t.Vector = 4 },
		"name":    func(t *Target) { t.Name = "cpu" },
		"folder":  func(t *Target) { t.Folder = "kernels" },
		"threads": func(t *Target) { t.MaxThreads *= 2 },
		"no name": func(t *Target) { t.Name = "" },
	} {
		x := GPU
		if change(&x); x.Check() == nil {
			t.Errorf("another %s is taken: %+v", name, x)
		}
	}
}
