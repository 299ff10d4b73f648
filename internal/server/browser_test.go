package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smelt.example/smelt/internal/browsertest"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/script"
)

// pictures has the test that takes the documentation's pictures of the page take them.
var pictures = flag.String("pictures", "", "folder to write pictures of the page to")

// TestIndex: browsers get the page, other clients the list of endpoints.
func TestIndex(t *testing.T) {
	c := serve(t, nil, Options{Keys: []string{"k"}})
	for accept, page := range map[string]bool{
		"": false, "*/*": false, "application/json, text/plain;q=0.9, */*;q=0.1": false, "text/html;q=0": false, "text/*": false, "text/htmlx": false,
		"text/html": true, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true, "text/plain, TEXT/HTML; q=0.3": true,
	} {
		c.header = http.Header{"Accept": {accept}}
		for _, path := range []string{"/", "/v1/"} {
			r := c.do("GET", path, "")
			html := strings.HasPrefix(r.body, "<!DOCTYPE html>") && r.header.Get("Content-Type") == "text/html; charset=utf-8"
			list := strings.Contains(r.body, "GET, HEAD /health\n") && strings.HasPrefix(r.header.Get("Content-Type"), "text/plain")
			if r.status != 200 || html != page || list == page || !strings.Contains(r.header.Get("Vary"), "Accept") {
				t.Errorf("%q at %s: %d %v %.60q", accept, path, r.status, r.header, r.body)
			}
		}
	}
	c.header = http.Header{"Accept": {"text/html"}}
	if policy := c.do("GET", "/", "").header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
}

// held is a server whose engine waits before each token until it may go on.
type held struct {
	*client
	engine *script.Engine
	page   *browsertest.Page
	pass   chan struct{}
}

// hold opens the page of a server that answers with texts.
func hold(t *testing.T, o Options, texts ...string) *held {
	t.Helper()
	page := browsertest.Open(t)
	h := &held{engine: scripted(t, texts...), page: page, pass: make(chan struct{})}
	h.engine.Before = func(ctx context.Context, _ int) error {
		select {
		case <-h.pass:
		case <-ctx.Done():
		}
		return nil
	}
	o.Loopback = true
	h.client = serve(t, nil, o)
	return h
}

// let lets n tokens come.
func (h *held) let(n int) {
	for range n {
		h.pass <- struct{}{}
	}
}

// ask types a message and sends it.
func (h *held) ask(text string) {
	h.t.Helper()
	h.page.Type(text)
	h.page.Key("Enter", false)
}

// idle waits until no text runs any more.
func (h *held) idle() {
	h.t.Helper()
	for begun := time.Now(); h.engine.Running() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			h.t.Fatalf("%d texts still run", h.engine.Running())
		}
	}
}

// quiet fails if the page complained of anything but answers that are errors.
func (h *held) quiet() {
	h.t.Helper()
	for _, line := range h.page.Log() {
		if !strings.Contains(line, `"source":"network"`) {
			h.t.Errorf("the page's log: %s", line)
		}
	}
}

const (
	hack     = `<img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script>`
	thinking = "One wave, then <b>another</b>.</think>The tide turns. " + hack + " It is **late <i>**, `" + hack + "`.\n\n```go\nx := 1 < 2 && `y` " + hack + "\n```\n\nDone." + eos
)

