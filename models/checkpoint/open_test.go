package checkpoint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// weight is a tensor of n bytes that repeat its name.
func weight(name string, n int) safetensors.Out {
	return safetensors.Out{Name: name, DType: safetensors.U8, Shape: []int64{int64(n)}, Data: []byte(strings.Repeat(name, n))[:n]}
}

// A folder is the content of a checkpoint folder: weight files by their
// tensors, other files by their text.
type folder struct {
	weights map[string][]safetensors.Out
	files   map[string]string
}

func (f folder) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, outs := range f.weights {
		if err := safetensors.Write(filepath.Join(dir, name), outs, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range f.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustOpen(t testing.TB, path string) *Checkpoint {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// openAll is Open for a model that can do without nothing.
func openAll(path string) (*Checkpoint, error) {
	c, err := Open(path)
	if err != nil {
		return nil, err
	}
	findings := &Findings{Path: c.Dir}
	c.absent.report(nil, findings)
	if err := findings.Err(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

const (
	shard1 = "model-00001-of-00002.safetensors"
	shard2 = "model-00002-of-00002.safetensors"
)

func twoShards() map[string][]safetensors.Out {
	return map[string][]safetensors.Out{
		shard1: {weight("b", 3), weight("d", 0)},
		shard2: {weight("c", 2), weight("a", 1)},
	}
}

const goodIndex = `{"metadata":{"total_size":6,"total_parameters":6},
	"weight_map":{"a":"` + shard2 + `","b":"` + shard1 + `","c":"` + shard2 + `","d":"` + shard1 + `"}}`

func TestOpen(t *testing.T) {
	config := `{"model_type":"deepseek_v4"}`
	single := map[string][]safetensors.Out{"model.safetensors": {weight("b", 3), weight("a", 1)}}
	tests := []struct {
		name  string
		in    folder
		path  string // below the folder
		want  string // tensors
		files []string
		notes []string
	}{
		{"shards with index", folder{twoShards(), map[string]string{"config.json": config, "model.safetensors.index.json": goodIndex}}, "", "a b c d", []string{shard1, shard2}, nil},
		{"shards without index", folder{twoShards(), map[string]string{"config.json": config}}, "", "a b c d", []string{shard1, shard2}, nil},
		{"single file", folder{single, map[string]string{"config.json": config}}, "", "a b", []string{"model.safetensors"}, nil},
		{"single file by its path", folder{single, map[string]string{"config.json": config}}, "model.safetensors", "a b", []string{"model.safetensors"}, nil},
		{"file of any name by its path", folder{map[string][]safetensors.Out{"other.safetensors": {weight("z", 1)}}, map[string]string{"config.json": config}}, "other.safetensors", "z", []string{"other.safetensors"}, nil},
		{"single file with index", folder{single, map[string]string{"config.json": config,
			"model.safetensors.index.json": `{"metadata":null,"weight_map":{"a":"model.safetensors","b":"model.safetensors"},"x":[1]}`}}, "", "a b", []string{"model.safetensors"}, nil},
		{"wrong total", folder{single, map[string]string{"config.json": config,
			"model.safetensors.index.json": `{"metadata":{"total_size":1.6e11},"weight_map":{"a":"model.safetensors","b":"model.safet\u0065nsors"}}`}}, "", "a b", []string{"model.safetensors"},
			[]string{"total_size 1.6e11, the tensors have 4 bytes"}},
		{"other files", folder{map[string][]safetensors.Out{"model.safetensors": {weight("a", 1)}, "golden.safetensors": {weight("g", 1)}}, map[string]string{"config.json": config}},
			"", "a", []string{"model.safetensors"}, []string{"not used: golden.safetensors"}},
		{"one of two sets by the index", folder{map[string][]safetensors.Out{"model.safetensors": {weight("x", 1)}, shard1: twoShards()[shard1], shard2: twoShards()[shard2]},
			map[string]string{"config.json": config, "model.safetensors.index.json": goodIndex}}, "", "a b c d", []string{shard1, shard2}, []string{"not used: model.safetensors"}},
		{"no tensors", folder{map[string][]safetensors.Out{"model.safetensors": nil}, map[string]string{"config.json": config}}, "", "", []string{"model.safetensors"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := test.in.write(t)
			c := mustOpen(t, filepath.Join(dir, test.path))
			var names, files []string
			for _, x := range c.Tensors() {
				names = append(names, x.Name)
				if want := strings.Repeat(x.Name, int(x.Bytes)); string(x.Data()) != want {
					t.Errorf("%v holds %q, want %q", x, x.Data(), want)
				}
				if found, ok := c.Lookup(x.Name); !ok || found.Offset != x.Offset || found.File != x.File {
					t.Errorf("Lookup(%q) = %v, %v", x.Name, found, ok)
				}
			}
			for _, f := range c.Files {
				files = append(files, filepath.Base(f.Path()))
			}
			if got := strings.Join(names, " "); got != test.want || !slices.Equal(files, test.files) {
				t.Errorf("tensors %q in %q, want %q in %q", got, files, test.want, test.files)
			}
			if len(c.Notes) != len(test.notes) {
				t.Errorf("notes %q, want %q", c.Notes, test.notes)
			}
			for i, note := range test.notes {
				if !strings.Contains(c.Notes[i], note) {
					t.Errorf("note %q lacks %q", c.Notes[i], note)
				}
			}
			if _, ok := c.Lookup("absent"); ok || string(c.ConfigJSON()) != config || c.Dir != dir {
				t.Errorf("absent found: %v, config %q, dir %s", ok, c.ConfigJSON(), c.Dir)
			}
		})
	}
}

// TestSharedCheckpoints opens the real folders, of three writers.
func TestSharedCheckpoints(t *testing.T) {
	root := os.Getenv("SMELT_SHARED")
	if root == "" {
		t.Skip("SMELT_SHARED is not set: the shared checkpoints were not opened")
	}
	var configs []string
	for _, pattern := range []string{"fixtures/*/config.json", "storyteller/*/config.json"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		configs = append(configs, found...)
	}
	if len(configs) == 0 {
		t.Fatalf("no checkpoint under %s", root)
	}
	for _, config := range configs {
		c := mustOpen(t, filepath.Dir(config))
		t.Logf("%s: %d tensors in %d files, notes %q", c.Dir, len(c.Tensors()), len(c.Files), c.Notes)
		if len(c.Tensors()) < 50 || len(c.ConfigJSON()) == 0 {
			t.Errorf("%s: %d tensors, config of %d bytes", c.Dir, len(c.Tensors()), len(c.ConfigJSON()))
		}
	}
}
