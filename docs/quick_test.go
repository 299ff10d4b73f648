package docs_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestQuick: each test that `make quick` leaves out by its name exists.
func TestQuick(t *testing.T) {
	list := regexp.MustCompile(`(?s)\nslow="([^"]+)"`).FindStringSubmatch(read(t, "../.ci/test"))
	if list == nil {
		t.Fatal(".ci/test has no list of slow tests")
	}
	known, test := map[string]bool{}, regexp.MustCompile(`(?m)^func Test(\w+)\(`)
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			for _, m := range test.FindAllStringSubmatch(read(t, path), -1) {
				known[m[1]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(list[1]) {
		if !known[name] {
			t.Errorf(".ci/test names the slow test Test%s, which no package has", name)
		}
	}
}
