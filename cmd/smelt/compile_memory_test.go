package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{"96GB": 96e9, "1.5 GiB": 3 << 29, "7B": 7, "192 GB": 192e9, "192GiB": 192 << 30, "1e3GB": 1e12, "8kB": 8e3, "8KiB": 8 << 10, " 9 MB": 9e6, "2MB": 2e6, "1TiB": 1 << 40, "96e9B": 96e9, "0.5MiB": 1 << 19, "1048576TiB": 1 << 60, "1B": 1, "1.9B": 1} {
		if got, err := parseBytes(s); err != nil || got != want {
			t.Errorf("%q is %d (%v), expected %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "GB", "-1GB", "0", "0.0", "0B", "12QB", "192GBs", "192 G B", "192gb", "192G", "192Gb", "1e99GB", "192e9", "192 ", "many", "1e40", "96 GBs", "nan", "inf", "InfB", "NaNGB", "0.4B", "1e-300GB", "0x10GB", "1_000", "9223372036854775807B", "9223372036854775808B",
		"1048577TiB", "-0", "+-1", "1GBGB", "1 G B", strings.Repeat("9", 100_000) + "B", strings.Repeat("\x1b", 1000)} {
		if got, err := parseBytes(s); err == nil {
			t.Errorf("%q is read as %d", s, got)
		} else if len(err.Error()) > 600 || !strings.Contains(err.Error(), "expected a size from 1 byte") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%.40q: %.700v", s, err)
		}
	}
}

// TestBytesWithoutUnit: a number alone, which looks like gigabytes, is refused with what
// may have been meant.
func TestBytesWithoutUnit(t *testing.T) {
	for s, hint := range map[string]string{
		"192": "expected 192GB or 192GiB, for example, or 192B if bytes are meant", "128000000000": "or 128000000000B if", "107.5": "expected 107.5GB or 107.5GiB",
		"9223372036854775808": "9223372036854775808GB", strings.Repeat("9", 300): "999...",
	} {
		got, err := parseBytes(s)
		if err == nil || !strings.Contains(err.Error(), "a number without a unit; ") || !strings.Contains(err.Error(), hint) || len(err.Error()) > 600 {
			t.Errorf("%.40q is %d: %v, expected %q", s, got, err, hint)
		}
	}
}

// FuzzParseBytes: what is taken is within the bounds, and more of a larger unit.
func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"96GB", "1.5 GiB", "7", "7B", "0.1B", "1e40", "nan", "-1", "999999TiB", "1e-9TB", " 1GB", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseBytes(s)
		if err != nil {
			if len(err.Error()) > 600 || n != 0 {
				t.Fatalf("%d with an error of %d bytes", n, len(err.Error()))
			}
			return
		}
		if n < 1 || n > maxMemory {
			t.Fatalf("%q is %d bytes", s, n)
		}
		if number, ok := strings.CutSuffix(s, "MB"); ok {
			if more, err := parseBytes(number + "GB"); err == nil && more < n {
				t.Fatalf("%q is %d bytes, and in GB %d", s, n, more)
			}
		}
	})
}

// TestCompileMemory: what does not fit is refused with the numbers and a
// context that does; that one is taken, and nothing is written before.
func TestCompileMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
	fixture, chunk := "../../internal/models/deepseekv4/testdata/fixtures/a-bf16", "16"
	r := smelt(t, "", "compile", fixture, "-o", filepath.Join(t.TempDir(), "free"), "--chunk", chunk, "--json")
	var free struct{ Memory struct{ Peak int64 } }
	if err := json.Unmarshal([]byte(r.out), &free); err != nil || free.Memory.Peak == 0 {
		t.Fatalf("%v: %s", err, r.out)
	}
	out := filepath.Join(t.TempDir(), "bundle")
	args := []string{"compile", fixture, "-o", out, "--chunk", chunk, "--memory", strconv.FormatInt(free.Memory.Peak-5000, 10) + "B"}
	r = smelt(t, "", args...)
	m := regexp.MustCompile(`running takes .* --memory allows .*: --context (\d+) would fit`).FindStringSubmatch(r.errors)
	if r.status == 0 || m == nil {
		t.Fatalf("status %d, %s", r.status, r.errors)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused bundle was written")
	}
	if r := smelt(t, "", append(args, "--context", m[1])...); r.status != 0 {
		t.Errorf("--context %s: %s", m[1], r.errors)
	}
	if r := smelt(t, "", append(args, "--memory", "1MB")...); r.status == 0 || !strings.Contains(r.errors, "the weights alone take more") {
		t.Errorf("status %d, %s", r.status, r.errors)
	}
}
