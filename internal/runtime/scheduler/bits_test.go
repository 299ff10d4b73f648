package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/cpu"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/prefix"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models"
	"smelt.example/smelt/runtime/sampling"
)

// keepers are the evaluator and the processor's device on a fixture, with so much room.
func keepers(t *testing.T, size session.Options, room int64) (evaluator, processor device.Device) {
	t.Helper()
	m, err := models.Open("../../models/deepseekv4/testdata/fixtures/b-official-fp8fp4", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	e, err := reference.New(m.Graph, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	e.Allow(room)
	llvm, err := jit.Open("")
	if err != nil {
		t.Log(err)
		return e, nil
	}
	b, _, err := bundle.Compile(bundle.Source{Name: "fixture", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Context: size.Context, Chunk: size.Chunk, Slots: size.Slots})
	if err != nil {
		t.Fatal(err)
	}
	admit := func(*bundle.Bundle, ...admission.Part) (int64, error) { return room, nil }
	p, err := cpu.Open(b, m.Checkpoint, cpu.Options{LLVM: llvm, Cache: jit.UserCache(), Poison: true, Admit: admit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, p
}

// question is a prompt and how to go on from it.
func question(prompt []int32, head int, drawn bool) Request {
	r := Request{Prompt: prompt, Head: head, MaxTokens: 4, Sampling: sampling.Greedy(), Scores: true, Top: 3}
	if drawn {
		r.Sampling = sampling.Params{Temperature: 1, Seed: uint64(len(prompt))}
	}
	return r
}

// answers runs requests one after the other.
func answers(t *testing.T, s *Scheduler, all []Request) (gens []*Generation) {
	t.Helper()
	for _, r := range all {
		g := submit(t, s, r)
		if _, _, err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		gens = append(gens, g)
	}
	return gens
}

// sameBits compares texts and their scores.
func sameBits(t *testing.T, what string, got, want *Generation) {
	t.Helper()
	if !slices.Equal(got.tokens, want.tokens) || len(got.scores) != len(want.scores) {
		t.Errorf("%s: %v, expected %v", what, got.tokens, want.tokens)
		return
	}
	for i := range got.scores {
		if a, b := got.scores[i], want.scores[i]; a.LogProb != b.LogProb || !slices.Equal(a.Top, b.Top) {
			t.Errorf("%s, token %d: %v, expected %v; %v", what, i, a, b, got.found)
		}
	}
}

// TestCacheBits: what prompts go on from has the bits of one that is read whole, on the evaluator, and
// on the processor where a prompt wrote it. Where a text did, whose kernels there sum in
// another order, the processor has the tokens.
func TestCacheBits(t *testing.T) {
	size := session.Options{Slots: 2, Chunk: 32, Context: 160, Wanted: 16, Cache: prefix.Options{Page: 16, Stride: 48}}
	evaluator, processor := keepers(t, size, 64<<20)
	for _, x := range []struct {
		name string
		d    device.Device
		cuts int
		same func(t *testing.T, what string, got, want *Generation)
	}{{"evaluator", evaluator, 2, sameBits}, {"processor", processor, 6, sameTokens}} {
		t.Run(x.name, func(t *testing.T) {
			switch {
			case x.d == nil:
				t.Skip("no libLLVM")
			case testing.Short() && x.name == "evaluator":
				t.Skip("-short: takes long with the race detector")
			}
			t.Run("cuts", func(t *testing.T) { cutAnywhere(t, x.d, size, x.cuts) })
			t.Run("talks", func(t *testing.T) {
				all, gens := fourTalks(t, x.d, size)
				plain := start(t, without(x.d), size, Options{})
				defer plain.Close()
				for _, i := range sample.Of(t, []int{4, 5, 6, 7, 8, 9, 10, 11}, 4) {
					all[i].PromptScores = true // which has all of it read
					want := answers(t, plain, all[i:i+1])[0]
					x.same(t, fmt.Sprintf("round %d, talk %d", i/4, i%4), gens[i], want)
				}
			})
		})
	}
}

// cutAnywhere reads prompts that begin as another did, up to some place: the bits are those of
// one that is read whole, in chunks of any size.
func cutAnywhere(t *testing.T, d device.Device, size session.Options, n int) {
	rng := rand.New(rand.NewPCG(11, 0))
	whole := make([]int32, 150)
	for i := range whole {
		whole[i] = rng.Int32N(int32(d.Vocab()))
	}
	cuts := []int{64, 127, 128, 129}
	for at := 2; at < len(whole)-4; at += 3 {
		cuts = append(cuts, at)
	}
	for _, cut := range sample.Of(t, cuts, n) {
		other := slices.Concat(whole[:cut], []int32{1, 2})
		r := question(whole[:min(cut+1+rng.IntN(20), len(whole))], cut, cut%2 == 0)
		s := start(t, d, size, Options{})
		gens := answers(t, s, []Request{question(other, cut, false), r, r})
		reused := cut // the head
		if cut > wholeBlocks {
			reused = wholeBlocks
		}
		if first, again := gens[1].Prompt(), gens[2].Prompt(); first.Reused != reused || again.Reused != len(r.Prompt)-1 {
			t.Errorf("cut at %d of %d: %v, then %v", cut, len(r.Prompt), first.End, again.End)
		}
		s.Close()
		plain := start(t, without(d), size, Options{Chunk: 1 + rng.IntN(size.Chunk)})
		alone := answers(t, plain, []Request{r})
		plain.Close()
		sameBits(t, fmt.Sprintf("cut at %d", cut), gens[1], alone[0])
		sameBits(t, fmt.Sprintf("cut at %d, again", cut), gens[2], alone[0])
	}
}

// without is a device that keeps nothing. It scores tokens if the device does: the bits of
// scores are compared.
func without(d device.Device) device.Device {
	if s, ok := d.(device.ScoringRunner); ok {
		return struct{ device.ScoringRunner }{s}
	}
	return struct{ device.Device }{d}
}

// fourTalks are three rounds of four conversations with one head.
func fourTalks(t *testing.T, d device.Device, size session.Options) (all []Request, gens []*Generation) {
	t.Helper()
	rng := rand.New(rand.NewPCG(12, 0))
	head := make([]int32, 12)
	for i := range head {
		head[i] = rng.Int32N(int32(d.Vocab()))
	}
	said := [][]int32{head, head, head, head}
	s := start(t, d, size, Options{})
	defer s.Close()
	for round := range 3 {
		for i := range said {
			for range 3 + rng.IntN(12) {
				said[i] = append(slices.Clip(said[i]), rng.Int32N(int32(d.Vocab())))
			}
			r := question(said[i], len(head), i%2 == 0)
			g := answers(t, s, []Request{r})[0]
			if got := g.Prompt(); round > 0 && got.Reused < len(said[i])-20 || round == 0 && i > 0 && got.Reused < len(head) {
				t.Errorf("round %d, talk %d: of %d tokens %v", round, i, len(said[i]), got.End)
			}
			all, gens = append(all, r), append(gens, g)
			said[i] = slices.Concat(said[i], g.tokens)
		}
	}
	if c := s.Stats().Cache; c.Hits[prefix.Text] < 5 {
		t.Errorf("%+v", c)
	}
	return all, gens
}

// sameTokens compares texts: where they part, the token of each has to be all but as likely
// as the other's.
func sameTokens(t *testing.T, what string, got, want *Generation) {
	t.Helper()
	for i := range min(len(got.tokens), len(want.tokens)) {
		if got.tokens[i] == want.tokens[i] {
			continue
		}
		at := slices.IndexFunc(want.scores[i].Top, func(p sampling.Probable) bool { return p.Token == got.tokens[i] })
		if at < 0 || want.scores[i].LogProb-want.scores[i].Top[at].LogProb > 1e-3 {
			t.Errorf("%s, token %d: %d, expected %d: %v", what, i, got.tokens[i], want.tokens[i], want.scores[i])
		}
		t.Logf("%s parts at token %d, where two are as likely: %v", what, i, want.scores[i])
		return
	}
}
