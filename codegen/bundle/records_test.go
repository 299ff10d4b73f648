package bundle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"smelt.example/smelt/internal/models/checkpoint/filehash"
	"smelt.example/smelt/models"
)

// copied is a copy of the fixture, to be changed.
func copied(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(fixture)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTimes: a file touched since the compile is named; without a record, and with
// that of another bundle, none is.
func TestTimes(t *testing.T) {
	inFull(t)
	t.Parallel()
	ck := copied(t)
	s := source(t, ck)
	dir := filepath.Join(t.TempDir(), "b")
	write(t, compile(t, s, smallOptions), dir)
	b, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	modified := func(what string, want ...string) {
		t.Helper()
		if got, err := b.Modified(s.Checkpoint); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v, expected %v", what, got, err, want)
		}
	}
	modified("nothing happened")
	file := s.Checkpoint.Files[0].Path()
	for _, at := range []time.Time{time.Unix(0, 0), time.Now().Add(time.Hour), time.Unix(1<<31, 1)} {
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
		modified(at.String(), filepath.Base(file))
	}
	record := filepath.Join(dir, timesName)
	data, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	put(t, strings.Replace(string(data), b.seal, strings.Repeat("0", 64), 1), record)
	modified("the record of another bundle")
	for _, bad := range []string{"", "{", `{"format":"smelt times 1","FORMAT":"x"}`, `{"format":"smelt times 2"}`, `{"format":"smelt times 1","files":[{"name":1}]}`, string(data) + "x"} {
		put(t, bad, record)
		if got, err := b.Modified(s.Checkpoint); err == nil || len(got) > 0 || !strings.Contains(err.Error(), timesName) {
			t.Errorf("%q: %v %v", bad, got, err)
		}
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	modified("no record")
}

// TestHashes: what --hash records is found again, and a changed byte is noticed.
func TestHashes(t *testing.T) {
	t.Parallel()
	ck := copied(t)
	s := source(t, ck)
	b := compile(t, s, smallOptions)
	dir := filepath.Join(t.TempDir(), "b")
	write(t, b, dir)
	if _, err := b.RecordedHashes(); !errors.Is(err, ErrNoHashes) {
		t.Errorf("no record: %v", err)
	}
	var told atomic.Int64
	h, err := filehash.Of(t.Context(), s.Checkpoint, filehash.Options{Hub: true, Progress: func(n int64) { told.Add(n) }})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range s.Checkpoint.Files {
		data, err := os.ReadFile(f.Path())
		if err != nil {
			t.Fatal(err)
		}
		told.Add(-int64(len(data)))
		if want := (filehash.Hash{Name: filepath.Base(f.Path()), Bytes: int64(len(data)), SHA256: digest(data), Source: filehash.Read}); h.Files[i] != want {
			t.Errorf("%+v, expected %+v", h.Files[i], want)
		}
	}
	if off := told.Load(); off != 0 {
		t.Errorf("progress is off by %d bytes", off)
	}
	b.Hashes = h
	write(t, b, dir)
	read, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read.RecordedHashes(); err != nil || !slices.Equal(got.Files, h.Files) {
		t.Errorf("recorded %+v, %v", got, err)
	}
	b.Hashes = nil
	write(t, b, dir) // and the record goes
	if _, err := read.RecordedHashes(); err == nil {
		t.Error("a record of a compile before")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := filehash.Of(ended, s.Checkpoint, filehash.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	file := s.Checkpoint.Files[0].Path()
	if err := os.Truncate(file, s.Checkpoint.Files[0].Size()+1); err != nil {
		t.Fatal(err)
	}
	if _, err := filehash.Of(t.Context(), s.Checkpoint, filehash.Options{}); err == nil || !strings.Contains(err.Error(), "its size changed") {
		t.Errorf("a file that grew: %v", err)
	}
}

// TestRecordRefused: a record of weights that was not written so.
func TestRecordRefused(t *testing.T) {
	inFull(t)
	t.Parallel()
	s := source(t, fixture)
	b, _ := twoBundles()
	h, err := filehash.Of(t.Context(), s.Checkpoint, filehash.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Hashes = h
	dir := filepath.Join(t.TempDir(), "b")
	write(t, b, dir)
	path := filepath.Join(dir, hashesName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"smelt weights 1"`, `"smelt weights 2"`, "smelt weights 2"},
		{`"format"`, `"Format"`, "/Format"},
		{`"files":[`, `"files":[],"x":[`, "/x"},
		{`"source":"read"`, `"source":"guess"`, "files[0]"},
		{`"sha256":"`, `"sha256":"z`, "files[0]"},
		{`"bytes":`, `"bytes":1`, "files[0]"},
		{`"bundle_sha256":"`, `"bundle_sha256":"0`, "no record"},
		{`}`, ``, hashesName},
	} {
		put(t, strings.Replace(string(good), c.old, c.new, 1), path)
		if _, err := b.RecordedHashes(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, expected %q", c.new, err, c.want)
		}
	}
}

// TestStrangeRecords: files of others that are called like smelt's records.
func TestStrangeRecords(t *testing.T) {
	inFull(t)
	t.Parallel()
	a, b := twoBundles()
	dir := filepath.Join(t.TempDir(), "b")
	write(t, a, dir)
	mine := put(t, `{"format":"mine"}`, dir, hashesName)
	write(t, b, dir)
	if data, err := os.ReadFile(mine); err != nil || string(data) != `{"format":"mine"}` {
		t.Errorf("a file that smelt did not write: %q %v", data, err)
	}
	b.Hashes = &filehash.Hashes{}
	for _, spoil := range []func() string{
		func() string { return mine },
		func() string { return put(t, "x", dir, timesName) },
		func() string { return put(t, "", dir, timesName) },
	} {
		path := spoil()
		if _, err := b.Write(t.Context(), dir); err == nil || !strings.Contains(err.Error(), path+" was not written by smelt compile") {
			t.Errorf("%v", err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	write(t, b, dir)
}

// TestHub: in the hub's cache files are links to blobs named by their SHA-256. Only
// such a name is believed.
func TestHub(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	snapshot, blobs := filepath.Join(root, "snapshots", "0123abcd"), filepath.Join(root, "blobs")
	for _, dir := range []string{snapshot, blobs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(fixture)
	if err != nil {
		t.Fatal(err)
	}
	hash := digest([]byte("model-00001-of-00003.safetensors")) // of nothing: reading would give another
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(fixture, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		blob := digest(data)[:40] // as git names small files
		if filepath.Ext(e.Name()) == ".safetensors" {
			blob = digest([]byte(e.Name()))
		}
		put(t, string(data), blobs, blob)
		if err := os.Symlink(filepath.Join("..", "..", "blobs", blob), filepath.Join(snapshot, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	m, err := models.Open(snapshot, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	h, err := filehash.Of(t.Context(), m.Checkpoint, filehash.Options{Hub: true})
	if err != nil || h.Files[0].SHA256 != hash || h.Files[0].Source != filehash.Hub {
		t.Errorf("%+v %v", h, err)
	}
	h, err = filehash.Of(t.Context(), m.Checkpoint, filehash.Options{})
	if err != nil || h.Files[0].SHA256 == hash || h.Files[0].Source != filehash.Read {
		t.Errorf("to compare with, the file is to be read: %+v %v", h, err)
	}
}
