package deepseekv4

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"smelt.example/smelt/models/checkpoint"
)

// fullSize makes a published checkpoint of full size out of sparse files: true
// names, types and shapes, and holes for data.
func fullSize(t testing.TB, args ...string) string {
	t.Helper()
	shared := os.Getenv("SMELT_SHARED")
	if shared == "" {
		t.Skip("SMELT_SHARED is unset: full-size checkpoints did not run")
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3: full-size checkpoints did not run")
	}
	dir := t.TempDir()
	args = append([]string{filepath.Join(shared, "tools/fullsize.py"), args[0], dir}, args[1:]...)
	if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// TestFullSize binds V4-Flash and V4-Pro as published, and Flash as
// mlx-community converts it. The numbers of views follow from
// docs/model.md#published-sizes: per
// layer 3 x (experts, or 1 if stacked) and one or o_groups pieces of wo_a.
func TestFullSize(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: headers of three full-size checkpoints")
	}
	tests := []struct {
		name                   string
		args                   []string
		tensors, params, views int
		gigabytes              float64
		ignored                int
		limit                  uint64 // of bytes allocated, about twice what is
	}{
		{"flash", []string{"flash"}, 69187, 1328, 1328 + 43*3*255, 159.6, 1575, 300 << 20},
		{"pro", []string{"pro"}, 145116, 1894, 1894 + 61*3*383, 864.7, 2343, 600 << 20},
		{"flash-mlx", []string{"flash", "--mlx"}, 0, 1328, 1328 + 43*7, 0, 0, 60 << 20}, // sizes not published
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := fullSize(t, test.args...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m := open(t, dir)
			runtime.ReadMemStats(&after)

			b, views := m.Binding, 0
			for i := range b.Params {
				checkViews(t, &b.Params[i])
				views += len(b.Params[i].Views)
			}
			if len(b.Params) != len(m.Graph.Params) || len(b.Params) != test.params || views != test.views || len(b.Notes) > 0 {
				t.Errorf("%d of %d parameters with %d views, notes %q; want %d with %d", len(b.Params), len(m.Graph.Params), views, b.Notes, test.params, test.views)
			}
			tensors, total := m.Checkpoint.Tensors(), int64(0)
			for _, x := range tensors {
				total += x.Bytes
			}
			if test.tensors != 0 && (len(tensors) != test.tensors || int(float64(total)/1e8+0.5) != int(test.gigabytes*10)) {
				t.Errorf("%d tensors of %.1f GB, published are %d of %.1f", len(tensors), float64(total)/1e9, test.tensors, test.gigabytes)
			}
			covered, ignored := viewedBytes(b), 0
			for _, g := range b.Ignored {
				covered += g.Bytes
				ignored += g.Tensors
			}
			if covered != total || ignored != test.ignored {
				t.Errorf("views and %d ignored tensors (want %d) cover %d of %d bytes", ignored, test.ignored, covered, total)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > test.limit {
				t.Errorf("opening allocated %d MB", grown>>20)
			} else {
				t.Logf("%d tensors, %.1f GB: opening allocated %d MB", len(tensors), float64(total)/1e9, grown>>20)
			}
		})
	}
}

// checkViews requires a parameter's views to follow each other without gaps.
func checkViews(t *testing.T, p *checkpoint.Param) {
	t.Helper()
	next := 0
	for _, v := range p.Views {
		if v.First != next {
			t.Errorf("%s: a view starts at row %d, the one before ends at %d", p.Name, v.First, next)
		}
		next += v.Rows
	}
	if next != p.Rows {
		t.Errorf("%s: the views have %d rows of %d", p.Name, next, p.Rows)
	}
}

// viewedBytes adds up each view's share of its tensors, by rows.
func viewedBytes(b *checkpoint.Binding) (n int64) {
	for _, p := range b.Params {
		for _, v := range p.Views {
			stored := product(v.Weight.Shape[:len(v.Weight.Shape)-1])
			for _, x := range []*checkpoint.Tensor{v.Weight, v.Scales, v.Biases} {
				if x != nil {
					n += x.Bytes * int64(v.Rows) / stored
				}
			}
		}
	}
	return n
}

// TestCoverage: in every fixture each byte is in one view or ignored.
func TestCoverage(t *testing.T) {
	for _, dir := range fixtures(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m := open(t, dir)
			total, covered := int64(0), viewedBytes(m.Binding)
			for _, x := range m.Checkpoint.Tensors() {
				total += x.Bytes
			}
			for _, g := range m.Binding.Ignored {
				covered += g.Bytes
			}
			if covered != total {
				t.Errorf("%d of %d bytes", covered, total)
			}
			for i := range m.Binding.Params {
				checkViews(t, &m.Binding.Params[i])
			}
		})
	}
}

func benchmarkOpen(b *testing.B, args ...string) {
	dir := fullSize(b, args...)
	b.ReportAllocs()
	tensors := 0
	for b.Loop() {
		m, err := openModel(dir)
		if err != nil {
			b.Fatal(err)
		}
		tensors = len(m.Checkpoint.Tensors())
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(tensors)*float64(b.N)/b.Elapsed().Seconds(), "tensors/s")
}

// BenchmarkOpenFlash opens and binds V4-Flash as published.
func BenchmarkOpenFlash(b *testing.B) { benchmarkOpen(b, "flash") }

// BenchmarkOpenPro opens and binds V4-Pro as published.
func BenchmarkOpenPro(b *testing.B) { benchmarkOpen(b, "pro") }

// BenchmarkOpenFlashMLX opens and binds V4-Flash with stacked experts.
func BenchmarkOpenFlashMLX(b *testing.B) { benchmarkOpen(b, "flash", "--mlx") }
