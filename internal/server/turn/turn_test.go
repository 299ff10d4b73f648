package turn

import (
	"slices"
	"testing"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/stopping"
)

// TestNothingBehindStop: what one token brings behind a string to stop at is not sent,
// whatever it is.
func TestNothingBehindStop(t *testing.T) {
	content := func(text string) chat.Delta { return chat.Delta{Kind: chat.DeltaContent, Text: text} }
	call, arguments := chat.Delta{Kind: chat.DeltaCall, Text: "f"}, chat.Delta{Kind: chat.DeltaArguments, Text: "{"}
	for _, x := range []struct{ deltas, want []chat.Delta }{
		{[]chat.Delta{content("END"), call, arguments}, nil},
		{[]chat.Delta{content("a END b"), content("c"), call, arguments}, []chat.Delta{content("a ")}},
		{[]chat.Delta{content("a EN"), call, arguments}, []chat.Delta{content("a "), content("EN"), call, arguments}},
	} {
		text := &text{stop: &stopping.Stopper{Strings: []string{"END"}}}
		if e := text.event(x.deltas); !slices.Equal(e.Deltas, x.want) {
			t.Errorf("%v: %v, want %v", x.deltas, e.Deltas, x.want)
		}
	}
}
