package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/runtime/cpu"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/prefix"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/runtime/sampling"
)

type namedDevice struct {
	name string
	open func(t *testing.T) device.Device
}

// devices are the fake and, on a fixture, the reference device and the
// processor's, where libLLVM is.
func devices(t *testing.T, size session.Options) []namedDevice {
	t.Helper()
	m, err := models.Open("../../models/deepseekv4/testdata/fixtures/b-official-fp8fp4", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return []namedDevice{
		{"fake", func(*testing.T) device.Device {
			// In a bubble time passes when all wait: a step begins when every client
			// has asked for what it can.
			f := newFake()
			f.fail = func(string, []ir.Row) error { time.Sleep(time.Microsecond); return nil }
			return f
		}},
		{"fake that runs ahead", func(*testing.T) device.Device {
			r := newRunner()
			r.fail = func(string, []ir.Row) error { time.Sleep(time.Microsecond); return nil }
			return r
		}},
		{"fake that keeps", func(*testing.T) device.Device {
			k := newKeeping(400)
			k.fail = func(string, []ir.Row) error { time.Sleep(time.Microsecond); return nil }
			return k
		}},
		{"reference", func(t *testing.T) device.Device {
			d, err := reference.New(m.Graph, m.Weights)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}},
		{"cpu", func(t *testing.T) device.Device {
			llvm, err := jit.Open("")
			if err != nil {
				t.Skip(err)
			}
			b, _, err := bundle.Compile(bundle.Source{Name: "fixture", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
				bundle.Options{Context: size.Context, Chunk: size.Chunk, Slots: size.Slots})
			if err != nil {
				t.Fatal(err)
			}
			d, err := cpu.Open(b, m.Checkpoint, cpu.Options{LLVM: llvm, Cache: jit.UserCache(), Poison: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
			return d
		}},
	}
}

// TestRandomRequests: 200 requests of twelve clients over four slots, some
// cancelled at random, some refused. What is completed has the text it has
// alone, and what is cancelled a beginning of it.
func TestRandomRequests(t *testing.T) {
	size := session.Options{Slots: 4, Chunk: 16, Context: 60}
	for _, device := range devices(t, size) {
		t.Run(device.name, func(t *testing.T) {
			if testing.Short() && device.name == "reference" {
				t.Skip("-short: takes long with the race detector")
			}
			if strings.HasPrefix(device.name, "fake") {
				synctest.Test(t, func(t *testing.T) { randomRequests(t, device.open(t), size) })
				return
			}
			randomRequests(t, device.open(t), size)
			// Forced: the device itself gains nothing by it.
			ahead := size
			ahead.Ahead = session.AheadAlways
			randomRequests(t, device.open(t), ahead)
		})
	}
}

func randomRequests(t *testing.T, d device.Device, size session.Options) {
	t.Helper()
	const seed, requests = 17, 200
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var texts []text
	for i := range 8 {
		r := randomRequest(rng, i, d.Vocab())
		alone := size
		alone.Ahead = session.AheadNever
		texts = append(texts, text{r, solo(t, d, alone, r)})
	}
	s := start(t, d, size, Options{Chunk: 5, Rows: 3, Queue: 5})
	c := &clients{t: t, s: s, texts: texts, ends: map[string]int{}}
	const n = 12
	for i := range n {
		own := rand.New(rand.NewPCG(seed, uint64(1+i)))
		c.running.Go(func() { c.run((requests+i)/n, own) })
	}
	c.running.Wait()
	t.Log(c.ends)
	sum := 0
	for _, n := range c.ends {
		sum += n
	}
	if sum != requests || c.ends["completed"] < requests/10 {
		t.Errorf("of %d requests: %v", requests, c.ends)
	}
	stats := s.Stats()
	if r, ok := d.(*runner); ok && r.broken != nil {
		t.Error(r.broken)
	}
	if k, ok := d.(keeping); ok && (k.broken != nil || stats.Cache.Hits[prefix.Prompt] == 0 || stats.Cache.Evictions == 0) {
		t.Error(stats.Cache, k.broken)
	}
	if ahead := newSession(t, d, size).Ahead(); ahead != (stats.Ahead > 0) {
		t.Errorf("%d steps were begun ahead", stats.Ahead)
	}
	if stats.Active+stats.Waiting != 0 || stats.Rows[3] == 0 {
		t.Errorf("%+v", stats)
	}
	s.Close()
}

// text is a request and what it comes to alone.
type text struct {
	Request
	want outcome
}

func randomRequest(rng *rand.Rand, i, vocab int) Request {
	r := greedy(1+rng.IntN(24), 1+rng.IntN(12))
	if i%2 == 1 {
		r.Sampling = sampling.Params{Temperature: 1, TopK: 20, TopP: 0.95, Seed: rng.Uint64()}
	}
	r.Scores, r.PromptScores, r.Top = i%3 == 0, i%4 == 1, i%3
	if i%3 == 2 {
		r.Stop = []int32{3, 5, 8, 13, 21, 34, 55}
	}
	if rng.IntN(2) == 0 {
		r.Sampling.RepetitionPenalty, r.Sampling.FrequencyPenalty = 1+rng.Float64(), rng.Float64()
	}
	if rng.IntN(2) == 0 {
		r.Allowed = pick.NewMask(vocab)
		for range vocab / 2 {
			r.Allowed.Allow(rng.Int32N(int32(vocab)))
		}
	}
	return r
}

// clients is what many goroutines that submit texts share.
type clients struct {
	t       *testing.T
	s       *Scheduler
	texts   []text
	running sync.WaitGroup

	mu   sync.Mutex
	ends map[string]int
}

// run makes n requests one after another.
func (c *clients) run(n int, rng *rand.Rand) {
	for range n {
		end := c.one(c.texts[rng.IntN(len(c.texts))], rng)
		c.mu.Lock()
		c.ends[end]++
		c.mu.Unlock()
	}
}

// one makes a request and returns how it ended.
func (c *clients) one(x text, rng *rand.Rand) string {
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	if rng.IntN(8) == 0 {
		x.Request.Prompt = nil
	}
	g, err := c.s.Submit(ctx, x.Request)
	if err != nil {
		return "refused"
	}
	if rng.IntN(3) == 0 { // not always before the end
		after := rng.IntN(6)
		for range g.Tokens() {
			if after--; after <= 0 {
				break
			}
		}
		cancel()
	}
	tokens, reason, err := g.Wait()
	cancelled := reason == session.StopCancelled
	if cancelled && ctx.Err() != nil && len(tokens) <= len(x.want.tokens) {
		x.want = outcome{x.want.tokens[:len(tokens)], reason}
	}
	if got := (outcome{tokens, reason}); err != nil || got.reason != x.want.reason || !slices.Equal(got.tokens, x.want.tokens) {
		c.t.Errorf("got %v, %v, want %v", got, err, x.want)
	}
	if cancelled {
		return "cancelled"
	}
	return "completed"
}

func ExampleScheduler() {
	sess, err := session.New(newFake(), session.Options{Slots: 4, Context: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := New(sess, Options{Queue: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	g, err := s.Submit(context.Background(), Request{Prompt: []int32{1, 2, 3}, MaxTokens: 4, Sampling: sampling.Greedy()})
	if err != nil {
		fmt.Println(err)
		return
	}
	for token := range g.Tokens() {
		_ = token // show it
	}
	tokens, reason, err := g.Wait()
	fmt.Println(len(tokens), reason, err)
	// Output: 4 length <nil>
}
