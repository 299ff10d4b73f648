package checkpoint

import (
	"errors"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// inMemory makes a file of one-byte tensors.
func inMemory(t *testing.T, path string, names ...string) *safetensors.File {
	t.Helper()
	var tensors []safetensors.Tensor
	for _, n := range names {
		tensors = append(tensors, safetensors.Tensor{Name: n, DType: safetensors.U8, Shape: []int64{1}})
	}
	f, err := safetensors.InMemory(path, tensors)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestFromFiles(t *testing.T) {
	second, first := inMemory(t, "m/2.safetensors", "a", "d"), inMemory(t, "m/1.safetensors", "c", "b")
	c, err := FromFiles("m", []byte("{}"), []File{second, first})
	if err != nil {
		t.Fatal(err)
	}
	if c.Dir != "m" || string(c.ConfigJSON()) != "{}" || len(c.Files) != 2 || c.Files[0] != first {
		t.Errorf("%s with %s and %d files, the first %s", c.Dir, c.ConfigJSON(), len(c.Files), c.Files[0].Path())
	}
	names := ""
	for _, x := range c.Tensors() {
		names += x.Name
	}
	if x, ok := c.Lookup("d"); names != "abcd" || !ok || x.File != second {
		t.Errorf("tensors %s, d in %v", names, x.File)
	}
	if err := c.Close(); err != nil || first.Bytes() != nil || second.Bytes() != nil {
		t.Errorf("closing leaves files open (%v)", err)
	}
}

func TestFromFilesRefusesTwins(t *testing.T) {
	files := []File{inMemory(t, "m/1.safetensors", "a"), inMemory(t, "m/2.safetensors", "a")}
	c, err := FromFiles("m", nil, files)
	var findings *Findings
	if c != nil || !errors.As(err, &findings) || !strings.Contains(err.Error(), `"a" in 1.safetensors and 2.safetensors`) {
		t.Errorf("got %v", err)
	}
	if files[0].Bytes() == nil {
		t.Error("after the error the files are the caller's, but one is closed")
	}
}
