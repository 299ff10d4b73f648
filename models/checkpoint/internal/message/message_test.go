package message

import (
	"strings"
	"testing"
)

func TestMessage(t *testing.T) {
	tests := []struct{ name, got, want string }{
		{"quoted", Quote("a\x1b\"é"), `"a\x1b\"é"`},
		{"longest in full", Quote(strings.Repeat("x", 200)), `"` + strings.Repeat("x", 200) + `"`},
		{"shortened", Quote(strings.Repeat("x", 201)), `"` + strings.Repeat("x", 200) + `"... (201 bytes)`},
		{"short value", Clip(`"a"`), `"a"`},
		{"long value", Clip(strings.Repeat("1", 41)), strings.Repeat("1", 40) + "..."},
		{"none", Count(0, "shard"), "0 shards"},
		{"one", Count(1, "shard"), "1 shard"},
		{"two", Count(int64(2), "shard"), "2 shards"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, test.got, test.want)
		}
	}
}
