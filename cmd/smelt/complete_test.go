package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/devices"
)

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if script := smelt(t, "", "completion", shell).succeeds(t); !strings.Contains(script, "smelt") {
			t.Errorf("%s: no script", shell)
		}
	}
	for _, c := range []struct{ args, want string }{
		// 8: the words are extensions of files, folders complete too. 4: no files.
		{"inspect ", "safetensors\n:8\n"},
		{"tokenize ", "safetensors\njson\n:8\n"},
		{"inspect folder ", ":4\n"},
		{"doctor ", "safetensors\n:8\n"},
		{"verify ", ":16\n"}, // folders alone
		{"verify folder ", ":4\n"},
		{"version ", ":4\n"},
	} {
		r := smelt(t, "", append([]string{"__complete"}, strings.Split(c.args, " ")...)...)
		if r.status != 0 || r.out != c.want {
			t.Errorf("%s<TAB> gives %q, want %q", c.args, r.out, c.want)
		}
	}
}

// completed are the words that the shell is given for a command line that is being typed.
func completed(t *testing.T, args ...string) (words []string) {
	t.Helper()
	r := smelt(t, "", append([]string{"__complete"}, args...)...)
	lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	directive, err := strconv.Atoi(strings.TrimPrefix(lines[len(lines)-1], ":"))
	if files := int(cobra.ShellCompDirectiveFilterFileExt | cobra.ShellCompDirectiveFilterDirs); r.status != 0 || err != nil || directive&files != 0 || directive&int(cobra.ShellCompDirectiveNoFileComp) == 0 {
		t.Fatalf("%q: status %d, %q", args, r.status, r.out)
	}
	for _, l := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(l, "\t")
		words = append(words, word)
	}
	return words
}

// TestCompletedValues: the values of flags that take one of a few are completed to all of
// them.
func TestCompletedValues(t *testing.T) {
	dir := compileTo(t, mixedFixture, "--context", "64")
	b, err := bundle.Read(dir)
	must(t, err)
	var kernels []string
	for _, k := range b.Plan.Kernels {
		kernels = append(kernels, k.Name)
	}
	var list stagesReport
	decodeStrictly(t, smelt(t, "", "inspect", dir, "--ir", "list", "--json").succeeds(t), &list)
	stages := []string{"list"}
	for _, s := range list.Stages {
		stages = append(stages, s.Name)
	}
	targets := []string{"cpu"}
	for _, x := range target.All {
		targets = append(targets, x.Name)
	}
	all := append([]string{devices.Auto}, devices.All().Names()...)
	measurable := append([]string{devices.Auto}, measurable().Names()...)
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"run", "--device", ""}, all},
		{[]string{"run", "x", "--device", "re"}, []string{"reference"}},
		{[]string{"run", "--device=m"}, []string{"metal"}},
		{[]string{"run", "x", "--top-p", ""}, nil},
		{[]string{"chat", "--device", ""}, all},
		{[]string{"chat", "x", "--effort", ""}, []string{"low", "high", "max"}},
		{[]string{"chat", "x", "--system", ""}, nil},
		{[]string{"run", "x", "--min-p", ""}, nil},
		{[]string{"run", "x", "--repetition-penalty=1"}, nil},
		{[]string{"run", "x", "--presence-penalty", ""}, nil},
		{[]string{"run", "x", "--stop", ""}, nil},
		{[]string{"compile", "x", "--context", ""}, nil},
		{[]string{"eval", "--device", ""}, all},
		{[]string{"bench", "kernels", "--device", ""}, measurable},
		{[]string{"bench", "run", "x", "--device", "a"}, []string{devices.Auto}},
		{[]string{"doctor", "--device", ""}, devices.All().WithKernels().Names()},
		{[]string{"doctor", "--device", "metal,c"}, []string{"metal,cpu", "metal,cuda"}},
		{[]string{"doctor", "--device", "metal,m"}, nil},
		{[]string{"compile", "--cache", ""}, cacheFormats},
		{[]string{"compile", "--keys", ""}, keyFormats},
		{[]string{"compile", "--cache", "b"}, []string{"bf16"}},
		{[]string{"compile", "x", "--target", ""}, targets},
		{[]string{"inspect", dir, "--kernel", ""}, kernels},
		{[]string{"inspect", dir, "--kernel", "sample_d"}, []string{"sample_decode"}},
		{[]string{"inspect", mixedFixture, "--kernel", ""}, nil},
		{[]string{"inspect", "nowhere", "--kernel", ""}, nil},
		{[]string{"inspect", dir, "--ir", ""}, stages},
		{[]string{"inspect", dir, "--ir="}, stages},
		{[]string{"inspect", dir, "--ir=fuse-i"}, []string{"fuse-index"}},
		{[]string{"inspect", dir, "--kernel", "sample_decode", "--ir", ""}, []string{"kernel"}},
		{[]string{"inspect", mixedFixture, "--ir", ""}, nil},
		{[]string{"inspect", dir, "--plan", "--step", ""}, []string{"decode", "prefill"}},
		{[]string{"bench", "kernels", "--synthetic", ""}, []string{"flash", "pro", "storyteller"}},
		{[]string{"bench", "run", "--format", ""}, []string{"official", "mlx-4bit"}},
	} {
		if got := completed(t, c.args...); !slices.Equal(got, c.want) {
			t.Errorf("%q<TAB> gives %q, want %q", c.args, got, c.want)
		}
	}
}

// TestFlagsOfWordsComplete: a flag that takes one of a few words completes them in every
// command that has it.
func TestFlagsOfWordsComplete(t *testing.T) {
	found := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !slices.Contains([]string{"device", "cache", "keys", "target", "ir", "kernel", "step", "synthetic", "format"}, f.Name) {
				return
			}
			found++
			if _, ok := c.GetFlagCompletionFunc(f.Name); !ok {
				t.Errorf("%s --%s is not completed; see complete.go", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(stdio{}))
	if found < 15 {
		t.Errorf("found %d such flags", found)
	}
}
