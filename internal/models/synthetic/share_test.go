package synthetic

import (
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/storage"
)

// TestStored: a model whose later layers stand on stored ones gives the logits of one
// that stores copies of those for them, and takes no memory for them.
func TestStored(t *testing.T) {
	config, err := Storyteller() // layers [0, 0, 4, 128, 4, 128, 4, 4], the first two by token
	if err != nil {
		t.Fatal(err)
	}
	const n = 5
	on := []int{0, 1, 2, 3, 4, 3, 2, 4}
	for _, f := range []Format{Official, MLX4All} {
		few := mustNew(t, "few", config, Options{Format: f, Stored: n})
		all := mustNew(t, "all", config, Options{Format: f})
		mustFill(t, few, FillOptions{Seed: 3})
		mustFill(t, all, FillOptions{Seed: 4})
		copied := 0
		for _, x := range all.fills {
			from, ok := few.Checkpoint.Lookup(standsOn(x.tensor.Name, on))
			if !ok {
				t.Fatalf("%s: nothing to stand on", x.tensor.Name)
			}
			copied += copy(x.tensor.Data(), from.Data())
		}
		if int64(copied) != all.Bytes() || few.Bytes() >= all.Bytes()*(n+2)/int64(len(on)) {
			t.Errorf("%s: %d bytes copied, of %d; %d are stored", f, copied, all.Bytes(), few.Bytes())
		}
		tokens := few.Tokens(9, 1)
		if a, b := logitsOf(t, few, tokens), logitsOf(t, all, tokens); !slices.Equal(a, b) {
			t.Errorf("%s: logits differ from those with copies", f)
		}
		params, err := storage.Bound(few.Checkpoint, few.Binding, few.Graph)
		if err != nil {
			t.Fatal(err)
		}
		if got := params.Bytes(); got > few.Bytes() || len(params) != len(few.Graph.Params) {
			t.Errorf("%s: %d parameters of %d bytes; %d are stored", f, len(params), got, few.Bytes())
		}
	}
}

// TestStoredRefuses: each kind of layer must be stored once.
func TestStoredRefuses(t *testing.T) {
	config, err := Flash()
	if err != nil {
		t.Fatal(err)
	}
	for stored, want := range map[int]string{1: "layer 2", 3: "layer 3", 4: "store at least 5", 44: "44 layers are to be stored of 43"} {
		if _, err := New("flash", config, Options{Stored: stored}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d stored: %v, want %q", stored, err, want)
		}
	}
	c, err := New("flash", config, Options{Stored: 16})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n := c.Bytes(); n < 55e9 || n > 62e9 {
		t.Errorf("16 layers take %d bytes", n)
	}
}
