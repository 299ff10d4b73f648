package main

import (
	"strings"
	"testing"

	"smelt.example/smelt/internal/runtime/admission"
)

// TestCacheRAM: the flag takes a size, none or auto, and says so to whoever gives another.
func TestCacheRAM(t *testing.T) {
	for given, want := range map[string]int64{"auto": admission.Auto, "0": 0, "4GB": 4e9, "1.5 GiB": 3 << 29, "7B": 7, "1024TiB": 1 << 50, mostCacheRAM: maxMemory} {
		at := int64(5)
		c := cacheRAM{&at}
		if err := c.Set(given); err != nil || at != want {
			t.Errorf("%s: %d, %v; expected %d", given, at, err, want)
		}
		again := int64(5)
		if err := (cacheRAM{&again}).Set(c.String()); err != nil || again != want {
			t.Errorf("%s is shown as %s, which is %d, %v", given, c, again, err)
		}
	}
	for _, given := range []string{"", "4", "-1", "AUTO", "4GB5", "1e30GB", "NaNGB", "0GB", "2000000000TiB", "1048577TiB"} {
		at := int64(5)
		if err := (cacheRAM{&at}).Set(given); err == nil || at != 5 {
			t.Errorf("%q is %d, %v", given, at, err)
		}
	}
	r := smelt(t, "", "serve", storyteller, "--cache-ram", "4")
	if want := `--cache-ram: found "4", expected auto, 0, or a size with a unit such as 4GB or 3.5GiB, up to `; r.status != 1 || !strings.Contains(r.errors, want) {
		t.Errorf("%+v, expected %s", r, want)
	}
	r = smelt(t, "", "run", storyteller, "--prompt", "Once", "--max-tokens", "1", "--device", "reference", "--context", "64", "--cache-ram", "100kB")
	if want := "--cache-ram of 100.0 kB: a text's newest rows take "; r.status != 1 || !strings.Contains(r.errors, want) || !strings.HasSuffix(r.errors, " or more, or 0\n") {
		t.Errorf("%+v, expected %s", r, want)
	}
	r = smelt(t, "", "run", storyteller, "--prompt", "Once", "--max-tokens", "1", "--device", "reference", "--context", "64", "--cache-ram", "1000TiB")
	if want := "take --cache-ram "; r.status != 1 || !strings.Contains(r.errors, "kept states ") || !strings.Contains(r.errors, want) {
		t.Errorf("%+v, expected %s", r, want)
	}
}
