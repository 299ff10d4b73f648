package report

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/browsertest"
	"smelt.example/smelt/internal/codegen/kernel"
)

// browse loads a page in a browser without a window, and returns the document
// after its scripts and what they wrote to the console.
func browse(t *testing.T, page []byte, hash string) (dom, console string) {
	t.Helper()
	browser := browsertest.Path(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "page.html")
	if err := os.WriteFile(path, page, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	flags := append(browsertest.Flags(filepath.Join(dir, "profile")), "--enable-logging=stderr", "--window-size=1600,1000", "--virtual-time-budget=20000", "--dump-dom", "file://"+path+hash)
	cmd := exec.CommandContext(ctx, browser, flags...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", browser, err, log.String())
	}
	for _, line := range strings.Split(log.String(), "\n") {
		if strings.Contains(line, "CONSOLE") {
			console += line + "\n"
		}
	}
	return out.String(), console
}

// seen is what testdata/drive.js saw.
type seen struct {
	Views, Tiles, Stages, Counts, Window, Same, PointedAt, Folded, ByBytes, ByName, Found, Nothing []string
	Differs, Kernel, Metal, IR, Chosen, Tip, Next, Went, Errors                                    string
	Unified, Jumped, Logarithmic                                                                   bool
	Dispatches, Buffers                                                                            int
}

// TestBrowser uses every view of the page.
func TestBrowser(t *testing.T) {
	b, stages := fixture()
	drive, err := os.ReadFile("testdata/drive.js")
	if err != nil {
		t.Fatal(err)
	}
	page := bytes.Replace(fixturePage(), []byte("\nstart();\n"), append([]byte("\nstart();\n"), drive...), 1)
	dom, console := browse(t, page, "")
	if console != "" {
		t.Errorf("the page wrote to the console:\n%.2000s", console)
	}
	m := regexp.MustCompile(`<pre id="saw">([^<]*)</pre>`).FindStringSubmatch(dom)
	if m == nil {
		t.Fatalf("the page was not used to the end: %.2000s", dom[strings.LastIndex(dom, "<body"):])
	}
	raw, err := base64.StdEncoding.DecodeString(m[1])
	if err != nil {
		t.Fatal(err)
	}
	var saw seen
	if err := json.Unmarshal(raw, &saw); err != nil {
		t.Fatal(err)
	}

	if saw.Errors != "" {
		t.Errorf("errors: %s", saw.Errors)
	}
	for i, s := range stages.Stages {
		if saw.Stages[i] != s.Text() {
			t.Errorf("stage %s reads otherwise than the compiler prints it", s.Name)
		}
	}
	saw.checkPipeline(t)
	saw.checkKernels(t, b)
	decode, prefill := b.Plan.Steps[0], b.Plan.Steps[1]
	equal(t, "views", saw.Views, []string{"view-overview", "view-pipeline", "view-kernels", "view-timeline", "view-memory"})
	equal(t, "tiles", saw.Tiles[:2], []string{fmt.Sprint(decode.Scoring()), fmt.Sprint(prefill.Scoring())})
	equal(t, "marks of dispatches", saw.Dispatches, len(decode.Dispatches))
	equal(t, "dispatch 3", saw.Chosen, "3 "+decode.Dispatches[3].Kernel.Name)
	equal(t, "tip of dispatch 4", saw.Tip, "4 "+decode.Dispatches[4].Kernel.Name)
	equal(t, "the key to the right", saw.Next, "#step=decode&context=4096&dispatch=4")
	equal(t, "rectangles of buffers", saw.Buffers, len(prefill.Buffers))
	equal(t, "logarithmic offsets", saw.Logarithmic, true)
	equal(t, "found", saw.Found, []string{"kernel head_decode"})
	equal(t, "went to", saw.Went, "#kernel=head_decode")
	equal(t, "nothing found", saw.Nothing, []string{"nothing has these words"})
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		t.Errorf("%s: %#v, want %#v", what, got, want)
	}
}

// checkPipeline: the view of two stages shows what the pass is known to change.
// In the fixture 12 states get a format; 14 operations round what 6 appends and
// the scores of the index use; and the last pass changes nothing.
func (saw *seen) checkPipeline(t *testing.T) {
	t.Helper()
	equal(t, "changes of cache-formats", strings.Join(saw.Counts, "; "), "+ 14 lines added; ~ 19 lines changed")
	equal(t, "a state with its format", saw.Window, []string{"state @layers.0.attn.window : tensor<128 x f32> keep 16", "state @layers.0.attn.window : tensor<128 x f32> keep 16 stored fp8_b64_r64"})
	equal(t, "what differs in it", saw.Differs, " stored fp8_b64_r64")
	equal(t, "the unified view", saw.Unified, true)
	equal(t, "equal stages", saw.Same, []string{"No line differs between fuse-linear and check-fused."})
	equal(t, "the region pointed at", saw.PointedAt, []string{"▾region hyper @embed.hyper {"})
	if len(saw.Folded) != 1 || !strings.HasPrefix(saw.Folded[0], "▸region hyper @embed.hyper { … ") {
		t.Errorf("the folded region: %q", saw.Folded)
	}
	equal(t, "a jump to the next change", saw.Jumped, true)
}

// checkKernels: the table is in order and programs read as they are printed.
func (saw *seen) checkKernels(t *testing.T, b *bundle.Bundle) {
	t.Helper()
	if !slices.IsSorted(saw.ByName) || slices.IsSorted(saw.ByBytes) || len(saw.ByName) < 10 {
		t.Errorf("kernels by name: %q; by bytes: %q", saw.ByName, saw.ByBytes)
	}
	last := b.Plan.Kernels[len(b.Plan.Kernels)-1]
	equal(t, "kernel", saw.Kernel, last.Name)
	metal, err := b.Text(last.Name)
	if err != nil {
		t.Fatal(err)
	}
	if saw.Metal != metal {
		t.Errorf("%s: its Metal text reads otherwise than it is printed", last.Name)
	}
	if want := strings.TrimSuffix(kernel.Print(last), "\n") + "\n"; saw.IR != want {
		t.Errorf("%s: its IR reads otherwise than it is printed", last.Name)
	}
}

// TestScriptFails: a bug in the page's program shows on the page.
func TestScriptFails(t *testing.T) {
	page := bytes.Replace(fixturePage(), []byte("overview.open("), []byte("overview.missing("), 1)
	page = bytes.Replace(page, []byte("views[name].open(params)"), []byte("views[name].missing(params)"), 1)
	dom, _ := browse(t, page, "")
	if !strings.Contains(dom, `role="alert"`) || !strings.Contains(dom, "A bug in this page") {
		t.Error("the page does not say that it failed")
	}
}
