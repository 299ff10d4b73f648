package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// walk visits a command and those below it.
func walk(cmd *cobra.Command, visit func(cmd *cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

// outside are words that no flag of the range may take.
func outside(least, most string, above bool) []string {
	words := []string{"9223372036854775808", "-9223372036854775809", "1e400", "-1e400", "NaN", "nan", "Inf", "-Inf", "+inf",
		"", " ", "x", "1.5x", "0x", "--1", "1,,2", strings.Repeat("9", 10_000), "1" + strings.Repeat("0", 400), "١"}
	if v, err := strconv.ParseInt(least, 10, 64); err == nil {
		words = append(words, strconv.FormatInt(v-1, 10))
	}
	if v, err := strconv.ParseInt(most, 10, 64); err == nil {
		words = append(words, strconv.FormatInt(v+1, 10))
	}
	if v, err := strconv.ParseFloat(least, 64); err == nil {
		words = append(words, fmt.Sprint(math.Nextafter(v, -1e300)), "-9223372036854775808")
		if above {
			words = append(words, least)
		}
	}
	if v, err := strconv.ParseFloat(most, 64); err == nil && v < 1<<62 {
		words = append(words, fmt.Sprint(math.Nextafter(v, 1e300)), "9223372036854775807")
	}
	return words
}

// TestNumberFlags: every flag of numbers of every command says in --help which it
// takes, and refuses others with flag, value and range before a file is opened.
func TestNumberFlags(t *testing.T) {
	root := newRoot(stdio{strings.NewReader(""), io.Discard, io.Discard})
	seen := 0
	walk(root, func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			switch f.Value.Type() {
			case "bool", "string", "stringSlice", "stringArray":
				return
			}
			n, ok := f.Value.(bounded)
			if !ok {
				t.Errorf("%s --%s is a %s without bounds: make it with intFlag and its like", cmd.CommandPath(), f.Name, f.Value.Type())
				return
			}
			seen++
			least, most, above := n.bounds()
			if f.Value.Type() != "uint64" && !strings.Contains(f.Usage, most) {
				t.Errorf("%s --%s: --help does not say %s: %s", cmd.CommandPath(), f.Name, most, f.Usage)
			}
			words := outside(least, most, above)
			if strings.HasPrefix(f.Value.Type(), "int") {
				words = append(words, "1.5", "32.0", "1e1")
			}
			if f.Value.Type() == "uint64" { // all are inside but these
				words = []string{"-1", "18446744073709551616", "NaN", "", "1.5", "x", "-9223372036854775808", strings.Repeat("9", 10_000)}
			}
			path := append(strings.Fields(cmd.CommandPath())[1:], "there-is-no-such-checkpoint")
			for _, word := range words {
				if n.Set(word) == nil {
					t.Errorf("%s --%s takes %.40q", cmd.CommandPath(), f.Name, word)
				}
				args := append(path, "--"+f.Name+"="+word)
				var out, errs strings.Builder
				status := execute(context.Background(), args, stdio{strings.NewReader(""), &out, &errs})
				text := errs.String()
				if status == 0 || !strings.HasPrefix(text, "smelt: --"+f.Name+": found ") || !strings.Contains(text, "expected ") ||
					strings.Contains(text, "no such file") || strings.Count(text, "\n") != 1 || len(text) > 900 {
					t.Errorf("%.100s: status %d, %.1000q", args, status, text)
				}
			}
			// The ends of the range pass.
			for _, word := range []string{least, most} {
				if err := n.Set(word); (err != nil) != (above && word == least) {
					t.Errorf("%s --%s %s: %v", cmd.CommandPath(), f.Name, word, err)
				}
			}
		})
	})
	if seen < 25 {
		t.Errorf("%d flags of numbers were found; the commands have more", seen)
	}
}

func TestNumberLists(t *testing.T) {
	var list []int
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	intsFlag(f, &list, "n", []int{7}, from(0, 9), "numbers")
	if got := f.Lookup("n").Value.String(); got != "7" {
		t.Errorf("default %q", got)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--n=1,2"}, "[1 2]"},
		{[]string{"--n=3", "--n", "4, 5"}, "[1 2 3 4 5]"},
		{[]string{"--n=6,10"}, "each 0 to 9, not \"10\""},
		{[]string{"--n=6,-1"}, "not \"-1\""},
		{[]string{"--n=6;7"}, "not \"6;7\""},
		{[]string{"--n=" + strings.Repeat("1,", 1000) + "1"}, "at most 64 numbers"},
	} {
		err := f.Parse(c.args)
		if got := fmt.Sprint(list, err); !strings.Contains(got, c.want) {
			t.Errorf("%q: %.300s, want %q", c.args, got, c.want)
		}
	}
	if len(list) != 5 {
		t.Errorf("a refused list is kept in part: %v", list)
	}
}

// TestFlagErrors: what cannot be parsed is one short line, whatever it is.
func TestFlagErrors(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, args := range [][]string{
		{"run", "c", "--json=" + long}, {"run", "c", "--" + long}, {"run", "c", "-" + long}, {"run", "c", "--" + long + "=1"}, {"run", "c", "--temp"},
		{"run", "c", "--json=\x1b[31m\n\nred"}, {"run", "c", "--=1"}, {"run", "c", "---"},
	} {
		r := smelt(t, "", args...)
		if r.status != 1 || strings.Count(r.errors, "\n") != 1 || len(r.errors) > 900 || strings.Contains(r.errors, "\x1b") || !strings.Contains(r.errors, "(see smelt run --help)") {
			t.Errorf("%.60q: status %d, %.1000q", args, r.status, r.errors)
		}
	}
}
