package deepseekv4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models/checkpoint"
)

// fixtures lists the checkpoints to test: the repository's own, and all of
// SMELT_SHARED when it is set.
func fixtures(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/fixtures/*/golden.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for i, d := range dirs {
		dirs[i] = filepath.Dir(d)
		have[filepath.Base(dirs[i])] = true
	}
	shared := os.Getenv("SMELT_SHARED")
	if shared == "" {
		t.Log("SMELT_SHARED is unset: fixtures outside the repository did not run")
		return dirs
	}
	more, err := filepath.Glob(filepath.Join(shared, "fixtures/*/golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range more {
		if !have[filepath.Base(filepath.Dir(d))] {
			dirs = append(dirs, filepath.Dir(d))
		}
	}
	return dirs
}

// oneOfEach draws a checkpoint of each configuration: what follows from the graph,
// whatever the weights are stored as.
func oneOfEach(t *testing.T) (dirs []string) {
	t.Helper()
	of := map[string][]string{}
	for _, dir := range fixtures(t) {
		configuration, _, _ := strings.Cut(filepath.Base(dir), "-")
		of[configuration] = append(of[configuration], dir)
	}
	for _, configuration := range slices.Sorted(maps.Keys(of)) {
		dirs = append(dirs, sample.Of(t, of[configuration], 1)...)
	}
	return dirs
}

// prompts is how many of a golden file's three prompts are tried: the third has
// 300 tokens.
func prompts() int {
	if testing.Short() {
		return 2
	}
	return 3
}

// golden is a file of reference outputs.
type golden struct{ f *safetensors.File }

func openGolden(t testing.TB, path string) golden {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return golden{f}
}

func (g golden) tensor(name string) *safetensors.Tensor {
	for i, t := range g.f.Tensors() {
		if t.Name == name {
			return &g.f.Tensors()[i]
		}
	}
	return nil
}

func (g golden) floats(t testing.TB, name string) []float64 {
	t.Helper()
	x := g.tensor(name)
	if x == nil || x.DType != "F32" {
		t.Fatalf("%s: no F32 tensor %s", g.f.Path(), name)
	}
	out := make([]float64, x.Bytes/4)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(x.Data()[4*i:])))
	}
	return out
}

func (g golden) ints(t testing.TB, name string) []int32 {
	t.Helper()
	x := g.tensor(name)
	if x == nil || x.DType != "I32" {
		t.Fatalf("%s: no I32 tensor %s", g.f.Path(), name)
	}
	out := make([]int32, x.Bytes/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(x.Data()[4*i:]))
	}
	return out
}

// opened is a model with V4's own view of its configuration.
type opened struct {
	*arch.Model
	Config *Config
}

// openModel opens a folder as DeepSeek-V4, whatever its config.json names.
func openModel(dir string) (*opened, error) {
	ck, err := checkpoint.Open(dir)
	if err != nil {
		return nil, err
	}
	m, err := Architecture().Bind(ck)
	if err != nil {
		return nil, errors.Join(err, ck.Close())
	}
	c, err := ParseConfig(ck.ConfigJSON(), dir)
	if err != nil {
		return nil, errors.Join(err, ck.Close())
	}
	return &opened{m, c}, nil
}

