package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"smelt.example/smelt"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/runtime/prefix"
	"smelt.example/smelt/internal/runtime/scheduler"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/live"
	"smelt.example/smelt/runtime/sampling"
)

// puppet is an engine that runs a model, with all its steps, and has it say what a test wants:
// of each token one only is allowed.
type puppet struct {
	about *engine.Model
	s     *scheduler.Scheduler
	end   int32

	mu    sync.Mutex
	reply map[string][]int32 // by the prompt
	head  int                // the longest that was told
}

// openPuppet runs the storyteller on the processor, or else the evaluator.
func openPuppet(t *testing.T, o smelt.Options) *puppet {
	t.Helper()
	f, err := smelt.OpenFiles(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	model := devices.Model{Source: f.Source(), Weights: f.Model.Weights}
	how := devices.Options{Context: o.Context, Chunk: 128, Slots: o.Slots, CacheRAM: o.CacheRAM, Stop: t.Context().Err}
	d, _, err := devices.All().Open("cpu", model, how)
	if err != nil {
		t.Log(err)
		d, _, err = devices.All().Open("reference", model, how)
	}
	if err != nil {
		t.Fatal(err)
	}
	sess, err := session.New(d, session.Options{Slots: o.Slots, Chunk: 128, Context: o.Context})
	if err != nil {
		t.Fatal(err)
	}
	s, err := scheduler.New(sess, scheduler.Options{Queue: 16})
	if err != nil {
		t.Fatal(err)
	}
	about, err := live.Describe(f, "storyteller", o)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := f.Stop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if c := s.Stats().Cache; c.Bytes != 0 {
			t.Errorf("after Close: %+v", c)
		}
		for _, err := range []error{d.Close(), f.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return &puppet{about: about, s: s, end: ends[0], reply: map[string][]int32{}}
}

func (p *puppet) Model() *engine.Model { return p.about }

// Start has the model say p's reply to the prompt.
func (p *puppet) Start(ctx context.Context, r engine.Request) (engine.Text, error) {
	p.mu.Lock()
	reply := append(slices.Clone(p.reply[fmt.Sprint(r.Tokens)]), p.end)
	p.head = max(p.head, r.Head)
	p.mu.Unlock()
	mask := pick.NewMask(p.about.Vocab)
	mask.Allow(reply[0])
	g, err := p.s.Submit(ctx, scheduler.Request{
		Prompt: r.Tokens, Head: r.Head, MaxTokens: r.MaxTokens, Sampling: sampling.Greedy(), Allowed: mask, Stop: []int32{p.end}, Stream: r.Stream,
		End: func(token int32) bool {
			mask.Forbid(token)
			reply = reply[1:]
			mask.Allow(reply[0])
			return false
		},
	})
	return puppetText{g}, err
}

func (p *puppet) Score(context.Context, []int32, int) ([]engine.Score, error) { return nil, nil }

func (p *puppet) Cache() engine.Cache {
	c := p.s.Stats().Cache
	return engine.Cache{Bytes: c.Bytes, Room: c.Room, Pages: c.Pages, Frontiers: c.Frontiers, Hits: c.HitsByKind(), Ends: c.EndsByReason(), Reused: c.Reused}
}

type puppetText struct{ *scheduler.Generation }

func (t puppetText) Steps() iter.Seq2[engine.Step, error] {
	return func(yield func(engine.Step, error) bool) {
		for id := range t.Tokens() {
			if !yield(engine.Step{ID: id}, nil) {
				return
			}
		}
		if _, _, err := t.Wait(); err != nil {
			yield(engine.Step{}, err)
		}
	}
}

func (t puppetText) Result() engine.Result {
	_, reason, _ := t.Wait()
	prompt := t.Prompt()
	read, _ := t.Times()
	return engine.Result{
		Ended: reason == session.StopToken, Cached: prompt.Reused, Why: prompt.End.String(), Known: prompt.End.Known, At: prompt.End.At, Prompt: read,
	}
}

// job is an agent's work: tasks that need some calls of tools each, in a conversation that a
// client sends back as many do, without reasoning and respelled.
type job struct {
	c       *client
	p       *puppet
	rng     *rand.Rand
	system  string
	history []any
	found   int // words of a tool's result
	turn    int
	had     int // tokens of the latest prompt and its reply

	rows []row
}

// row is what a turn came to.
type row struct {
	prompt, cached, most int // most: what could be cached
	took                 time.Duration
}

func newJob(c *client, p *puppet, n uint64) *job {
	j := &job{c: c, p: p, found: 40, rng: rand.New(rand.NewPCG(7, n))}
	j.system = "You tend a library of old stories. Search before you answer, cite the shelf, and be brief. Never make a story up; say so if there is none."
	return j
}

// words are some of a small vocabulary, so that each job's texts are its own.
func (j *job) words(n int) string {
	all := strings.Fields("the old fisherman walked along shore and found silver key under stone near mill where miller had lost it winter before while his daughter sang of foxes ravens gold bread snow lanterns harbour wolves kings")
	out := make([]string, n)
	for i := range out {
		out[i] = all[j.rng.IntN(len(all))]
	}
	return strings.Join(out, " ")
}

const libraryTools = `[{"type":"function","function":{"name":"search","description":"Find stories by what they tell of.","parameters":{"type":"object","properties":{"query":{"type":"string","description":"words of the story"},"limit":{"type":"integer"}},"required":["query"]}}},
{"type":"function","function":{"name":"read","description":"Read a page of a story.","parameters":{"type":"object","properties":{"story":{"type":"string"},"page":{"type":"integer"}},"required":["story","page"]}}}]`

// step is one turn: a request, and what the agent adds to its history after it.
func (j *job) step(t *testing.T) {
	t.Helper()
	if j.turn%4 == 0 {
		j.history = append(j.history, object{"role": "user", "content": "Is there a story in which " + j.words(12) + "?"})
	}
	call := "<｜DSML｜invoke name=\"search\">\n<｜DSML｜parameter name=\"query\" string=\"true\">" + j.words(4) + "</｜DSML｜parameter>\n<｜DSML｜parameter name=\"limit\" string=\"false\">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
	said := "It may be about " + j.words(8) + ".</think>" + callStart + call + callEnd
	if j.turn%4 == 3 {
		said = "That is enough.</think>There is one: " + j.words(20) + "."
	}
	reply := j.spelled(t, said)
	began := time.Now()
	message, prompt, cached := j.ask(t, j.body(t, j.system, libraryTools, j.history), reply)
	j.rows = append(j.rows, row{prompt: prompt, cached: cached, most: j.had, took: time.Since(began)})
	j.had = prompt + len(reply)
	j.history = append(j.history, forgetful([]any{message})...)
	if calls, _ := at(message, "tool_calls").([]any); len(calls) > 0 {
		j.history = append(j.history, object{"role": "tool", "tool_call_id": at(calls[0], "id"), "content": `{"found": "` + j.words(j.found) + `"}`})
	} else if j.turn%4 != 3 {
		t.Fatalf("turn %d: no call in %v", j.turn, message)
	}
	j.turn++
}

// spelled cuts a text at random places before it makes tokens of it: a model often has other
// tokens for a text than its tokenizer.
func (j *job) spelled(t *testing.T, text string) (ids []int32) {
	t.Helper()
	for text != "" {
		n := min(1+j.rng.IntN(40), len(text))
		// No special token is cut, nor a character.
		if open := strings.LastIndex(text[:n], "<"); open >= 0 && !strings.Contains(text[open:n], ">") {
			n = open + strings.Index(text[open:], ">") + 1
		}
		for n < len(text) && text[n]&0xc0 == 0x80 {
			n++
		}
		more, err := j.p.about.Tokenizer.Encode(text[:n])
		if err != nil {
			t.Fatal(err)
		}
		ids, text = append(ids, more...), text[n:]
	}
	return ids
}

// body is a request.
func (j *job) body(t *testing.T, system, tools string, history []any) string {
	t.Helper()
	body, err := json.Marshal(object{"messages": append([]any{object{"role": "system", "content": system}}, history...), "tools": json.RawMessage(tools), "max_tokens": 400})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// tokens are those of a request's prompt.
func (j *job) tokens(t *testing.T, body string) (ids []int32) {
	t.Helper()
	for _, x := range at(j.c.post("/tokenize", body).object(t), "tokens").([]any) {
		ids = append(ids, int32(x.(float64)))
	}
	return ids
}

// ask sends a request, to which the model is to reply so.
func (j *job) ask(t *testing.T, body string, reply []int32) (message any, prompt, cached int) {
	t.Helper()
	ids := j.tokens(t, body)
	j.p.mu.Lock()
	j.p.reply[fmt.Sprint(ids)] = reply
	j.p.mu.Unlock()
	r := j.c.post("/v1/chat/completions", body)
	if r.status != 200 {
		t.Fatal(r.body)
	}
	v := r.object(t)
	if got := at(v, "choices", 0, "finish_reason"); got != "stop" && got != "tool_calls" {
		t.Fatalf("it ends with %v: %v", got, r.body)
	}
	if n := at(v, "usage", "prompt_tokens").(float64); int(n) != len(ids) {
		t.Errorf("a prompt of %v tokens was one of %d", n, len(ids))
	}
	return at(v, "choices", 0, "message"), len(ids), int(at(v, "usage", "prompt_tokens_details", "cached_tokens").(float64))
}

// title is a small request beside, as clients make them for the name of a conversation.
func (j *job) title(t *testing.T) {
	t.Helper()
	body := j.body(t, "Name the conversation in four words.", "[]", []any{object{"role": "user", "content": j.words(20)}})
	j.ask(t, body, j.spelled(t, "So.</think>A title"))
}

// jobs are agents of one server.
func jobs(t *testing.T, n int, o smelt.Options, how ...Options) []*job {
	t.Helper()
	p := openPuppet(t, o)
	s := New(append(how, Options{})[0])
	s.Ready(p)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	c := &client{t: t, server: s, url: h.URL, header: map[string][]string{}}
	all := make([]*job, n)
	for i := range all {
		all[i] = newJob(c, p, uint64(i))
	}
	return all
}

// TestTurns: of each turn of an agent's conversation all is there that was read and written
// before, whatever else ran in its slot meanwhile; and nothing but that is said to be.
func TestTurns(t *testing.T) {
	all := jobs(t, 3, smelt.Options{Context: 2048, Slots: 2, CacheRAM: 64 << 20})
	for i := range 3 {
		for _, j := range all {
			j.step(t)
			if i == 1 {
				j.title(t)
			}
		}
	}
	for n, j := range all {
		for i, r := range j.rows {
			if i == 0 && n > 0 { // the head, in whole blocks
				r.most = j.p.head - j.p.head%128
			}
			t.Logf("agent %d, turn %d: of %d tokens %d were there", n, i, r.prompt, r.cached)
			if r.cached != r.most {
				t.Errorf("agent %d, turn %d: of %d tokens %d were there, expected %d", n, i, r.prompt, r.cached, r.most)
			}
		}
	}
	metrics := all[0].c.do("GET", "/metrics", "").body
	for _, want := range []string{`smelt_cache_hits_total{kind="head"} `, `smelt_cache_hits_total{kind="text"} `, "smelt_cache_bytes ", `smelt_cache_ends_total{reason="goes_on"} `} {
		if _, rest, ok := strings.Cut(metrics, "\n"+want); !ok || strings.HasPrefix(rest, "0\n") {
			t.Errorf("metrics say nothing of %s: %s", want, metrics)
		}
	}
}

// TestTurnsWithoutTools: where the next prompt has no reasoning any more, a turn goes on from the
// prompt before, and what was answered has the tokens that the model wrote it with.
func TestTurnsWithoutTools(t *testing.T) {
	j := jobs(t, 1, smelt.Options{Context: 2048, Slots: 2, CacheRAM: 64 << 20})[0]
	before := 0
	for i := range 3 {
		j.history = append(j.history, object{"role": "user", "content": j.words(30)})
		answer := "It is " + j.words(10)
		message, prompt, cached := j.ask(t, j.body(t, "Be brief.", "[]", j.history), oddly(t, j.p.about, "Let me think.</think>"+answer))
		j.title(t)
		if want := max(before-1, 0); cached != want {
			t.Errorf("turn %d: of %d tokens %d were there, expected %d", i, prompt, cached, want)
		}
		before = prompt
		j.history = append(j.history, message)
		next := j.tokens(t, j.body(t, "Be brief.", "[]", append(slices.Clip(j.history), object{"role": "user", "content": "so?"})))
		if said := oddly(t, j.p.about, answer); prompt+len(said) > len(next) || !slices.Equal(next[prompt:prompt+len(said)], said) {
			t.Errorf("turn %d: the answer is spelled anew", i)
		}
	}
}

// TestWhyLogged: the log says why no more of a prompt was there and, if prompts may be in it, what
// the prompt has where what is known goes on otherwise.
func TestWhyLogged(t *testing.T) {
	var log bytes.Buffer
	o := Options{Log: slog.New(slog.NewTextHandler(&log, nil))}
	o.LogPrompts = true
	j := jobs(t, 1, smelt.Options{Context: 2048, Slots: 2, CacheRAM: 64 << 20}, o)[0]
	for _, question := range []string{"Tell of the fox and the raven.", "Tell of the fox and the miller."} {
		j.ask(t, j.body(t, "Be brief.", "[]", []any{object{"role": "user", "content": question}}), nil)
	}
	for _, want := range []string{
		`cached_tokens=0 cache_end="nothing known begins like the prompt"`,
		`cache_end="the prompt differs at token \d+ of \d+ from a prompt`, `cache_known=" raven[^=]*`, `cache_prompt=" miller[^=]*`,
	} {
		if !regexp.MustCompile(want).MatchString(log.String()) {
			t.Errorf("no %s in the log: %s", want, log.String())
		}
	}
}

// TestOnePrefill: several choices read their prompt once.
func TestOnePrefill(t *testing.T) {
	j := jobs(t, 1, smelt.Options{Context: 2048, Slots: 2, CacheRAM: 64 << 20})[0]
	body := `{"n":2,"max_tokens":5,"messages":[{"role":"user","content":"` + j.words(200) + `"}]}`
	v := j.c.post("/v1/chat/completions", body).object(t)
	prompt, _ := at(v, "usage", "prompt_tokens").(float64)
	c := j.p.s.Stats()
	if len(at(v, "choices").([]any)) != 2 || c.Cache.Hits[prefix.Prompt] != 1 || c.Reused != uint64(prompt-1) || prompt < 200 {
		t.Errorf("%v; %+v", v, c)
	}
}

// TestTurnFigures prints what is computed of the prompts of agents' conversations, with what
// is kept and without (scripts/turns).
func TestTurnFigures(t *testing.T) {
	if os.Getenv("SMELT_TURNS") == "" {
		t.Skip("scripts/turns runs it")
	}
	const turns, room = 20, 256 << 20
	for _, c := range []struct {
		title         string
		agents, slots int
		titles        bool
	}{
		{"one agent alone", 1, 1, false},
		{"one agent, and a title after each turn", 1, 1, true},
		{"four agents by turns", 4, 2, false},
	} {
		t.Run(c.title, func(t *testing.T) {
			var runs [2][]*job
			for k, bytes := range []int64{room, 0} {
				slots := c.slots
				runs[k] = jobs(t, c.agents, smelt.Options{Context: 16384, Slots: slots, CacheRAM: bytes})
				for range turns {
					for _, j := range runs[k] {
						j.found = 200 // for some 8,000 tokens in the end
						j.step(t)
						if c.titles {
							j.title(t)
						}
					}
				}
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Printf("\n%s, %d slots\n", c.title, c.slots)
			fmt.Fprintln(w, "turn\tprompt\tcomputed\twithout\ttime\twithout\t")
			var sum [5]int
			for i := range turns {
				var r [5]int
				for k, run := range runs {
					for _, j := range run {
						if k == 0 {
							r[0] += j.rows[i].prompt
						}
						r[1+k] += j.rows[i].prompt - j.rows[i].cached
						r[3+k] += int(j.rows[i].took.Milliseconds())
					}
				}
				fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d ms\t%d ms\t\n", i+1, r[0], r[1], r[2], r[3], r[4])
				for k := range sum {
					sum[k] += r[k]
				}
			}
			fmt.Fprintf(w, "all\t%d\t%d\t%d\t%d ms\t%d ms\t\n", sum[0], sum[1], sum[2], sum[3], sum[4])
			w.Flush()
		})
	}
}
