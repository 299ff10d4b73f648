package session_test

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
)

const fakeVocab = 61

// fake is a device whose logits depend on all tokens its slot has seen, and on
// nothing else. Like every device it refuses rows that do not follow on.
type fake struct {
	seen   map[int32][]int32
	steps  []int                                   // rows of each step
	before func(rows []ir.Row, wanted []int) error // may end a step
}

func newFake() *fake { return &fake{seen: map[int32][]int32{}} }

func (*fake) Name() string { return "fake" }

func (*fake) Vocab() int { return fakeVocab }

func (*fake) Close() error { return nil }

func (f *fake) Reset(slot int32) { delete(f.seen, slot) }

func (f *fake) Prefill(rows []ir.Row, wanted []int) ([]float32, error) { return f.Step(rows, wanted) }

func (f *fake) Decode(rows []ir.Row, wanted []int) ([]float32, error) { return f.Step(rows, wanted) }

func (f *fake) Step(rows []ir.Row, wanted []int) ([]float32, error) {
	if f.before != nil {
		if err := f.before(rows, wanted); err != nil {
			return nil, err
		}
	}
	next := map[int32][]int32{}
	all := make([][]float32, len(rows))
	for i, r := range rows {
		if _, ok := next[r.Slot]; !ok {
			next[r.Slot] = slices.Clone(f.seen[r.Slot])
		}
		if int(r.Position) != len(next[r.Slot]) {
			return nil, fmt.Errorf("row %d: slot %d goes on at %d, not %d", i, r.Slot, len(next[r.Slot]), r.Position)
		}
		next[r.Slot] = append(next[r.Slot], r.Token)
		all[i] = fakeLogits(next[r.Slot])
	}
	for slot, tokens := range next {
		f.seen[slot] = tokens
	}
	f.steps = append(f.steps, len(rows))
	var out []float32
	for _, w := range wanted {
		out = append(out, all[w]...)
	}
	return out, nil
}

func fakeLogits(tokens []int32) []float32 {
	h := fnv.New64a()
	for _, t := range tokens {
		h.Write(binary.LittleEndian.AppendUint32(nil, uint32(t)))
	}
	rng := rand.New(rand.NewPCG(h.Sum64(), 0))
	out := make([]float32, fakeVocab)
	for i := range out {
		out[i] = float32(rng.NormFloat64())
	}
	return out
}

// subject is a device to test sessions on, with prompts of several lengths.
type subject struct {
	name    string
	dir     string // of a fixture
	vocab   int
	device  func(t testing.TB) device.Device
	prompts [][]int32
}

// subjects are the fake and the reference device on every fixture: those of
// the repository and, when SMELT_SHARED is set, those it has beyond them. With
// -short there is one fixture.
func subjects(t testing.TB) []subject {
	t.Helper()
	all := []subject{{name: "fake", vocab: fakeVocab, device: func(testing.TB) device.Device { return newFake() }}}
	rng := rand.New(rand.NewPCG(1, 0))
	for _, n := range []int{5, 37, 300} {
		all[0].prompts = append(all[0].prompts, randomTokens(rng, n, fakeVocab))
	}
	dirs, err := filepath.Glob("../../models/deepseekv4/testdata/fixtures/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no fixtures: ", err)
	}
	shared := os.Getenv("SMELT_SHARED")
	switch {
	case testing.Short():
		t.Log("-short: only one fixture ran")
		dirs = []string{"../../models/deepseekv4/testdata/fixtures/b-official-fp8fp4"}
	case shared == "":
		t.Log("SMELT_SHARED is unset: fixtures outside the repository did not run")
	default:
		more, err := filepath.Glob(filepath.Join(shared, "fixtures", "*", "golden.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range more {
			dir := filepath.Dir(path)
			if !slices.ContainsFunc(dirs, func(d string) bool { return filepath.Base(d) == filepath.Base(dir) }) {
				dirs = append(dirs, dir)
			}
		}
	}
	for _, dir := range dirs {
		all = append(all, fixture(t, dir))
	}
	return all
}

// fixture opens a checkpoint once; every device of it has its own states.
func fixture(t testing.TB, dir string) subject {
	t.Helper()
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	f, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := subject{name: filepath.Base(dir), dir: dir, vocab: m.VocabSize}
	for p := range 3 {
		s.prompts = append(s.prompts, ints(t, f, fmt.Sprintf("p%d.input_ids", p)))
	}
	s.device = func(t testing.TB) device.Device {
		t.Helper()
		d, err := reference.New(m.Graph, m.Weights)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return s
}

func ints(t testing.TB, f *safetensors.File, name string) (out []int32) {
	t.Helper()
	for _, x := range f.Tensors() {
		if x.Name == name && x.DType == safetensors.I32 {
			for b := x.Data(); len(b) > 0; b = b[4:] {
				out = append(out, int32(binary.LittleEndian.Uint32(b)))
			}
			return out
		}
	}
	t.Fatalf("%s: no I32 tensor %s", f.Path(), name)
	return nil
}

func randomTokens(rng *rand.Rand, n, vocab int) []int32 {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32(rng.IntN(vocab))
	}
	return tokens
}

// eachSubject runs f on every subject.
func eachSubject(t *testing.T, f func(t *testing.T, s subject)) {
	for _, s := range subjects(t) {
		t.Run(s.name, func(t *testing.T) { f(t, s) })
	}
}

func newSession(t testing.TB, d device.Device, o session.Options) *session.Session {
	t.Helper()
	s, err := session.New(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openSequence(t testing.TB, s *session.Session) *session.Sequence {
	t.Helper()
	q, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func extend(t testing.TB, q *session.Sequence, tokens []int32) {
	t.Helper()
	if err := q.Extend(t.Context(), tokens, nil); err != nil {
		t.Fatal(err)
	}
}

// alone returns the logits after each token of a text that runs alone, in one
// step.
func alone(t testing.TB, s subject, tokens []int32) [][]float32 {
	t.Helper()
	rows, wanted := make([]ir.Row, len(tokens)), make([]int, len(tokens))
	for i, x := range tokens {
		rows[i], wanted[i] = ir.Row{Token: x, Position: int32(i)}, i
	}
	logits, err := s.device(t).Prefill(rows, wanted)
	if err != nil || len(logits) != len(tokens)*s.vocab {
		t.Fatalf("%d logits for %d rows: %v", len(logits), len(rows), err)
	}
	return slices.Collect(slices.Chunk(logits, s.vocab))
}
