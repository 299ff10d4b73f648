package safetensors

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSharedFiles opens every real file there is: checkpoints by three
// writers, logits and golden outputs.
func TestSharedFiles(t *testing.T) {
	root := os.Getenv("SMELT_SHARED")
	if root == "" {
		t.Skip("SMELT_SHARED is not set: the shared safetensors files were not read")
	}
	root, err := filepath.EvalSymlinks(root) // WalkDir does not follow the root
	if err != nil {
		t.Fatal(err)
	}
	files, unaligned := 0, 0
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".safetensors") {
			return err
		}
		f := mustOpen(t, path)
		files++
		checkInvariants(t, f.header, f.DataStart(), f.Size())
		for i := range f.Tensors() {
			x := &f.Tensors()[i]
			if int64(len(x.Data())) != x.Bytes {
				t.Errorf("%s: %v has %d bytes of data, want %d", path, x, len(x.Data()), x.Bytes)
			}
			if x.Offset%sizeOf(x.DType) != 0 {
				unaligned++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %d unaligned tensors", files, unaligned)
	if files == 0 || unaligned == 0 {
		t.Errorf("%d files with %d unaligned tensors under %s: expected both", files, unaligned, root)
	}
}
