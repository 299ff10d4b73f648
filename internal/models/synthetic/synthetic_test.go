package synthetic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smelt.example/smelt/internal/memory"
	"smelt.example/smelt/internal/models/deepseekv4"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/ir"
)

const testdata = "../deepseekv4/testdata"

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(testdata, path))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// tinyConfig is a fixture's: b has layers [128, 4, 4, 0], the first two hashed,
// c has [128, 128, 4, 128, 4] and sizes MLX4 can store.
func tinyConfig(t testing.TB, f Format) []byte {
	if f != Official {
		return readFile(t, "configs/c-mlx-4bit-stacked.json")
	}
	return readFile(t, "configs/b-official-fp8fp4.json")
}

func mustNew(t testing.TB, name string, config []byte, o Options) *Checkpoint {
	t.Helper()
	c, err := New(name, config, o)
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

func mustFill(t testing.TB, c *Checkpoint, o FillOptions) {
	t.Helper()
	if err := c.Fill(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

// logitsOf runs a prompt on the reference device; only the last row's are
// returned.
func logitsOf(t *testing.T, c *Checkpoint, tokens []int32) []float32 {
	t.Helper()
	d, err := reference.New(c.Graph, c.Weights)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]ir.Row, len(tokens))
	for i, id := range tokens {
		rows[i] = ir.Row{Token: id, Position: int32(i)}
	}
	logits, err := d.Step(rows, []int{len(rows) - 1})
	if err != nil {
		t.Fatal(err)
	}
	return logits
}

// TestRuns: a filled checkpoint gives finite logits of about the size that a
// model's have, the same for the same seed and others for another.
func TestRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the evaluator runs nine times")
	}
	for _, f := range []Format{Official, MLX4, MLX4All} {
		t.Run(f.String(), func(t *testing.T) {
			run := func(seed uint64) []float32 {
				c := mustNew(t, "tiny", tinyConfig(t, f), Options{Layers: []int{1, 2}, Format: f})
				mustFill(t, c, FillOptions{Seed: seed})
				return logitsOf(t, c, c.Tokens(140, 1)) // beyond the first entry of ratio 128
			}
			one := run(1)
			sum := 0.0
			for _, x := range one {
				sum += float64(x) * float64(x)
			}
			// A NaN or an infinity fails this too.
			if size := math.Sqrt(sum / float64(len(one))); !(size > 0.2 && size < 5) {
				t.Errorf("logits of size %g, expected about 1", size)
			}
			if !slices.Equal(one, run(1)) {
				t.Error("the same seed gave other logits")
			}
			if slices.Equal(one, run(2)) {
				t.Error("another seed gave the same logits")
			}
		})
	}
}

// TestLayers: a layer keeps its kind, whatever its new number.
func TestLayers(t *testing.T) {
	flash, err := Flash()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		layers []int
		ratios []int
		hashed int
	}{
		{First(4), []int{0, 0, 4, 128}, 3},
		{[]int{2, 3, 4, 5}, []int{4, 128, 4, 128}, 1},
		{[]int{3, 42}, []int{128, 4}, 0},
	} {
		c := mustNew(t, "flash", flash, Options{Layers: test.layers})
		config, err := deepseekv4.ParseConfig(c.Model.Checkpoint.ConfigJSON(), "flash")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(config.Ratios, test.ratios) || config.HashLayers != test.hashed || len(config.Notes)+len(config.Unknown)+len(c.Binding.Notes) > 0 {
			t.Errorf("layers %v: ratios %v, %d hashed; notes %q %q %q", test.layers, config.Ratios, config.HashLayers, config.Notes, config.Unknown, c.Binding.Notes)
		}
		if len(c.Binding.Ignored) != 0 || config.MTPLayers != 0 {
			t.Errorf("layers %v: %d rules leave tensors unused", test.layers, len(c.Binding.Ignored))
		}
	}
}

