package passes

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// readme returns README.md and its one block of each language.
func readme(t *testing.T) (page string, blocks map[string]string) {
	t.Helper()
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks = map[string]string{}
	for i, part := range strings.Split(string(data), "```") {
		if i%2 == 1 {
			language, text, _ := strings.Cut(part, "\n")
			blocks[language] = text
		}
	}
	return string(data), blocks
}

// TestReadmePasses: the page's table of passes is the pipeline.
func TestReadmePasses(t *testing.T) {
	want := "| pass | |\n|---|---|\n"
	for _, p := range pipeline {
		want += fmt.Sprintf("| `%s` | %s |\n", p.Name, p.Doc)
	}
	if page, _ := readme(t); !strings.Contains(page, want+"\n") {
		t.Errorf("README.md does not have the table\n%s", want)
	}
}

// TestReadmeRegion: the page's module becomes its region, which has its view.
func TestReadmeRegion(t *testing.T) {
	_, blocks := readme(t)
	m := parse(t, blocks["ir"])
	r, err := run(m, Options{}, []pass{passNamed(t, "fuse-cache")})
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(blocks["ir"], "%3 =")
	if got, want := r.Stages[1].Text(), head+blocks["region"]; got != want {
		t.Errorf("the module becomes\n%s\nthe page has\n%s", got, want)
	}
	if got := views(t, r.Module); got != blocks["view"] {
		t.Errorf("the view is\n%s\nthe page has\n%s", got, blocks["view"])
	}
}

// TestReadmePattern: the page's walk is that of the package.
func TestReadmePattern(t *testing.T) {
	source, err := os.ReadFile("../internal/passes/fusion/index.go")
	if err != nil {
		t.Fatal(err)
	}
	if _, blocks := readme(t); blocks["go"] == "" || !strings.Contains(string(source), blocks["go"]) {
		t.Errorf("fusion/index.go does not have\n%s", blocks["go"])
	}
}

// TestReadmeMiss: the page's message is that for its module, changed as it says.
func TestReadmeMiss(t *testing.T) {
	_, blocks := readme(t)
	_, err := Run(parse(t, strings.Replace(blocks["ir"], "rope(%5, %position)", "rope(%5, %slot)", 1)), Options{})
	if err == nil || err.Error()+"\n" != blocks["error"] {
		t.Errorf("the error is\n%v\nthe page has\n%s", err, blocks["error"])
	}
}
