package devicetest

import (
	"errors"
	"os"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
)

// Changed proves that a device gives out nothing of a step during which the last file
// of weights was cut short, first by a byte, which no kernel notices, then to each of
// the sizes given, in parts of 1/16 of the file: 0 is nothing left. The error is a
// *container.ChangedError with the file's path and both sizes.
func Changed(t *testing.T, open Open, sixteenths ...int64) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(Fixture("a-bf16"))); err != nil {
		t.Fatal(err)
	}
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, _, err := bundle.Compile(bundle.Source{Name: "changed", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, bundle.Options{Context: 64, Chunk: 8})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, b, m.Checkpoint, func(string, []byte) {})
	defer d.Close() // it may have failed, and cannot fail worse
	step := func(position int32) error {
		logits, err := d.Decode([]ir.Row{{Token: 5, Position: position}}, []int{0})
		if (err == nil) != (len(logits) == d.Vocab()) {
			t.Errorf("%d logits with error %v", len(logits), err)
		}
		return err
	}
	if err := step(0); err != nil {
		t.Fatal(err)
	}
	file := m.Checkpoint.Files[len(m.Checkpoint.Files)-1]
	path, size := file.Path(), file.Size()
	sizes := []int64{size - 1}
	for _, n := range sixteenths {
		sizes = append(sizes, size*n/16)
	}
	for _, now := range sizes {
		if err := os.Truncate(path, now); err != nil {
			t.Fatal(err)
		}
		err := step(1)
		var changed *container.ChangedError
		if !errors.As(err, &changed) || changed.Path != path || changed.Was != size {
			t.Fatalf("a file cut from %d to %d bytes: error %v", size, now, err)
		}
	}
}
