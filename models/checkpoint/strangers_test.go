package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/internal/imposter"
)

// TestStrangers: what lies in the place of a file is named, whichever file it is.
func TestStrangers(t *testing.T) {
	for content, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:a1\nsize 77\n": "is a Git LFS pointer (to 77 bytes), not the file itself; run `git lfs pull`",
		"<!doctype html><title>Log in</title>":                                 `is a web page ("Log in"), not the file itself`,
		"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>":        `is an XML answer of a server ("AccessDenied")`,
		"Entry not found":                      `is a text ("Entry not found")`,
		`{"error":"Access to model is gated"}`: `is a server's error message ("Access to model is gated")`,
		"":                                     "is empty; download the file again",
		"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03": "is a gzip file",
		"PK\x03\x04\x14\x00\x00\x00":               "is a zip file",
		strings.Repeat("\x00", 100):                "begins with nothing but zeros",
		"\xff\xfe{\x00}\x00":                       "is text in UTF-16",
	} {
		for _, name := range []string{"config.json", "model.safetensors.index.json", shard1} {
			dir := folder{twoShards(), map[string]string{"config.json": "{}", "model.safetensors.index.json": goodIndex}}.write(t)
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir)
			if !errors.As(err, new(*imposter.Error)) || !strings.Contains(err.Error(), path+" "+want) {
				t.Errorf("%q as %s: %v", content, name, err)
			}
		}
	}
}

// TestBrokenLinks: a link to nothing is no file that is not there.
func TestBrokenLinks(t *testing.T) {
	for _, name := range []string{"config.json", "model.safetensors.index.json", shard1, ""} {
		dir := folder{twoShards(), map[string]string{"config.json": "{}", "model.safetensors.index.json": goodIndex}}.write(t)
		path := filepath.Join(dir, name)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("gone/away", path); err != nil {
			t.Skip(err)
		}
		want := path + " is a link to gone/away, and there is no file at its end; put the file there, or replace or remove the link"
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestIndexAsPythonWritesIt: what nobody reads may be no JSON.
func TestIndexAsPythonWritesIt(t *testing.T) {
	in := func(rest string) string { return strings.Replace(goodIndex, `{"metadata"`, `{`+rest+`"metadata"`, 1) }
	for _, index := range []string{
		"\xef\xbb\xbf" + goodIndex, in(`"x":NaN,`), in(`"x":[{"y":-Infinity}],`), in(`"x":"\ud83d",`),
		strings.Replace(goodIndex, `"total_parameters":6`, `"total_parameters":Infinity`, 1), "\xef\xbb\xbf\r\n" + in(`"x":{"NaN":NaN},`),
	} {
		dir := folder{twoShards(), map[string]string{"config.json": "{}", "model.safetensors.index.json": index}}.write(t)
		mustOpen(t, dir)
	}
	for _, c := range []struct{ index, want string }{
		{strings.Replace(goodIndex, `"total_size":6`, `"total_size":NaN`, 1), `no valid JSON in "metadata.total_size" at byte 26 (NaN is no number of JSON)`},
		{strings.Replace(goodIndex, `"a":"`, `"a":NaN,"x":"`, 1), `weight_map["a"] is a number, expected a file name`},
		{strings.Replace(goodIndex, `"a":"`, `"a":"\ud83d`, 1), `no valid JSON in "weight_map.a" at byte`},
		{strings.Replace(goodIndex, `"a":"`, `"\udc00":"`, 1), `\udc00 is half of a surrogate pair, no character`},
		{`{"weight_map":-Infinity}`, "weight_map is a number, expected an object"},
	} {
		dir := folder{twoShards(), map[string]string{"config.json": "{}", "model.safetensors.index.json": c.index}}.write(t)
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "model.safetensors.index.json") {
			t.Errorf("%s: %v, want %s", c.index, err, c.want)
		}
	}
}

// inCache puts a folder into a cache of the hub as its library does, and returns
// the snapshot.
func inCache(t *testing.T, f folder) string {
	t.Helper()
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	repo := filepath.Join(cache, "models--org--name")
	blobs, snapshot := filepath.Join(repo, "blobs"), filepath.Join(repo, "snapshots", "0a1b2c3d")
	if err := errors.Join(os.MkdirAll(snapshot, 0o700), os.MkdirAll(filepath.Join(repo, "refs"), 0o700), os.WriteFile(filepath.Join(repo, "refs", "main"), []byte("0a1b2c3d"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.write(t), blobs); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(blobs)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join("..", "..", "blobs", e.Name()), filepath.Join(snapshot, e.Name())); err != nil {
			t.Skip(err)
		}
	}
	return snapshot
}

// TestHubCache: every name of a model in the cache opens the same files.
func TestHubCache(t *testing.T) {
	snapshot := inCache(t, folder{twoShards(), map[string]string{"config.json": "{}", "model.safetensors.index.json": goodIndex}})
	repo := filepath.Dir(filepath.Dir(snapshot))
	for _, path := range []string{"org/name", "org/name@main", "org/name@0a1b2c3", snapshot, filepath.Dir(snapshot), repo, repo + "/"} {
		c := mustOpen(t, path)
		if c.Dir != snapshot || len(c.Files) != 2 || c.Files[0].Path() != filepath.Join(snapshot, shard1) {
			t.Errorf("%s: %s, %d files", path, c.Dir, len(c.Files))
		}
	}
	if _, err := Open("org/other"); err == nil || !strings.Contains(err.Error(), "`hf download org/other`") {
		t.Error(err)
	}
}

// TestHubUnfinished: a download that was not finished says how to go on with it.
func TestHubUnfinished(t *testing.T) {
	const goesOn = "`hf download org/name` goes on with "
	all := map[string]string{"config.json": "{}", "model.safetensors.index.json": goodIndex}
	for name, c := range map[string]struct {
		remove, half string // the link, or what it leads to
		incomplete   bool
		want         []string
	}{
		"a shard":               {remove: shard2, want: []string{"1 shard named by model.safetensors.index.json not in the folder; " + goesOn + "the download\n  " + shard2}},
		"a shard, half there":   {remove: shard1, incomplete: true, want: []string{goesOn + "the download (1 file half downloaded)"}},
		"config.json":           {remove: "config.json", want: []string{"no config.json in", goesOn}},
		"the shard behind":      {half: shard1, want: []string{shard1 + " is a link to ../../blobs/" + shard1 + ", which is not there: its download was not finished; " + goesOn + "it"}},
		"config.json behind":    {half: "config.json", want: []string{"config.json is a link to", goesOn}},
		"the index behind":      {half: "model.safetensors.index.json", want: []string{"index.json is a link to", goesOn}},
		"the index, by numbers": {remove: "model.safetensors.index.json", half: shard2, want: []string{shard2 + " is a link to", goesOn}},
	} {
		t.Run(name, func(t *testing.T) {
			snapshot := inCache(t, folder{twoShards(), all})
			blobs := filepath.Join(snapshot, "..", "..", "blobs")
			var err error
			if c.remove != "" {
				err = os.Remove(filepath.Join(snapshot, c.remove))
			}
			if c.half != "" {
				err = errors.Join(err, os.Remove(filepath.Join(blobs, c.half)))
			}
			if c.incomplete {
				err = errors.Join(err, os.WriteFile(filepath.Join(blobs, "77.incomplete"), nil, 0o600))
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = openAll("org/name")
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("the error lacks %q:\n%v", w, err)
				}
			}
		})
	}
}
