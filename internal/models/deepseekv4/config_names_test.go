package deepseekv4

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// members are a file's top-level keys with their values.
func members(t *testing.T, name string) (list [][2]string) {
	t.Helper()
	var m map[string]jsontext.Value
	if err := json.Unmarshal(readConfigFile(t, name), &m); err != nil {
		t.Fatal(err)
	}
	for k, v := range m {
		list = append(list, [2]string{k, string(v)})
	}
	slices.SortFunc(list, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return list
}

// joinMembers is the file of members.
func joinMembers(list [][2]string) []byte {
	words := make([]string, len(list))
	for i, m := range list {
		words[i] = fmt.Sprintf("%q: %s", m[0], m[1])
	}
	return []byte("{" + strings.Join(words, ",\n") + "}")
}

var configsOfEachKind = []string{"flash", "pro", "flash-mlx", "a-transformers"}

// TestKeysTwice: every key of a file that is read is refused where it stands
// twice, with its name; one that is not may stand as often as it likes.
func TestKeysTwice(t *testing.T) {
	for _, name := range configsOfEachKind {
		list := members(t, name)
		for _, m := range list {
			for _, second := range []string{m[1], "null", `{"x": [[]]}`} {
				_, err := ParseConfig(joinMembers(append(slices.Clone(list), [2]string{m[0], second})), "config.json")
				if slices.Contains(inertKeys, m[0]) {
					if err != nil {
						t.Errorf("%s: %s twice: %v", name, m[0], err)
					}
					continue
				}
				if want := "\n  " + m[0] + ": found the key twice, expected it once"; err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %s twice, then %s: %v", name, m[0], second, err)
				}
			}
		}
	}
}

// TestKeysOfAnotherCase: a key in another case is another key.
func TestKeysOfAnotherCase(t *testing.T) {
	list := members(t, "flash")
	for i, m := range list {
		for _, other := range []string{strings.ToUpper(m[0]), strings.ToUpper(m[0][:1]) + m[0][1:], m[0] + " "} {
			// Beside the key it changes nothing.
			c, err := ParseConfig(joinMembers(append(slices.Clone(list), [2]string{other, `"odd"`})), "config.json")
			if err != nil || !slices.Equal(c.Unknown, []string{other}) {
				t.Errorf("%q beside %q: %v", other, m[0], err)
			}
			// In its place it is no such key.
			changed := slices.Clone(list)
			changed[i] = [2]string{other, m[1]}
			without := slices.Delete(slices.Clone(list), i, i+1)
			_, got := ParseConfig(joinMembers(changed), "config.json")
			_, want := ParseConfig(joinMembers(without), "config.json")
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%q for %q: %v, want %v", other, m[0], got, want)
			}
		}
	}
}

// TestMutatedValues: whatever stands under a key, the message is a few short lines
// that name it.
func TestMutatedValues(t *testing.T) {
	odd := []string{"null", "true", "false", `""`, `"x"`, "[]", "{}", "-1", "0", "0.5", "1e999", "-0", "99999999999999999999", "[null]", "[[]]", `[{"a":1,"a":2}]`,
		`{"main":{},"compress":[]}`, `"` + strings.Repeat("long ", 10_000) + `"`, "[" + strings.Repeat("9,", 3000) + "9]", strings.Repeat(`{"":`, 2000) + "0" + strings.Repeat("}", 2000)}
	for _, name := range configsOfEachKind {
		list := members(t, name)
		for i, m := range list {
			for _, value := range odd {
				changed := slices.Clone(list)
				changed[i][1] = value
				_, err := ParseConfig(joinMembers(changed), "config.json")
				if err == nil {
					continue
				}
				for j, line := range strings.Split(err.Error(), "\n") {
					known := strings.Contains(line, ": found ") && strings.Contains(line, ", expected ") || strings.Contains(line, "missing keys: ") || strings.Contains(line, "and ")
					if j > 0 && !known || len(line) > 400 || j > maxShown+1 {
						t.Fatalf("%s: %s = %.40s: line %d: %.500s", name, m[0], value, j, line)
					}
				}
				if !strings.Contains(err.Error(), m[0]) && !strings.Contains(err.Error(), "missing keys") {
					t.Errorf("%s: %s = %.40s is not named: %v", name, m[0], value, err)
				}
			}
		}
	}
}

// TestTruncatedConfig: a file that ends anywhere says that it ends too early.
func TestTruncatedConfig(t *testing.T) {
	for _, name := range configsOfEachKind {
		data := bytes.TrimSpace(readConfigFile(t, name))
		for n := range data {
			_, err := ParseConfig(data[:n], "config.json")
			want := "file: found no valid JSON: the text ends too early, expected one JSON object"
			if n == 0 {
				want = "file: found nothing"
			}
			if err == nil || !strings.HasPrefix(err.Error(), "config.json: ") || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
				t.Fatalf("%s: the first %d bytes: %v", name, n, err)
			}
		}
	}
}

// TestManyUnknownKeys: what a file can make a report hold is bounded.
func TestManyUnknownKeys(t *testing.T) {
	list := members(t, "flash")
	for i := range 20_000 {
		list = append(list, [2]string{fmt.Sprintf("key%05d", i), "[]"})
	}
	c, err := ParseConfig(joinMembers(list), "config.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Unknown) != maxUnknown || c.Unknown[7] != "key00007" || !slices.Contains(c.Notes, "20000 keys of the file are unknown; the first 100 are listed") {
		t.Errorf("%d unknown keys, notes %q", len(c.Unknown), c.Notes)
	}
}
