//go:build unix

package main

import (
	"os"
	"os/exec"
	"testing"

	"smelt.example/smelt/internal/sample"
)

// TestKills kills two commands that write at a few random times; scripts/kills, run
// by hand, does it to all of them a hundred times.
func TestKills(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cases := sample.Of(t, []string{"compile-new", "compile-over", "logits-over", "trace-over"}, 2)
	cmd := exec.Command("../../scripts/kills", append([]string{"2"}, cases...)...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "SMELT="+program)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("\n%s", out)
}
