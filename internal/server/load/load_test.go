package main

import (
	"context"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"smelt.example/smelt/internal/server"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/script"
)

// TestMeasures: figures are those of a model of which they are known: four tokens a text,
// the first after 20 ms and the others 4 ms apart, four texts at once.
func TestMeasures(t *testing.T) {
	e, err := script.Open("../../../examples/storyteller/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	ids, err := e.About.Encode(" time there was a", false)
	if err != nil {
		t.Fatal(err)
	}
	e.Reply = func(engine.Request) []int32 { return ids }
	e.Before = func(_ context.Context, i int) error {
		time.Sleep(4 * time.Millisecond)
		if i == 0 {
			time.Sleep(16 * time.Millisecond)
		}
		return nil
	}
	s := server.New(server.Options{})
	s.Ready(e)
	h := httptest.NewServer(s)
	defer h.Close()
	c := &client{url: h.URL}
	r, err := c.drive(t.Context(), 4, 12, 5)
	if err != nil {
		t.Fatal(err)
	}
	if r.tokens != 12*4 || len(r.first) != 12 || len(r.between) != 12*3 || r.took < 3*32*time.Millisecond {
		t.Errorf("%d tokens, %d first, %d between, in %v", r.tokens, len(r.first), len(r.between), r.took)
	}
	if first, between := quantile(r.first, 0.5), quantile(r.between, 0.5); first < 20*time.Millisecond || between < 3*time.Millisecond {
		t.Errorf("first %v, between %v", first, between)
	}
	var out strings.Builder
	o := options{clients: []int{1, 4}, texts: 4, tokens: 5, soak: 20, stalled: 100 * time.Millisecond, deaf: 1}
	if err := frontier(t.Context(), &out, c, o); err != nil {
		t.Fatal(err)
	}
	if err := stalled(t.Context(), &out, c, o); err == nil || !strings.Contains(err.Error(), "was sent all of its text") {
		t.Errorf("a short text that nobody reads: %v", err)
	}
	e.Reply = func(engine.Request) []int32 { return slices.Repeat(ids, 1000) }
	if err := stalled(t.Context(), &out, c, o); err != nil {
		t.Fatal(err)
	}
	if err := soak(t.Context(), &out, c, func() (int, error) { return 2048, nil }, o); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`(?m)^ +1 +4 +16 +\d+ +1\.00x`, `(?m)^ +4 +4 +16 `, `(?m)^beside 1 that read nothing +\d+`, `(?m)^ +20 +2\.0$`} {
		if !regexp.MustCompile(line).MatchString(out.String()) {
			t.Errorf("no line is %s:\n%s", line, out.String())
		}
	}
	if _, err := (&client{url: h.URL + "/nowhere"}).drive(t.Context(), 2, 2, 1); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a path that is none: %v", err)
	}
}
