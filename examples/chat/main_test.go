package main

import (
	"strings"
	"testing"

	"smelt.example/smelt"
	"smelt.example/smelt/runtime/sampling"
)

// TestChat asks twice; the second answer follows on the first.
func TestChat(t *testing.T) {
	m, err := smelt.Open(t.Context(), "../storyteller/checkpoint", smelt.Options{Device: "reference", Context: 96})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var out strings.Builder
	if err := chat(t.Context(), m, smelt.Request{MaxTokens: 12, Sampling: &sampling.Params{}}, strings.NewReader("Hi!\nAnd then?\n"), &out); err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(out.String(), "> ")
	if len(answers) != 4 || answers[0] != "" || len(answers[1]) < 10 || len(answers[2]) < 10 || answers[3] != "" {
		t.Errorf("said %q", answers)
	}
}