// TestPage: a conversation on the page, from the model's opening to the third turn.
func TestPage(t *testing.T) {
	h := hold(t, Options{}, thinking, "Second.</think>Then comes the ebb."+eos, "Third.</think>A long story without an end"+eos)
	p := h.page
	var prompts []string
	reply := h.engine.Reply
	h.engine.Reply = func(r engine.Request) []int32 {
		text, err := h.engine.About.Tokenizer.Decode(r.Tokens)
		if err != nil {
			t.Error(err)
		}
		prompts = append(prompts, text)
		return reply(r)
	}
	p.Go(h.url)
	p.WaitText("#state", "The model is opening")
	p.Type("When does the")
	p.Key("Enter", true)
	p.Type("tide turn? " + hack)
	p.Key("Enter", false) // nobody is there yet
	h.server.Ready(h.engine)
	p.WaitText("#model", "storyteller")
	p.Wait("!document.querySelector('#send').disabled")
	p.Key("Enter", false)

	h.let(6)
	p.WaitText(".reasoning", "One wave, then")
	p.Wait("document.querySelector('details').open && !document.querySelector('#stop').hidden")
	close(h.pass)
	p.WaitText(".answer .figures", "tokens/s, first after ")
	h.idle()
	p.Wait("!document.querySelector('details').open && document.querySelector('#stop').hidden")
	equal(t, "summary", strings.HasPrefix(p.Text("summary"), "Thought for "), true)
	equal(t, "question", p.Text(".user > div"), "When does the\ntide turn? "+hack)
	equal(t, "paragraphs", p.Text(".answer .text > p"), "The tide turns. "+hack+" It is late <i>, "+hack+".\nDone.")
	equal(t, "bold and code", p.Text(".answer strong, .answer p code"), "late <i>\n"+hack)
	equal(t, "code", p.Text(".answer pre code"), "x := 1 < 2 && `y` "+hack)
	var made int
	p.Eval("document.querySelectorAll('main :is(img, script, b, i)').length", &made)
	equal(t, "elements made of texts", made, 0)
	p.Click("summary")
	p.WaitText(".reasoning", "One wave, then <b>another</b>.")

	p.Click("#text")
	h.ask("And then?")
	p.WaitText(".answer:last-child .text", "Then comes the ebb.")
	p.Wait("document.querySelector('#stop').hidden")
	_, tail, _ := strings.Cut(prompts[1], "<｜User｜>When does the\ntide turn? "+hack+"<｜Assistant｜>")
	if !strings.HasPrefix(tail, "</think>The tide turns. <img") || !strings.HasSuffix(tail, "Done."+eos+"<｜User｜>And then?<｜Assistant｜><think>") {
		t.Errorf("the second prompt: %q", prompts[1])
	}
	p.Click(".again")
	p.WaitText(".answer:last-child .text", "A long story without an end")
	equal(t, "the prompt once more", prompts[2], prompts[1])
	h.quiet()

	p.Eval(`document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=\"document.title='hacked'\"><p style='color:red'>x</p>")`, nil)
	p.Wait("true")
	var title string
	p.Eval("new Promise(done => setTimeout(() => done(document.title), 100))", &title)
	if log := strings.Join(p.Log(), "\n"); title == "hacked" || !strings.Contains(log, `"source":"security"`) {
		t.Errorf("markup of others: title %q, log %s", title, log)
	}
}

// TestPageStops: Esc, the button and a new conversation end the text, and the engine
// sees it.
func TestPageStops(t *testing.T) {
	h := hold(t, Options{}, "Let me think.</think>A story that"+strings.Repeat(" goes on and on", 30)+eos)
	p := h.page
	h.server.Ready(h.engine)
	p.Go(h.url)
	p.Wait("document.querySelector('#model').innerText")
	for _, stop := range []struct {
		name   string
		tokens int
		do     func()
	}{
		{"Esc", 12, func() { p.Key("Escape", false) }},
		{"the button", 12, func() { p.Click("#stop") }},
		{"Esc before any token", 0, func() { p.Key("Escape", false) }},
	} {
		h.ask("Tell a story, please. " + stop.name)
		p.Wait("!document.querySelector('#stop').hidden")
		h.let(stop.tokens)
		if stop.tokens > 0 {
			p.WaitText(".answer:last-child .text", "A story")
		}
		for h.engine.Running() != 1 {
			time.Sleep(time.Millisecond)
		}
		stop.do()
		h.idle()
		p.WaitText(".answer:last-child", "Stopped.")
		p.Wait("document.querySelector('#stop').hidden")
		figures := p.Text(".answer:last-child .figures")
		if strings.HasPrefix(figures, "about ") != (stop.tokens > 0) {
			t.Errorf("%s: figures %q", stop.name, figures)
		}
	}
	h.ask("One more.")
	h.let(12)
	p.Click("#new")
	h.idle()
	p.Wait("document.querySelectorAll('.user, .answer').length === 0 && !document.querySelector('#hello').hidden")
	h.quiet()
}

// TestPageErrors: what the server refuses and what fails on the way is shown in its words,
// and the conversation can go on.
func TestPageErrors(t *testing.T) {
	h := hold(t, Options{}, "Well.</think>Here it is."+eos)
	p := h.page
	fail := errors.New("the device burns")
	h.engine.Before = func(_ context.Context, i int) error {
		if i == 4 {
			return fail
		}
		return nil
	}
	h.server.Ready(h.engine)
	p.Go(h.url)
	p.Wait("document.querySelector('#model').innerText")
	p.Click("#settings-button")
	p.Click("#temperature")
	p.Type("9")
	p.Click("#text")
	h.ask("Hello?")
	p.WaitText(".wrong", "temperature: found 9, expected 0 to 2")
	p.Eval("document.querySelector('#temperature').value = ''", nil)
	p.Click(".again")
	p.WaitText(".wrong", "the model failed; the server's log has the reason under this request's id")
	fail = nil
	p.Click(".again")
	p.WaitText(".answer .text", "Here it is.")
	equal(t, "errors left", p.Text(".wrong"), "")
	p.Eval("document.querySelector('#tokens').value = '4'", nil)
	h.ask("Shortly.")
	p.WaitText(".answer:last-child", "The answer ends here because it came to the limit of tokens.")
	h.quiet()
}

