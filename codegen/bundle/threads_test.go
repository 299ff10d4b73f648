package bundle

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/models"
)

// TestFewerThreads: a plan made anew with smaller threadgroups keeps its target's
// name, can be printed, written and read back to the same plan.
func TestFewerThreads(t *testing.T) {
	inFull(t)
	m, err := models.Open("../../examples/storyteller/checkpoint", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	first, _, err := Compile(Source{Name: m.Graph.Name, Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, Options{Lean: true})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "story")
	limits := []int{64, 256, 512}
	if testing.Short() {
		limits = limits[:1]
	}
	for _, n := range limits {
		to, err := target.GPU.WithThreads(n)
		if err != nil {
			t.Fatal(err)
		}
		b, err := first.For(to)
		if err != nil {
			t.Fatalf("%d threads: %v", n, err)
		}
		for _, k := range b.Plan.Kernels {
			if k.Schedule.Threads > n {
				t.Errorf("%d threads: kernel %s has %d", n, k.Name, k.Schedule.Threads)
			}
			if text, err := b.Text(k.Name); err != nil || !strings.Contains(text, k.Name) {
				t.Fatalf("%d threads: kernel %s has no text: %v", n, k.Name, err)
			}
		}
		if _, err := b.Write(t.Context(), dir); err != nil {
			t.Fatalf("%d threads: %v", n, err)
		}
		read, err := Read(dir)
		if err != nil {
			t.Fatalf("%d threads: %v", n, err)
		}
		if read.Plan.Target != to || b.Plan.Target != to {
			t.Errorf("%d threads: the target is %+v", n, read.Plan.Target)
		}
		samePlans(t, b, read)
		if again, err := read.For(target.GPU); err != nil || again != read {
			t.Errorf("%d threads: planned again for the same target: %v", n, err)
		}
	}
	read, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := read.For(target.CPU8); err != nil || other.Plan.Target != target.CPU8 {
		t.Errorf("not planned for processors: %v", err)
	}
}

// TestWithoutHalves: a plan for a machine that does not convert halves exactly has
// other kernels, is written and read back to the same plan, and runs also where halves
// are exact.
func TestWithoutHalves(t *testing.T) {
	first, _, err := Compile(source(t, fixture), Options{Lean: true, Context: 64, Chunk: 32})
	if err != nil {
		t.Fatal(err)
	}
	without := target.GPU.WithoutHalves()
	b, err := first.For(without)
	if err != nil {
		t.Fatal(err)
	}
	if b == first || reflect.DeepEqual(b.Plan.Kernels, first.Plan.Kernels) {
		t.Error("the kernels are those with halves")
	}
	for _, k := range b.Plan.Kernels {
		if text, err := b.Text(k.Name); err != nil || strings.Contains(text, "half2") {
			t.Errorf("kernel %s has halves: %v", k.Name, err)
		}
	}
	dir := filepath.Join(t.TempDir(), "bundle")
	if _, err := b.Write(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	read, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if read.Plan.Target != without {
		t.Errorf("the target is %v", read.Plan.Target)
	}
	samePlans(t, b, read)
	if again, err := read.For(target.GPU); err != nil || again != read {
		t.Errorf("planned again for a machine that converts halves: %v", err)
	}
}

// TestWanting: planned for more wanted rows, a bundle has the same kernels and caches,
// and room for their logits; planned for no more it is itself.
func TestWanting(t *testing.T) {
	b, _, err := Compile(source(t, fixture), Options{Lean: true, Context: 64, Chunk: 32, Wanted: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{-1, 0, 3} {
		if same, err := b.Wanting(n); err != nil || same != b {
			t.Errorf("for %d rows: planned anew, %v", n, err)
		}
	}
	more, err := b.Wanting(32)
	if err != nil || more.Plan.Wanted != 32 || b.Plan.Wanted != 3 {
		t.Fatalf("%v, for %d rows, and the first for %d", err, more.Plan.Wanted, b.Plan.Wanted)
	}
	if !reflect.DeepEqual(more.Plan.Kernels, b.Plan.Kernels) || more.Plan.CacheBytes != b.Plan.CacheBytes {
		t.Error("other kernels or caches")
	}
	if was, is := b.Plan.Steps[program.Prefill].Results[0].Size, more.Plan.Steps[program.Prefill].Results[0].Size; is != 32*256*4 || was != 3*256*4 {
		t.Errorf("logits have %d bytes, and had %d", is, was)
	}
	if _, err := b.Wanting(plan.MaxWanted + 1); err == nil {
		t.Error("planned for more rows than a plan may have")
	}
}

// TestTargetRead: what bundle.json may say of its target.
func TestTargetRead(t *testing.T) {
	for _, c := range []struct {
		name    string
		threads int
		want    string // "" if it is taken
	}{
		{"metal", 0, ""}, {"metal", 512, ""}, {"cpu16", 0, ""},
		{"cpu", 0, "target"}, {"", 0, "target"}, {"CUDA", 0, "target"},
		{"metal", 32, "threads"}, {"metal", 65, "threads"}, {"metal", 1056, "threads"}, {"metal", -64, "threads"}, {"metal", 1024, "threads"}, {"cpu8", 16, "threads"}, {"cpu8", 32, "threads"},
	} {
		got, err := (&document{Target: c.name, Threads: c.threads}).target()
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want+": ") {
			t.Errorf("%s, %d threads: %v", c.name, c.threads, err)
		}
		if err == nil && (got.Name != c.name || c.threads != 0 && got.MaxThreads != c.threads) {
			t.Errorf("%s, %d threads: %+v", c.name, c.threads, got)
		}
	}
}

// samePlans compares two bundles' plans, in kernels and all else.
func samePlans(t *testing.T, a, b *Bundle) {
	t.Helper()
	if len(a.Plan.Kernels) != len(b.Plan.Kernels) {
		t.Fatalf("%d kernels and %d", len(a.Plan.Kernels), len(b.Plan.Kernels))
	}
	if !reflect.DeepEqual(a.Module, b.Module) {
		t.Errorf("another module")
	}
	if reflect.DeepEqual(a.Plan, b.Plan) {
		return
	}
	t.Errorf("another plan")
	for i, k := range a.Plan.Kernels {
		if !reflect.DeepEqual(k, b.Plan.Kernels[i]) {
			t.Errorf("kernel %s was read back as\n%s", k.Name, kernel.Print(b.Plan.Kernels[i]))
		}
	}
}
