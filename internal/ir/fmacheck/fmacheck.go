// Package fmacheck finds fused multiply-adds in compiled Go code.
//
// Go may contract x*y + z to one instruction with one rounding where the machine has one, so the
// same source gives other bits on arm64 than on amd64. An explicit conversion, float64(x*y) + z,
// forbids it (Go specification, "Floating-point operators"). A package that promises the same bits
// everywhere tests itself with [Check].
package fmacheck

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"
)

// fused matches a line of the compiler's listing for arm64 (also reached through inlining) that
// holds a scalar fused multiply-add. math.FMA compiles to one too: it is exact everywhere but slow
// on other machines, so it counts.
var fused = regexp.MustCompile(`(?m)\(([^()\s]+:\d+)\)\t(FN?M(?:ADD|SUB)[SD])\t`)

// text matches the start of a function in the listing.
var text = regexp.MustCompile(`(?m)^\S+ STEXT `)

// Find compiles pkg (an import path) for arm64, as macOS has it, and returns its fused multiply-adds as "file:line
// OPCODE", sorted, each once. Functions inlined into pkg and generic functions it instantiates are
// included. The go command keeps the listing in its build cache and repeats it when nothing has
// changed.
func Find(pkg string) ([]string, error) {
	cmd := exec.Command("go", "build", "-gcflags="+pkg+"=-S", pkg)
	cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0")
	listing, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("compiling %s for arm64: %w\n%.2000s", pkg, err, listing)
	}
	if !text.Match(listing) {
		return nil, fmt.Errorf("compiling %s for arm64: expected an assembly listing, found %d bytes without one", pkg, len(listing))
	}
	var found []string
	for _, m := range fused.FindAllSubmatch(listing, -1) {
		found = append(found, fmt.Sprintf("%s %s", m[1], m[2]))
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Check fails the test for every fused multiply-add in pkg. With -short it skips it: what pkg
// imports is compiled for arm64 too, if that has not been done yet.
func Check(t testing.TB, pkg string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: compiles for arm64")
	}
	found, err := Find(pkg)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("%s: a product and a sum are fused on arm64; convert the product explicitly", f)
	}
}