// TestPageKeys: the page asks for a key where the server does, keeps it for the tab, and
// asks again where it is wrong.
func TestPageKeys(t *testing.T) {
	h := hold(t, Options{Keys: []string{"sesame"}}, "Well.</think>Come in."+eos)
	close(h.pass)
	p := h.page
	h.server.Ready(h.engine)
	p.Go(h.url)
	p.WaitText("#door", "asks for an API key")
	p.Wait("document.activeElement.id === 'key'")
	h.ask("pepper")
	p.WaitText("#refused", "no valid key")
	p.Wait("document.querySelector('#send').disabled && document.activeElement.id === 'key'")
	h.ask("sesame")
	p.Wait("document.querySelector('#door').hidden && document.activeElement.id === 'text'")
	h.ask("Hello?")
	p.WaitText(".answer .text", "Come in.")
	p.Go(h.url + "/?again")
	p.Wait("document.querySelector('#model').innerText")
	p.Wait("document.querySelector('#door').hidden")
	var kept []string
	p.Eval("[document.cookie, JSON.stringify(localStorage), sessionStorage.getItem('smelt-key')]", &kept)
	equal(t, "kept", kept, []string{"", "{}", "sesame"})
	h.quiet()
}

// TestPictures takes pictures of the page in several states, for people to look at.
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("-pictures says where to write them")
	}
	const reasoning = "The user wants to know why the sea goes away and comes back. The moon pulls at the water; the earth turns beneath it, so most coasts see two high waters a day. I should keep it short and add the numbers for Brest, where the range is large."
	const answer = "The moon pulls at the sea, and the earth turns below the bulge that this makes. So most coasts meet high water **twice a day**, about 50 minutes later each day.\n\nIn Brest it rises by 4 m on average. The height between low and high water is nearly a cosine:\n\n```python\ndef height(t, low=2.5, high=6.5):\n    \"\"\"Metres above the chart's zero, t hours after high water.\"\"\"\n    return (high + low) / 2 + (high - low) / 2 * cos(2 * pi * t / 12.42)\n```\n\nWith `t = 6.21` it is low water."
	h := hold(t, Options{}, reasoning+"</think>"+answer+eos)
	p := h.page
	h.server.Ready(h.engine)
	shoot := func(name string) {
		t.Helper()
		p.Eval("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))", nil)
		if err := os.WriteFile(filepath.Join(*pictures, name+".png"), p.Picture(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.Go(h.url)
	p.Look(860, 700, false)
	p.Wait("document.querySelector('#model').innerText")
	shoot("empty-light")
	h.ask("Why are there tides? And how do I compute the height of the water between two of them?")
	step := func(n int) {
		for range n {
			h.let(1)
			time.Sleep(12 * time.Millisecond)
		}
	}
	step(50)
	p.Wait("document.querySelector('.reasoning')")
	shoot("thinking-light")
	p.Look(860, 700, true)
	shoot("thinking-dark")
	step(100)
	p.Look(390, 760, false)
	shoot("answering-narrow")
	go func() {
		for {
			select {
			case h.pass <- struct{}{}:
				time.Sleep(12 * time.Millisecond)
			case <-t.Context().Done():
				return
			}
		}
	}()
	p.WaitText(".answer .below", "Copy")
	for _, look := range []struct {
		name  string
		width int
		dark  bool
	}{{"light", 860, false}, {"dark", 860, true}, {"narrow-dark", 390, true}, {"wide", 1500, false}} {
		p.Look(look.width, 700, look.dark)
		shoot("answered-" + look.name)
	}
	p.Look(860, 700, false)
	p.Click("#settings-button")
	shoot("settings-light")
	p.Look(390, 760, true)
	shoot("settings-narrow-dark")
	p.Look(860, 700, false)
	p.Eval("document.querySelector('#temperature').value = '9'", nil)
	p.Click("#settings-button")
	p.Click("#text")
	h.ask("What of neap tides?")
	p.WaitText(".wrong", "temperature")
	shoot("error-light")
	p.Look(860, 700, true)
	shoot("error-dark")
	p.Eval("document.querySelector('#door').hidden = false", nil)
	shoot("key-dark")
	fmt.Println("look at", *pictures)
}