// TestExpertsByLayer: a configuration that lists the layers' experts is followed, tables
// included.
func TestExpertsByLayer(t *testing.T) {
	var members map[string]any
	if err := json.Unmarshal(tinyConfig(t, MLX4), &members); err != nil {
		t.Fatal(err)
	}
	members["n_routed_experts_per_layer"] = []int{8, 3, 5, 4, 7}
	config, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Format{Official, MLX4} {
		c := mustNew(t, "pruned", config, Options{Layers: []int{1, 3, 4}, Format: f})
		mustFill(t, c, FillOptions{Seed: 5})
		for layer, want := range []int64{3, 4, 7} {
			name := fmt.Sprintf("layers.%d.ffn.experts.w1", layer)
			if have, _ := c.Graph.Param(name).Type.Shape[0].Value(); have != want {
				t.Errorf("%s: %s has %d experts, want %d", f, name, have, want)
			}
		}
		if err := c.Model.Checkpoint.Ready(); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	b := tinyConfig(t, Official)
	for _, test := range []struct {
		name   string
		config []byte
		o      Options
		want   string
	}{
		{"too many layers", b, Options{Layers: First(5)}, "x has layers 0 to 3, not 4"},
		{"negative layer", b, Options{Layers: []int{-1}}, "x has layers 0 to 3, not -1"},
		{"layer twice", b, Options{Layers: []int{1, 1}}, "layers are to ascend, found 1 after 1"},
		{"format", b, Options{Format: 7}, "unknown format Format(7)"},
		{"no groups of 64", b, Options{Format: MLX4}, "x cannot be stored as mlx-4bit: embed.weight: "},
		{"no config", []byte("[]"), Options{}, "found [], expected one JSON object"},
		{"broken config", bytes.Replace(b, []byte(`"vocab_size"`), []byte(`"vocabulary"`), 1), Options{}, "missing keys: vocab_size"},
	} {
		if _, err := New("x", test.config, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

// digest is of all files.
func digest(c *Checkpoint) string {
	h := sha256.New()
	for _, f := range c.Checkpoint.Files {
		h.Write(f.Bytes())
	}
	return string(h.Sum(nil))
}

// TestThreads: bytes depend on the seed only. A tensor of the tiny model is
// below one chunk; TestPieces cuts them.
func TestThreads(t *testing.T) {
	c := mustNew(t, "tiny", tinyConfig(t, Official), Options{})
	empty := digest(c)
	mustFill(t, c, FillOptions{Seed: 7, Threads: 1})
	want := digest(c)
	mustFill(t, c, FillOptions{Seed: 8})
	other := digest(c)
	mustFill(t, c, FillOptions{Seed: 7, Threads: 3, Unchecked: true})
	if digest(c) != want || other == want || empty == want {
		t.Error("equal seeds gave different bytes, or different ones the same")
	}
}

func TestFillStops(t *testing.T) {
	c := mustNew(t, "tiny", tinyConfig(t, Official), Options{})
	empty := digest(c)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Fill(ctx, FillOptions{}); err != context.Canceled || digest(c) != empty {
		t.Errorf("got %v, expected a fill that stops at once", err)
	}
}

// TestMemory: what does not fit is refused with the numbers, before anything
// is written, unless the caller knows better.
func TestMemory(t *testing.T) {
	flash, err := Flash()
	if err != nil {
		t.Fatal(err)
	}
	c := mustNew(t, "flash", flash, Options{Layers: First(4)})
	err = c.fits(16_000_000_000, 500_000_000)
	if want := "flash needs 16.9 GB of memory (16.4 GB of weights), 16.0 GB are free; take fewer layers"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if err := c.fits(c.Bytes()+5, 5); err != nil {
		t.Error(err)
	}
	c.filled = true
	if err := c.fits(5, 5); err != nil {
		t.Errorf("filling again, which takes no more memory: %v", err)
	}

	if memory.Here().Available.Known() {
		tiny := mustNew(t, "tiny", tinyConfig(t, Official), Options{})
		if err := tiny.Fill(context.Background(), FillOptions{Beside: 1 << 60}); err == nil || !strings.Contains(err.Error(), "tiny needs 1152921.5 TB") {
			t.Errorf("got %v", err)
		}
		mustFill(t, tiny, FillOptions{Beside: 1 << 60, Unchecked: true})
	}
}

func TestTokens(t *testing.T) {
	c := mustNew(t, "tiny", tinyConfig(t, Official), Options{})
	tokens := c.Tokens(5000, 3)
	seen := map[int32]bool{}
	for _, id := range tokens {
		if id < 0 || int(id) >= c.VocabSize || slices.Contains(c.BOS, id) || slices.Contains(c.EOS, id) {
			t.Fatalf("id %d", id)
		}
		seen[id] = true
	}
	if !slices.Equal(tokens, c.Tokens(5000, 3)) || slices.Equal(tokens, c.Tokens(5000, 4)) || len(seen) < c.VocabSize/2 {
		t.Errorf("%d different ids; a seed is to give one prompt", len(seen))
	}
}

// TestConfigs: Flash and Pro are the published files.
func TestConfigs(t *testing.T) {
	for name, of := range map[string]func() ([]byte, error){"flash": Flash, "pro": Pro} {
		raw, err := of()
		if err != nil {
			t.Fatal(err)
		}
		got, err := deepseekv4.ParseConfig(raw, name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := deepseekv4.ParseConfig(readFile(t, "configs/"+name+".json"), name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s differs from the published configuration:\n%s", name, d)
		}
	}
}
