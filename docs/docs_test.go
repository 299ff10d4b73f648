// Package docs_test checks that what the repository's texts cite is there.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	// citation is how comments and pages name a page of this folder and a section of it.
	citation = regexp.MustCompile(`\bdocs/([a-z_]+\.md)(?:#([a-z0-9-]+))?`)
	// link is a Markdown link that stays in the repository.
	link = regexp.MustCompile(`\]\(([^)\s:#]*)(?:#([^)\s]+))?\)`)
	// loose is a page named without its folder, and a promise without its page.
	loose = regexp.MustCompile(`(^|[^/\w])((?:benchmarks|compiler|concurrency|cpu|design|metal|model|rationale)\.md)\b|\bpromise \d`)
)

// TestCitations: each page and section that a comment, script or page cites exists.
func TestCitations(t *testing.T) {
	cited := 0
	for _, path := range texts(t) {
		text := read(t, path)
		for _, m := range citation.FindAllStringSubmatch(text, -1) {
			cited++
			check(t, path, filepath.Join("..", "docs", m[1]), m[2])
		}
		if filepath.Ext(path) == ".md" {
			for _, m := range link.FindAllStringSubmatch(text, -1) {
				to := path
				if m[1] != "" {
					to = filepath.Join(filepath.Dir(path), filepath.FromSlash(m[1]))
				}
				check(t, path, to, m[2])
			}
		} else if m := loose.FindString(text); m != "" {
			t.Errorf("%s cites %q; expected docs/PAGE.md#section", path, strings.TrimSpace(m))
		}
	}
	if cited < 14 {
		t.Errorf("found %d citations of pages; the pattern misses them", cited)
	}
}

// TestAnchor pins down how sections are called in links.
func TestAnchor(t *testing.T) {
	for heading, want := range map[string]string{
		"RoPE": "rope", "### 3. Meaning is executable": "3-meaning-is-executable", "## One IR, `ir`": "one-ir-ir",
	} {
		if got := anchor(heading); got != want {
			t.Errorf("%q is #%s, expected #%s", heading, got, want)
		}
	}
}

// check reports a page or section that is not there.
func check(t *testing.T, from, page, section string) {
	t.Helper()
	if _, err := os.Stat(page); err != nil {
		t.Errorf("%s cites %s: %v", from, page, err)
		return
	}
	if section == "" {
		return
	}
	var sections []string
	fenced := false
	for line := range strings.Lines(read(t, page)) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if !fenced && strings.HasPrefix(line, "#") {
			sections = append(sections, anchor(line))
		}
	}
	if !slices.Contains(sections, section) {
		t.Errorf("%s cites %s#%s; its sections are %s", from, page, section, strings.Join(sections, ", "))
	}
}

// anchor is a heading as links name it: lower case, hyphens for blanks, without
// other marks.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(strings.TrimLeft(heading, "#")))
}

// texts lists the repository's Go files, scripts and pages.
func texts(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == ".git" || e.Name() == "bin" || e.Name() == "testdata"):
			return filepath.SkipDir
		case e.Type().IsRegular() && e.Name() != "docs_test.go" && (slices.Contains([]string{".go", ".md"}, filepath.Ext(path)) || filepath.Base(filepath.Dir(path)) == "scripts"):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
