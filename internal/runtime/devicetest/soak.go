package devicetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
)

// story is a sequence of the soak: its tokens depend on its number alone.
type story struct {
	id, prompt, total int
	done              int
	slot              int32
	seen              []byte // hash of the logits after each decoded token
}

func (x *story) token(i, vocab int) int32 { return Random(x.id*1000+i, 1, vocab)[0] }

// soak drives a device as a server does.
type soak struct {
	t     *testing.T
	d     device.Device
	vocab int
	chunk int
}

func (s *soak) note(x *story, logits []float32) {
	hash := sha256.New()
	for _, v := range logits {
		hash.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
	}
	x.seen = append(x.seen, hash.Sum(nil)[:8]...)
}

// prefill takes a chunk of a text's prompt.
func (s *soak) prefill(x *story, n int) {
	var rows []ir.Row
	for i := x.done; i < min(x.prompt, x.done+n); i++ {
		rows = append(rows, ir.Row{Token: x.token(i, s.vocab), Position: int32(i), Slot: x.slot})
	}
	logits, err := s.d.Prefill(rows, []int{len(rows) - 1})
	if err != nil {
		s.t.Fatal(err)
	}
	x.done += len(rows)
	s.note(x, logits)
}

// decode gives texts a token each in one step.
func (s *soak) decode(xs []*story) {
	var rows []ir.Row
	var wanted []int
	for i, x := range xs {
		rows = append(rows, ir.Row{Token: x.token(x.done, s.vocab), Position: int32(x.done), Slot: x.slot})
		wanted = append(wanted, i)
	}
	logits, err := s.d.Decode(rows, wanted)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, x := range xs {
		x.done++
		s.note(x, logits[i*s.vocab:(i+1)*s.vocab])
	}
}

// Soak runs so many steps in which slots are opened, cancelled and opened again at
// random, prompts in chunks between decode steps of several rows. Logits of every text
// are the bits it gets alone, and memory does not grow.
func Soak(t *testing.T, dir string, steps int, open Open) {
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const slots = 6
	b, _, err := bundle.Compile(bundle.Source{Name: "soak", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, bundle.Options{Context: 512, Chunk: 64, Wanted: 16, Slots: slots})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, b, m.Checkpoint, nil)
	defer d.Close()
	s := &soak{t: t, d: d, vocab: d.Vocab(), chunk: 64}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var ended, running []*story
	free := []int32{0, 1, 2, 3, 4, 5}
	var before int64
	for step := range steps {
		if len(free) > 0 && r.IntN(3) == 0 {
			x := &story{id: len(ended) + len(running), prompt: 1 + r.IntN(90), slot: free[0]}
			x.total, free, running = x.prompt+r.IntN(60), free[1:], append(running, x)
		}
		s.step(r, running)
		var left []*story
		for _, x := range running {
			if x.done < x.total && r.IntN(60) > 0 {
				left = append(left, x)
				continue
			}
			d.Reset(x.slot) // at its end, or cancelled
			free, ended = append(free, x.slot), append(ended, x)
		}
		running = left
		if step == steps/4 {
			before = resident(t)
		}
	}
	if grown := resident(t) - before; grown > 16<<20 {
		t.Errorf("memory grew by %d bytes in %d steps", grown, steps*3/4)
	}
	for _, x := range running {
		d.Reset(x.slot)
	}
	r.Shuffle(len(ended), func(i, j int) { ended[i], ended[j] = ended[j], ended[i] })
	for _, x := range ended[:min(len(ended), 40)] {
		s.alone(x)
	}
	t.Logf("%d texts", len(ended))
}

// step runs one step: a chunk of the first prompt that is not read yet, or a
// token for those that are.
func (s *soak) step(r *rand.Rand, running []*story) {
	var ready []*story
	for _, x := range running {
		if x.done >= x.prompt && x.done < x.total {
			ready = append(ready, x)
		}
	}
	for _, x := range running {
		if x.done < x.prompt && (len(ready) == 0 || r.IntN(2) == 0) {
			s.prefill(x, 1+r.IntN(s.chunk))
			return
		}
	}
	if len(ready) > 0 {
		s.decode(ready)
	}
}

// alone runs a text again by itself, its prompt in one piece.
func (s *soak) alone(x *story) {
	if x.done == 0 {
		return
	}
	y := &story{id: x.id, prompt: x.prompt, slot: 3}
	defer s.d.Reset(y.slot)
	for y.done < min(x.done, x.prompt) {
		s.prefill(y, min(s.chunk, x.done-y.done))
	}
	chunks := len(x.seen)/8 - max(x.done-x.prompt, 0)
	if !bytes.Equal(y.seen[len(y.seen)-8:], x.seen[chunks*8-8:chunks*8]) {
		s.t.Fatalf("text %d: other logits after its prompt than alone", x.id)
	}
	for i := chunks; y.done < x.done; i++ {
		s.decode([]*story{y})
		if !bytes.Equal(y.seen[len(y.seen)-8:], x.seen[i*8:i*8+8]) {
			s.t.Fatalf("text %d: other logits at token %d than alone", x.id, y.done)
		}
	}
}

// resident is the process's memory, where the system tells.
func resident(t *testing.T) int64 {
	t.Helper()
	runtime.GC()
	data, err := os.ReadFile("/proc/self/statm")
	fields := bytes.Fields(data)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
