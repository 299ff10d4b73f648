package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestTableFlow: cells go on below where a line would be too long.
func TestTableFlow(t *testing.T) {
	rows := [][]string{{"attn", "one, two, three, four", "7"}, {"ffn", "five", "12,345"}}
	for _, c := range []struct {
		name  string
		width int
		flow  []int
		want  []string
	}{
		{"as it comes", 0, []int{1}, []string{
			"  name  kernels                 bytes",
			"  attn  one, two, three, four       7",
			"  ffn   five                   12,345"}},
		{"as wide as it is", 37, []int{1}, []string{
			"  name  kernels                 bytes",
			"  attn  one, two, three, four       7",
			"  ffn   five                   12,345"}},
		{"narrower", 30, []int{1}, []string{
			"  name  kernels          bytes",
			"  attn  one, two,            7",
			"        three, four",
			"  ffn   five            12,345"}},
		{"as narrow as a word is", 5, []int{1}, []string{
			"  name  kernels   bytes",
			"  attn  one,          7",
			"        two,",
			"        three,",
			"        four",
			"  ffn   five     12,345"}},
		{"nothing flows", 5, nil, []string{
			"  name  kernels                 bytes",
			"  attn  one, two, three, four       7",
			"  ffn   five                   12,345"}},
	} {
		table := table{columns: []column{{"name", false}, {"kernels", false}, {"bytes", true}}, rows: rows, width: c.width, flow: c.flow}
		var b strings.Builder
		must(t, table.write(&b, "  ", style{}))
		if got := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n"); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s: got\n%s\nexpected\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// TestTableKeepsWords: whatever is in a table and however narrow it is, no word is lost or
// broken, and lines are no longer than they may be if every word fits.
func TestTableKeepsWords(t *testing.T) {
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range fewer(200) {
		columns := 1 + r.IntN(4)
		x := table{columns: make([]column, columns), width: 30 + r.IntN(60)}
		for i := range columns {
			x.columns[i].right = r.IntN(2) == 0
			x.flow = append(x.flow, i)
		}
		words, n := map[string]bool{}, 0
		for range 1 + r.IntN(5) {
			var cells []string
			for range columns {
				var cell []string
				for range r.IntN(9) {
					word := fmt.Sprintf("w%d%s", n, strings.Repeat("é", r.IntN(3)))
					n++
					words[word] = true
					cell = append(cell, word)
				}
				cells = append(cells, strings.Join(cell, " "))
			}
			x.add(cells...)
		}
		var b strings.Builder
		must(t, x.write(&b, "  ", style{}))
		for _, line := range strings.Split(b.String(), "\n") {
			if utf8.RuneCountInString(line) > x.width {
				t.Fatalf("a line of more than %d:\n%s", x.width, b.String())
			}
			for _, word := range strings.Fields(line) {
				if !words[word] {
					t.Fatalf("%q is no word of the table, or there twice:\n%s", word, b.String())
				}
				delete(words, word)
			}
		}
		if len(words) > 0 {
			t.Fatalf("lost: %v\n%s", words, b.String())
		}
	}
}
