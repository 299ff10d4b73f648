// Package browsertest lets tests use pages in a browser without a window.
package browsertest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Path finds a browser. The test is skipped where there is none, and with -short.
func Path(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("the page in a browser: not with -short")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("neither chromium nor google-chrome is on PATH: the page did not run in a browser")
	return ""
}

// Flags are those of every browser, with a folder of its own for what it keeps.
func Flags(profile string) []string {
	return []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--user-data-dir=" + profile}
}

// Page is a page in a browser, used as people do: by keys and clicks.
type Page struct {
	t       testing.TB
	browser *browser
	session string
}

// Open starts a browser with an empty page. It ends with the test.
func Open(t testing.TB) *Page {
	t.Helper()
	p := &Page{t: t, browser: start(t, Path(t))}
	var target struct{ TargetID string }
	p.do("Target.createTarget", args{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	p.do("Target.attachToTarget", args{"targetId": target.TargetID, "flatten": true}, &attached)
	p.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		p.do(domain+".enable", nil, nil)
	}
	return p
}

type args map[string]any

func (p *Page) do(method string, a args, into any) {
	p.t.Helper()
	raw, err := p.browser.call(p.session, method, a)
	if err == nil && into != nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		p.t.Fatalf("%s: %v", method, err)
	}
}

// Go opens an address.
func (p *Page) Go(url string) {
	p.t.Helper()
	var went struct{ ErrorText string }
	p.do("Page.navigate", args{"url": url}, &went)
	if went.ErrorText != "" {
		p.t.Fatalf("%s: %s", url, went.ErrorText)
	}
	p.Wait("document.readyState === 'complete'")
}

// Eval reads the value of an expression of JavaScript.
func (p *Page) Eval(expression string, into any) {
	p.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Exception struct{ Description string }
		}
	}
	p.do("Runtime.evaluate", args{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		p.t.Fatalf("%s: %s", expression, e.Exception.Description)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer.Result.Value, into); err != nil {
		p.t.Fatalf("%s: %v in %s", expression, err, answer.Result.Value)
	}
}

// Text is the text that the elements of a selector show, one a line; those that are hidden
// show none.
func (p *Page) Text(selector string) (text string) {
	p.t.Helper()
	p.Eval(shown(selector), &text)
	return text
}

// shown is the expression of Text.
func shown(selector string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(%q)].filter(e => e.checkVisibility()).map(e => e.innerText).join("\n")`, selector)
}

// patience is how long something may take to come about on a page.
const patience = 30 * time.Second

// Wait waits until an expression is true.
func (p *Page) Wait(expression string) {
	p.t.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		var is bool
		if p.Eval("Boolean("+expression+")", &is); is {
			return
		}
		if time.Since(begun) > patience {
			p.t.Fatalf("%s did not come about. The page:\n%.3000s\n%s", expression, p.Text("body"), strings.Join(p.Log(), "\n"))
		}
	}
}

// WaitText waits until the elements of a selector show a text.
func (p *Page) WaitText(selector, text string) {
	p.t.Helper()
	p.Wait(fmt.Sprintf("%s.includes(%q)", shown(selector), text))
}

// Type types a text into what has the focus.
func (p *Page) Type(text string) {
	p.t.Helper()
	p.do("Input.insertText", args{"text": text}, nil)
}

// Key presses a key. Shift holds that key meanwhile.
func (p *Page) Key(name string, shift bool) {
	p.t.Helper()
	code := map[string]int{"Enter": 13, "Escape": 27, "Tab": 9}[name]
	a := args{"key": name, "code": name, "windowsVirtualKeyCode": code, "type": "keyDown"}
	if name == "Enter" {
		a["text"] = "\r"
	}
	if shift {
		a["modifiers"] = 8
	}
	p.do("Input.dispatchKeyEvent", a, nil)
	a["type"] = "keyUp"
	delete(a, "text")
	p.do("Input.dispatchKeyEvent", a, nil)
}

// Click clicks into the middle of the first element of a selector.
func (p *Page) Click(selector string) {
	p.t.Helper()
	var at *struct{ X, Y float64 }
	p.Eval(fmt.Sprintf("(r => r && {x: r.x + r.width / 2, y: r.y + r.height / 2})(document.querySelector(%q)?.getBoundingClientRect())", selector), &at)
	if at == nil {
		p.t.Fatalf("there is no %s", selector)
	}
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.do("Input.dispatchMouseEvent", args{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}

// Look sets the window's size in points, and which scheme of colours the system prefers.
func (p *Page) Look(width, height int, dark bool) {
	p.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.do("Emulation.setDeviceMetricsOverride", args{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	p.do("Emulation.setEmulatedMedia", args{"features": []args{{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}}}, nil)
}

// Picture is what the window shows, as PNG.
func (p *Page) Picture() []byte {
	p.t.Helper()
	var shot struct{ Data string }
	p.do("Page.captureScreenshot", args{"format": "png", "optimizeForSpeed": false}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

// Log has what the page wrote to the console, what it failed at, and what its policy
// forbade it.
func (p *Page) Log() []string {
	p.browser.mu.Lock()
	defer p.browser.mu.Unlock()
	return append([]string(nil), p.browser.log...)
}
