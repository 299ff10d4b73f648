package kernel

import (
	"os"
	"strings"
	"testing"
)

// TestReadme parses and prints the kernels of README.md.
func TestReadme(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```kernel\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("README.md shows no kernel")
	}
	for _, b := range blocks {
		src, _, _ := strings.Cut(b, "```")
		k, err := Parse(src)
		if err != nil {
			t.Errorf("%v in\n%s", err, src)
			continue
		}
		if got := Print(k); got != src {
			t.Errorf("prints as\n%s", got)
		}
	}
}
