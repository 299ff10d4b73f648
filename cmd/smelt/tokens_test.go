package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestParseTokens(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []int32
		complaint  string
	}{
		{"nothing", "", nil, ""},
		{"white space", " \r\n\t", nil, ""},
		{"empty array", "[]", nil, ""},
		{"one", "7", []int32{7}, ""},
		{"commas", "1,2,3", []int32{1, 2, 3}, ""},
		{"commas and spaces", " 1, 2 ,3 ", []int32{1, 2, 3}, ""},
		{"lines", "1\n2\r\n3\n", []int32{1, 2, 3}, ""},
		{"JSON", "[\n  1,\n  2,\n  3\n]\n", []int32{1, 2, 3}, ""},
		{"largest", "2147483647", []int32{2147483647}, ""},
		{"too large", "1 2147483648", nil, `"2147483648" in place 2`},
		{"negative", "1,2,-3", nil, `"-3" in place 3`},
		{"fraction", "[1.0]", nil, `"1.0" in place 1`},
		{"word", "1 two 3", nil, `"two" in place 2`},
		{"nested", "[[1,2],[3]]", nil, `"[1" in place 1`},
		{"half an array", "[1,2", nil, "found a [ and no ] at its end"},
		{"other half", "1,2]", nil, "found a ] at its end and no ["},
		{"one bracket", "[", nil, "found a [ and no ]"},
		{"two commas", "1,,2", nil, "nothing before a comma in place 2"},
		{"two commas on lines", "1,\n , 2", nil, "nothing before a comma in place 2"},
		{"comma first", ",1", nil, "nothing before a comma in place 1"},
		{"commas in an array", "[1, 2,, 3]", nil, "nothing before a comma in place 3"},
		{"a comma alone", "[,]", nil, "nothing before a comma in place 1"},
		{"comma last", "1,\n2,\n", []int32{1, 2}, ""},
		{"long garbage is cut", strings.Repeat("x", 1000), nil, `"` + strings.Repeat("x", 40) + `" in`},
	} {
		t.Run(c.name, func(t *testing.T) {
			ids, err := parseTokens(c.text, "ids.txt")
			switch {
			case c.complaint == "" && (err != nil || !slices.Equal(ids, c.want)):
				t.Errorf("got %v, %v; want %v", ids, err, c.want)
			case c.complaint != "" && (err == nil || !strings.HasPrefix(err.Error(), "ids.txt: ") || !strings.Contains(err.Error(), c.complaint)):
				t.Errorf("got %v, want %q", err, c.complaint)
			}
		})
	}
}

func TestCheckTokens(t *testing.T) {
	if err := checkTokens([]int32{0, 9}, 10, "ids.txt"); err != nil {
		t.Error(err)
	}
	if err := checkTokens([]int32{0, 9, 10, 11}, 10, "ids.txt"); err == nil || err.Error() != "ids.txt: token 10 in place 3 is outside the vocabulary of 10" {
		t.Errorf("got %v", err)
	}
}

// FuzzParseTokens: what is accepted are ids, and they come back the same from
// the JSON of them.
func FuzzParseTokens(f *testing.F) {
	for _, seed := range []string{"", "[]", "1,2,3", "[1, 2]\n", "1\n2", "[", "][", "-1", "99999999999", "[1],[2]", "\xff", "1\u00a02", "+5", "-0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids, err := parseTokens(text, "fuzz")
		if err != nil {
			if ids != nil || !strings.HasPrefix(err.Error(), "fuzz: ") || len(err.Error()) > 1000 {
				t.Fatalf("%v with an error of %d bytes: %v", ids, len(err.Error()), err)
			}
			return
		}
		for _, id := range ids {
			if id < 0 {
				t.Fatalf("accepted %d", id)
			}
		}
		list, err := json.Marshal(ids)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseTokens(string(list), "fuzz"); err != nil || !slices.Equal(again, ids) {
			t.Fatalf("%q gives %v, its JSON %v (%v)", text, ids, again, err)
		}
	})
}
