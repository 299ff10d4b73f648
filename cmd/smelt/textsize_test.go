package main

import (
	"testing"

	"smelt.example/smelt/codegen/bundle"
)

// What a Mac compiles when it first opens V4-Flash: its compiler takes seconds for a
// kernel of some tens of kilobytes, and minutes and gigabytes for one of some hundreds.
const (
	mostText       = 1 << 20  // bytes of all kernels
	mostKernelText = 64 << 10 // bytes of one
)

// checkTextSize: the Metal text of all kernels together and of each is short enough.
func checkTextSize(t *testing.T, b *bundle.Bundle) {
	t.Helper()
	total := 0
	for _, k := range b.Plan.Kernels {
		text, err := b.Text(k.Name)
		must(t, err)
		if total += len(text); len(text) > mostKernelText {
			t.Errorf("%s has %d bytes of Metal text, more than %d", k.Name, len(text), mostKernelText)
		}
	}
	if total == 0 || total > mostText {
		t.Errorf("%d kernels have %d bytes of Metal text; expected some, and at most %d", len(b.Plan.Kernels), total, mostText)
	}
	t.Logf("%d kernels, %d bytes of Metal text", len(b.Plan.Kernels), total)
}
