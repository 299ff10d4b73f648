package main

import (
	"strings"
	"testing"
)

// TestUnknownWords: what is no command or flag is an error that says which one was
// probably meant, on one line.
func TestUnknownWords(t *testing.T) {
	for line, want := range map[string]string{
		"rn":                         `unknown command "rn" of smelt; did you mean run? (see smelt --help)`,
		"Inspct x":                   `unknown command "Inspct" of smelt; did you mean inspect? (see smelt --help)`,
		"talk":                       `unknown command "talk" of smelt; did you mean chat? (see smelt --help)`,
		"convert x -o y":             `unknown command "convert" of smelt; did you mean compile? (see smelt --help)`,
		"bake":                       `unknown command "bake" of smelt (see smelt --help)`,
		"evla --json":                `unknown command "evla" of smelt; did you mean eval? (see smelt --help)`,
		"bench krnels":               `unknown command "krnels" of smelt bench; did you mean kernels? (see smelt bench --help)`,
		"bench chat":                 `unknown command "chat" of smelt bench (see smelt bench --help)`,
		"help rn":                    `unknown command "rn" of smelt; did you mean run? (see smelt --help)`,
		"help bench rnu":             `unknown command "rnu" of smelt bench; did you mean run? (see smelt bench --help)`,
		"help run x":                 `unknown command "x" of smelt run (see smelt run --help)`,
		"completion bsh":             `unknown command "bsh" of smelt completion; did you mean bash? (see smelt completion --help)`,
		"--verison":                  `unknown flag: --verison; did you mean --version? (see smelt --help)`,
		"run --promt x":              `unknown flag: --promt; did you mean --prompt? (see smelt run --help)`,
		"run --temperature 1":        `unknown flag: --temperature; did you mean --temp? (see smelt run --help)`,
		"run --max_tokens 1":         `unknown flag: --max_tokens; did you mean --max-tokens? (see smelt run --help)`,
		"inspect --explian":          `unknown flag: --explian; did you mean --explain? (see smelt inspect --help)`,
		"bench kernels --devcie cpu": `unknown flag: --devcie; did you mean --device? (see smelt bench kernels --help)`,
		"run --wieghts":              `unknown flag: --wieghts (see smelt run --help)`,
		"run -x":                     `unknown shorthand flag: 'x' in -x (see smelt run --help)`,
		"\x1b[31m":                   `unknown command "\x1b[31m" of smelt (see smelt --help)`,
		"help \"":                    `unknown command "\"" of smelt (see smelt --help)`,
		strings.Repeat("x", 100_000): `unknown command "` + strings.Repeat("x", 200) + `"... (100000 bytes) of smelt (see smelt --help)`,
	} {
		r := smelt(t, "", strings.Split(line, " ")...)
		if r.status != 1 || r.out != "" || r.errors != "smelt: "+want+"\n" {
			t.Errorf("smelt %.60s: status %d, %q, standard error\n%.400s\nexpected\nsmelt: %s", line, r.status, r.out, r.errors, want)
		}
	}
}

// TestVersionFlag: --version and -v print the line of smelt version.
func TestVersionFlag(t *testing.T) {
	want := smelt(t, "", "version").succeeds(t)
	for _, flag := range []string{"--version", "-v"} {
		if got := smelt(t, "", flag).succeeds(t); got != want {
			t.Errorf("%s prints %q, smelt version %q", flag, got, want)
		}
	}
}
