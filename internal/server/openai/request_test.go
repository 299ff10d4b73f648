package openai

import (
	"encoding/json"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/deepseekv4"
	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/dialog"
	"smelt.example/smelt/internal/server/script"
)

// TestSharedRequests: bodies become the prompts of the vendor's own server, to the byte.
func TestSharedRequests(t *testing.T) {
	var goldens struct {
		Request []struct {
			Name, Profile, Prompt string
			Effort                string `json:"default_effort"`
			Thinking              bool   `json:"default_thinking"`
			Request               json.RawMessage
		}
	}
	script.Goldens(t, &goldens)
	for _, g := range goldens.Request {
		t.Run(g.Name, func(t *testing.T) {
			format := deepseekv4.ChatFormat{}
			if g.Profile == deepseekv4.P0731.String() {
				format.Profile = deepseekv4.P0731
			}
			c := &api.Call{Options: &api.Options{}}
			var r chatRequest
			if err := api.Decode(g.Request, &r); err != nil {
				t.Fatal(err)
			}
			d, err := r.dialog(c)
			if err != nil {
				t.Fatal(err)
			}
			d.Thinking.Default, d.Thinking.Usual = g.Thinking, g.Effort
			turn, err := dialog.Build(d, format)
			if err != nil {
				t.Fatal(err)
			}
			segments, err := format.Encode(turn.Messages, turn.Options)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			for _, s := range segments {
				text.WriteString(s.Text)
			}
			if text.String() != g.Prompt {
				t.Errorf("\n  got  %q\n  want %q", text.String(), g.Prompt)
			}
		})
	}
}
