package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestTell runs the program: it tells a story that ends, and it remembers the
// secret word, which the text says once, more than a thousand tokens earlier.
func TestTell(t *testing.T) {
	var out bytes.Buffer
	if err := tell(t.Context(), &out, "checkpoint"); err != nil {
		t.Fatal(err)
	}
	story, recall, ok := strings.Cut(out.String(), "Now a text that mentions a secret word")
	if !ok || !strings.Contains(story, "Once upon a time, there was") || !strings.Contains(story, "stop token)") {
		t.Errorf("no finished story in\n%s", out.String())
	}
	if !strings.Contains(recall, "Answer: The secret word of Anna is silver\n") {
		t.Errorf("the word was not recalled in\n%s", recall)
	}
	if n := strings.Count(remember, "silver"); n != 1 {
		t.Errorf("the text says the word %d times, expected once", n)
	}
}

// TestTellErrors: a folder without a model is one clear error.
func TestTellErrors(t *testing.T) {
	err := tell(t.Context(), &bytes.Buffer{}, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("error %v, expected one that names config.json", err)
	}
}