func open(t testing.TB, dir string) *opened {
	t.Helper()
	m, err := openModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// elementBytes is the size of a stored element.
func elementBytes(d encoding.DType) int {
	size, _ := d.Size() // all that fixtures hold are known
	return size
}

func rowsOf(tokens []int32, from int, slot int32) []eval.Row {
	rows := make([]eval.Row, len(tokens))
	for i, tok := range tokens {
		rows[i] = eval.Row{Token: tok, Position: int32(from + i), Slot: slot}
	}
	return rows
}

func all(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// run evaluates tokens in one step and returns the logits of every row and
// the named intermediates.
func run[F tensor.Float](t testing.TB, m *opened, tokens []int32) ([]F, map[string]tensor.Value[F]) {
	t.Helper()
	ma, err := eval.New[F](m.Graph, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]tensor.Value[F]{}
	ma.Observe = func(name string, v tensor.Value[F]) { seen[name] = v }
	out, err := ma.Step(rowsOf(tokens, 0, 0), all(len(tokens)))
	if err != nil {
		t.Fatal(err)
	}
	return out[0].F, seen
}

// maxDiff is the largest difference, and the largest difference beyond half a
// emitter in the last place of the stored float32.
func maxDiff[F tensor.Float](t testing.TB, got []F, want []float64) (plain, beyond float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, the golden has %d", len(got), len(want))
	}
	for i, w := range want {
		d := math.Abs(float64(got[i]) - w)
		if !(d <= math.MaxFloat64) {
			return math.Inf(1), math.Inf(1)
		}
		f := float32(math.Abs(w))
		half := (float64(math.Nextafter32(f, math.MaxFloat32)) - float64(f)) / 2
		plain, beyond = max(plain, d), max(beyond, d-half)
	}
	return plain, beyond
}

// TestGolden compares full logits and every recorded intermediate with the
// reference: float32 within 2e-4, float64 within half a unit in the last place
// of the stored float32 plus 1e-9, expert and index sets exactly.
func TestGolden(t *testing.T) {
	for _, dir := range fixtures(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m, g := open(t, dir), openGolden(t, filepath.Join(dir, "golden.safetensors"))
			for p := range prompts() {
				q := fmt.Sprintf("p%d.", p)
				tokens := g.ints(t, q+"input_ids")
				l32, s32 := run[float32](t, m, tokens)
				d32, _ := maxDiff(t, l32, g.floats(t, q+"logits"))
				l64, s64 := run[float64](t, m, tokens)
				_, d64 := maxDiff(t, l64, g.floats(t, q+"logits"))
				t.Logf("%s %d tokens: logits differ by %.1e in float32, by %.1e beyond rounding in float64", q, len(tokens), d32, d64)
				if !(d32 <= 2e-4) || !(d64 <= 1e-9) {
					t.Errorf("%slogits: float32 %.3g (limit 2e-4), float64 %.3g beyond rounding (limit 1e-9)", q, d32, d64)
				}
				compareTrace(t, g, q, s32, 2e-4, math.Inf(1))
				compareTrace(t, g, q, s64, math.Inf(1), 1e-9)
			}
		})
	}
}

func compareTrace[F tensor.Float](t *testing.T, g golden, q string, seen map[string]tensor.Value[F], limit, limitBeyond float64) {
	t.Helper()
	for _, x := range g.f.Tensors() {
		name, ok := strings.CutPrefix(x.Name, q)
		v, known := seen[name]
		if !ok || !known {
			continue
		}
		if v.I != nil {
			sameSets(t, x.Name, v.I, v.Shape[1], g.ints(t, x.Name), int(x.Shape[1]))
			continue
		}
		got := v.F
		if strings.HasSuffix(name, "after_attn") || strings.HasSuffix(name, "after_ffn") {
			layer, _, _ := strings.Cut(name, ".")
			got = pick(got, g.ints(t, q+layer+".positions"), tensor.Len(v.Shape[1:]))
		}
		d, beyond := maxDiff(t, got, g.floats(t, x.Name))
		if d > limit || beyond > limitBeyond {
			t.Errorf("%s differs by %.3g, %.3g beyond rounding", x.Name, d, beyond)
		}
	}
}

func pick[F tensor.Float](x []F, rows []int32, width int) (out []F) {
	for _, r := range rows {
		out = append(out, x[int(r)*width:(int(r)+1)*width]...)
	}
	return out
}

// sameSets compares index lists that may be padded with -1 to other widths.
func sameSets(t *testing.T, name string, got []int32, gw int, want []int32, ww int) {
	t.Helper()
	for r := range len(want) / ww {
		for k := range max(gw, ww) {
			a, b := int32(-1), int32(-1)
			if k < gw {
				a = got[r*gw+k]
			}
			if k < ww {
				b = want[r*ww+k]
			}
			if a != b {
				t.Errorf("%s: row %d: %v, the golden has %v", name, r, got[r*gw:(r+1)*gw], want[r*ww:(r+1)*ww])
				return
			}
		}
	}
}
