package main

import (
	"slices"
	"strings"
	"testing"
)

// TestShow: every kernel is listed, and one that is named is printed.
func TestShow(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles a model")
	}
	const checkpoint = "../storyteller/checkpoint"
	var list, text strings.Builder
	if err := show(&list, checkpoint, nil); err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(list.String())
	if len(names) < 20 || !slices.Contains(names, "sample_decode") {
		t.Fatalf("kernels %v", names)
	}
	if err := show(&text, checkpoint, names[:1]); err != nil || !strings.Contains(text.String(), "void "+names[0]+"(") {
		t.Errorf("%v:\n%s", err, text.String())
	}
	if err := show(&text, checkpoint, []string{"none"}); err == nil || !strings.Contains(err.Error(), `no kernel "none"`) {
		t.Errorf("a kernel that is not there: %v", err)
	}
}
