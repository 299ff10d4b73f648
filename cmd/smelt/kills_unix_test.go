//go:build unix

package main

import (
	"os"
	"os/exec"
	"testing"
)

// TestKills kills commands that write at a few random times; scripts/kills, run by
// hand, does it a hundred times each.
func TestKills(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("../../scripts/kills", "2", "compile-new", "compile-over", "logits-over", "trace-over")
	cmd.Env = append(os.Environ(), asCommand+"=1", "SMELT="+program)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("\n%s", out)
}
