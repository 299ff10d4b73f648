package synthetic

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/models/deepseekv4"
	"smelt.example/smelt/models/checkpoint"
)

// TestPublishedSizes: all layers of Flash and Pro have as many tensors and
// bytes as the published checkpoints, without the multi-token-prediction block.
// That is one more layer, window only and routed by score, with tensors of its
// own: e_proj and h_proj (FP8, hidden x hidden, each with scales), three norms
// and the mixing of the streams.
func TestPublishedSizes(t *testing.T) {
	for _, test := range []struct {
		name      string
		config    func() ([]byte, error)
		tensors   int
		gigabytes float64
		mtp       int
	}{{"flash", Flash, 69187, 159.6, 1575}, {"pro", Pro, 145116, 864.7, 2343}} {
		all := list(t, test.config, Options{})
		bytes, layer := int64(0), int64(0)
		for _, x := range all {
			bytes += x.bytes()
			if strings.HasPrefix(x.Name, "layers.3.") && !strings.Contains(x.Name, ".compressor.") && !strings.Contains(x.Name, ".indexer.") {
				layer += x.bytes()
			}
		}
		hidden := all[slices.IndexFunc(all, func(x stored) bool { return x.Name == "norm.weight" })].Shape[0]
		own := 2*(hidden*hidden+hidden/128*(hidden/128)) + 3*2*hidden + 4*(4*4*hidden+4+1)
		if len(all) != test.tensors-test.mtp {
			t.Errorf("%s: %d tensors, published are %d less %d", test.name, len(all), test.tensors, test.mtp)
		}
		if got := fmt.Sprintf("%.1f", float64(bytes+layer+own)/1e9); got != fmt.Sprintf("%.1f", test.gigabytes) {
			t.Errorf("%s: %s GB, published are %.1f", test.name, got, test.gigabytes)
		}
	}
}

// list is what a checkpoint would store, without reserving it.
func list(t *testing.T, config func() ([]byte, error), o Options) []stored {
	t.Helper()
	raw, err := config()
	if err == nil {
		raw, err = adapt("x", raw, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := deepseekv4.ParseConfig(raw, "x")
	if err != nil {
		t.Fatal(err)
	}
	graph, err := deepseekv4.Graph(cfg)
	if err != nil {
		t.Fatal(err)
	}
	all, err := tensors(graph, cfg, o.Format)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRealNames compares names, types and shapes with the published layouts as
// an independent tool lists them, layers renumbered.
func TestRealNames(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: headers of three full-size checkpoints")
	}
	shared := os.Getenv("SMELT_SHARED")
	if shared == "" {
		t.Skip("SMELT_SHARED is unset: the published layouts were not compared")
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3: the published layouts were not compared")
	}
	for _, test := range []struct {
		model  string
		config func() ([]byte, error)
		format Format
	}{{"flash", Flash, Official}, {"flash", Flash, MLX4}, {"pro", Pro, Official}} {
		args := []string{filepath.Join(shared, "tools/fullsize.py"), test.model, t.TempDir()}
		if test.format == MLX4 {
			args = append(args, "--mlx")
		}
		if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		whole, err := checkpoint.Open(args[2])
		if err != nil {
			t.Fatal(err)
		}
		raw, err := test.config()
		if err != nil {
			t.Fatal(err)
		}
		for _, layers := range [][]int{First(4), {2, 3, 4, 5}} {
			c := mustNew(t, test.model, raw, Options{Layers: layers, Format: test.format})
			got, want := described(c.Checkpoint.Tensors()), renumbered(whole.Tensors(), layers)
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if got[name] != want[name] {
					t.Errorf("%s %s: %s is %q, published is %q", test.model, test.format, name, got[name], want[name])
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s %s: %d tensors, published are %d", test.model, test.format, len(got), len(want))
			}
		}
		if err := whole.Close(); err != nil {
			t.Error(err)
		}
	}
}

func described(tensors []checkpoint.Tensor) map[string]string {
	m := map[string]string{}
	for _, x := range tensors {
		m[x.Name] = fmt.Sprint(x.DType, x.Shape)
	}
	return m
}

// renumbered is the tensors of the layers given, and those of none.
func renumbered(tensors []checkpoint.Tensor, layers []int) map[string]string {
	m := map[string]string{}
	for name, what := range described(tensors) {
		part, rest, _ := strings.Cut(strings.TrimPrefix(name, "layers."), ".")
		i := slices.IndexFunc(layers, func(l int) bool { return fmt.Sprint(l) == part })
		switch {
		case strings.HasPrefix(name, "mtp."):
		case !strings.HasPrefix(name, "layers."):
			m[name] = what
		case i >= 0:
			m[fmt.Sprintf("layers.%d.%s", i, rest)] = what
		}
	}
	return m
}

// TestShards: files stay below the limit of one mapping, and nothing but the
// headers is in memory.
func TestShards(t *testing.T) {
	raw, err := Flash()
	if err != nil {
		t.Fatal(err)
	}
	c := mustNew(t, "flash", raw, Options{Layers: First(4)})
	files := c.Checkpoint.Files
	total := int64(0)
	for i, f := range files {
		data := f.Size() - f.(*safetensors.File).DataStart()
		total += data
		if data > shardBytes {
			t.Errorf("%s has %d bytes", f.Path(), f.Size())
		}
		if want := fmt.Sprintf("flash/model-%05d-of-%05d.safetensors", i+1, len(files)); filepath.ToSlash(f.Path()) != want {
			t.Errorf("%s, want %s", f.Path(), want)
		}
	}
	if len(files) < 2 || total != c.Bytes() {
		t.Errorf("%d files with %d of %d bytes", len(files), total, c.Bytes())
	}
}
