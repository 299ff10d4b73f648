package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestIsTerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct {
		name   string
		stream any
	}{{"buffer", &bytes.Buffer{}}, {"file", file}, {"nothing", nil}} {
		t.Run(c.name, func(t *testing.T) {
			if isTerminal(c.stream) {
				t.Error("taken for a terminal")
			}
			if styleFor(c.stream).on {
				t.Error("gets a style")
			}
		})
	}
}

// TestStyleOnTerminal uses the system's terminal multiplexer where it has one.
func TestStyleOnTerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminal to try: ", err)
	}
	defer terminal.Close()
	if !isTerminal(terminal) {
		t.Skip("/dev/ptmx is no terminal on this system")
	}
	for _, c := range []struct {
		name, noColor, term string
		want                bool
	}{
		{"plain terminal", "", "xterm", true},
		{"NO_COLOR is set", "1", "xterm", false},
		{"terminal without colours", "", "dumb", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", c.noColor)
			t.Setenv("TERM", c.term)
			if got := styleFor(terminal).on; got != c.want {
				t.Errorf("style on = %v, want %v", got, c.want)
			}
		})
	}
}
