package message

import (
	"strings"
	"testing"
)

func TestMessage(t *testing.T) {
	tests := []struct{ name, got, want string }{
		{"no bytes", Bytes(0), "0 bytes"},
		{"one byte", Bytes(1), "1 byte"},
		{"bytes", Bytes(999), "999 bytes"},
		{"kilobytes", Bytes(1000), "1.00 kB"},
		{"quoted", Quote("a\x1b\"é"), `"a\x1b\"é"`},
		{"longest in full", Quote(strings.Repeat("x", 200)), `"` + strings.Repeat("x", 200) + `"`},
		{"shortened", Quote(strings.Repeat("x", 201)), `"` + strings.Repeat("x", 200) + `"... (201 bytes)`},
		{"short value", Clip(`"a"`), `"a"`},
		{"long value", Clip(strings.Repeat("1", 61)), strings.Repeat("1", 60) + "..."},
		{"no part of a character", Clip(strings.Repeat("1", 59) + "é"), strings.Repeat("1", 59) + "..."},
		{"value of lines", Clip("[1,\n\t2]"), "[1,  2]"},
		{"quoted long", Quote(strings.Repeat("\x01", 200)), `"` + strings.Repeat(`\x01`, 100) + `"... (200 bytes)`},
		{"line", Line("a\nb\x1b", 9), "a b "},
		{"long line", Line(strings.Repeat("x", 401), 400), strings.Repeat("x", 400) + "..."},
		{"list", List([]string{"a", "b"}), "a, b"},
		{"long list", List(strings.Fields(strings.Repeat("a ", 21))), strings.Repeat("a, ", 20) + "and 1 more"},
		{"ranges", Ranges([]int{0, 1, 2, 5, 7, 8}), "0 to 2, 5, 7 to 8"},
		{"no range", Ranges(nil), ""},
		{"none", Count(0, "shard"), "0 shards"},
		{"one", Count(1, "shard"), "1 shard"},
		{"two", Count(int64(2), "shard"), "2 shards"},
		{"no bytes", Bytes(0), "0 bytes"},
		{"few bytes", Bytes(999), "999 bytes"},
		{"two decimals", Bytes(1000), "1.00 kB"},
		{"one decimal", Bytes(999_949), "999.9 kB"},
		{"the next unit", Bytes(999_960), "1.00 MB"},
		{"a model", Bytes(159_617_234_144), "159.6 GB"},
		{"beyond the last unit", Bytes(9e15), "9000.0 TB"},
		{"what needs no unit", InUnits(12, "", "thousand"), "12"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, test.got, test.want)
		}
	}
}
