package imposter

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/internal/regular"
)

const lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:a1a1\nsize 14232712\n"

// strangers are what was found in the place of files, and what is said of it.
var strangers = []struct{ name, content, want string }{
	{"LFS pointer", lfs, "is a Git LFS pointer (to 14.2 MB), not the file itself; run `git lfs pull` in its folder, or download the file itself"},
	{"LFS pointer of Windows", strings.ReplaceAll(lfs, "\n", "\r\n"), "is a Git LFS pointer (to 14.2 MB)"},
	{"LFS pointer, cut", lfs[:50], "is a Git LFS pointer, not the file itself"},
	{"git-annex pointer", "/annex/objects/SHA256E-s5--a1.json\n", "is a git-annex pointer, not the file itself; run `git annex get`"},
	{"page", "<!DOCTYPE html>\n<html><head><title>\n Sign  in </title></head></html>", `is a web page ("Sign in"), not the file itself; download the file again, logged in`},
	{"page with a mark", "\xef\xbb\xbf  <html lang=en>", "is a web page, not the file itself"},
	{"page in XHTML", `<?xml version="1.0"?><!-- x --><html xmlns="y">`, "is a web page, not the file itself"},
	{"page behind a comment", "<!-- cached --><!doctype HTML><body>", "is a web page, not the file itself"},
	{"XML error", `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>No</Message></Error>`, `is an XML answer of a server ("AccessDenied"), not the file itself`},
	{"XML without a heading", `<Error><Message>Request has expired</Message></Error>`, `is an XML answer of a server ("Request has expired")`},
	{"no entry", "Entry not found", `is a text ("Entry not found"), not the file itself; download the file again, logged in`},
	{"404", "404: Not Found\n", `is a text ("404: Not Found")`},
	{"no access", "Access to model a/b is restricted. You must have access to it and be authenticated to access it. Please log in.", `is a text ("Access to model a/b is restricted`},
	{"credentials", "Invalid credentials in Authorization header", `is a text ("Invalid credentials`},
	{"JSON error", `{"error":"Repository not found"}`, `is a server's error message ("Repository not found")`},
	{"JSON message", ` {"message": "Not Found", "documentation_url": "https://x", "status": "404"}`, `is a server's error message ("Not Found")`},
	{"JSON detail", `{"detail":"Rate limit"}`, `is a server's error message ("Rate limit")`},
	{"JSON error of an object", `{"error":{"type":"invalid_request","message":"Rate limit","param":null,"retry":5}}`, `is a server's error message ("Rate limit")`},
	{"JSON errors in a list", `{"success":false,"errors":[{"code":1,"message":"No token"},{"message":"x"}]}`, `is a server's error message ("No token")`},
	{"JSON detail in a list", `{"detail":[{"loc":["path"],"msg":"field required","type":"x"}]}`, `is a server's error message ("field required")`},
	{"LFS pointer with a mark", "\xef\xbb\xbf" + lfs, "is a Git LFS pointer (to 14.2 MB)"},
	{"LFS pointer to a byte", strings.Replace(lfs, "14232712", "1", 1), "is a Git LFS pointer (to 1 byte), not"},
	{"git-xet pointer", "# xet version 0\nfilesize = 12345\nhash = 'a1'\n", "is a git-xet pointer, not the file itself; download the file itself"},
	{"link as a text", "../../blobs/a1b2c3", `is a text that names another file ("../../blobs/a1b2c3"), not the file itself; download the file itself`},
	{"link as a text with an end", "../x-1/tokenizer.json\r\n", `is a text that names another file ("../x-1/tokenizer.json")`},
	{"page with an entity", "<title>Sign in &mdash; &quot;Proxy&quot;</title>", `is a web page ("Sign in — \"Proxy\"")`},
	{"part of a page", `<div class="x">No</div>`, "is a web page, not"},
	{"heading", "<h1>502 Bad Gateway</h1>", "is a web page, not"},
	{"merge", "<<<<<<< HEAD\n{\"a\": 1}\n=======\n{}\n>>>>>>> x\n", "has the marks of a merge that git did not finish; edit it"},
	{"UTF-32", "\xff\xfe\x00\x00{\x00\x00\x00", "is text in UTF-32, expected UTF-8; write it as UTF-8 (iconv -f UTF-32"},
	{"UTF-32, big end first", "\x00\x00\xfe\xff\x00\x00\x00{", "is text in UTF-32"},
	{"UTF-32 without a mark", "{\x00\x00\x00\"\x00\x00\x00", "is text in UTF-32"},
	{"7z", "7z\xbc\xaf\x27\x1c\x00\x04", "is a 7z file"},
	{"RAR", "Rar!\x1a\x07\x01\x00", "is a RAR file"},
	{"tar", "config.json" + strings.Repeat("\x00", 246) + "ustar  \x00", "is a tar file, not the file itself; unpack it (tar -x)"},
	{"PDF", "%PDF-1.7\n%x", "is a PDF file"},
	{"PyTorch's zip", "PK\x03\x04\x00\x00\x08\x08archive/data.pkl", "is a PyTorch file, not the file itself; smelt reads safetensors"},
	{"PyTorch's pickle", "\x80\x02\x8a\x0al\xfc\x9cF\xf9", "is a PyTorch file"},
	{"empty", "", "is empty; download the file again"},
	{"white space", " \n\n", "has nothing but white space"},
	{"zeros", strings.Repeat("\x00", 9000), "begins with nothing but zeros: its download was not finished"},
	{"gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03abc", "is a gzip file, not the file itself; unpack it (gunzip)"},
	{"zip", "PK\x03\x04\x14\x00\x00\x00", "is a zip file, not the file itself; unpack it (unzip)"},
	{"zstd", "\x28\xb5\x2f\xfd\x04", "is a zstd file"},
	{"GGUF", "GGUF\x03\x00\x00\x00", "is a GGUF file, not the file itself; smelt reads safetensors"},
	{"UTF-16", "\xff\xfe{\x00\"\x00", "is text in UTF-16, expected UTF-8; write it as UTF-8"},
	{"UTF-16, big end first", "\xfe\xff\x00{\x00\"", "is text in UTF-16, expected UTF-8"},
	{"UTF-16 without a mark", "{\x00\"\x00a\x00", "is text in UTF-16, expected UTF-8"},
}

func put(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStrangers(t *testing.T) {
	cause := errors.New("no header")
	for _, c := range strangers {
		path := put(t, c.content)
		var e *Error
		if _, err := Read(path, 1<<20); !errors.As(err, &e) || !strings.HasPrefix(err.Error(), path+" "+c.want) {
			t.Errorf("%s: Read: %v, want %s", c.name, err, c.want)
		}
		if err := Explain(path, cause); !errors.As(err, &e) || !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), path+" "+c.want) {
			t.Errorf("%s: Explain: %v, want %s", c.name, err, c.want)
		}
		if len(e.Error()) > len(path)+250 || strings.ContainsAny(e.Error(), "\n\r\x00") {
			t.Errorf("%s: not one line: %q", c.name, e.Error())
		}
	}
}

// Files that are what they should be, or damaged in a way of their own, are left
// to their readers.
func TestNoStrangers(t *testing.T) {
	cause := errors.New("no header")
	for _, content := range []string{
		`{}`, ` {"error": "x", "model_type": "y"}`, `{"error": 5}`, `{"error": {"code": 5}}`, `{"title": {}, "type": "x"}`, `{"error": {"message": "x"}, "vocab_size": 5}`, `{"errors": ["x"`, `{"type": "BPE"}`, "\x80\x02", "[../x]",
		`{"message"`, `[]`, `null`, `true`, `"text"`, `12`, "{", "{'a': 1}",
		"\xef\xbb\xbf{\"a\": NaN}", `{"eos_token_id": 1}`, "\x93NUMPY", "a\x01b", "{\x00\x00\x00\x00\x00\x00\x00{\"a", "\x08\x00\x00\x00\x00\x00\x00\x00{}      ", "<", "< a", strings.Repeat("words ", 1000),
	} {
		path := put(t, content)
		if got, err := Read(path, 1<<20); err != nil || string(got) != content {
			t.Errorf("%q: %v", content, err)
		}
		if err := Explain(path, cause); err != cause {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// What is wrong besides stays what it is.
func TestOtherErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(filepath.Join(dir, "none"), 10); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Read(dir, 10); !errors.As(err, new(*regular.KindError)) {
		t.Error(err)
	}
	if _, err := Read(put(t, lfs), 10); !errors.As(err, new(*regular.SizeError)) || errors.As(err, new(*Error)) {
		t.Error(err)
	}
	link := filepath.Join(dir, "link.json")
	if err := os.Symlink("../blobs/a1", link); err != nil {
		t.Skip(err)
	}
	if _, err := Read(link, 10); !errors.As(err, new(*regular.LinkError)) || errors.As(err, new(*Error)) {
		t.Error(err)
	}
}

// A link of the hub's cache whose file is gone says how the file gets there.
func TestUnfinishedLink(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	dir := filepath.Join(cache, "models--org--name", "snapshots", "0a1b")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model.safetensors")
	if err := os.Symlink("../../blobs/a1", path); err != nil {
		t.Skip(err)
	}
	want := path + " is a link to ../../blobs/a1, which is not there: its download was not finished; `hf download org/name --revision 0a1b` goes on with it"
	if _, err := Read(path, 10); err == nil || err.Error() != want || !errors.As(err, new(*regular.LinkError)) {
		t.Errorf("%v, want %s", err, want)
	}
}

// FuzzLook: nothing panics, sentences are short and on one line, and no JSON that
// could be a model's is taken for something else.
func FuzzLook(f *testing.F) {
	for _, c := range strangers {
		f.Add([]byte(c.content[:min(len(c.content), 200)]), int64(len(c.content)))
	}
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		head = head[:min(len(head), headBytes)]
		found := look(head, max(size, int64(len(head))))
		if found != nil && (len(found.found) > 400 || strings.ContainsAny(found.found, "\n\r\x00")) {
			t.Fatalf("%q", found.found)
		}
	})
}

// Headers of weights of any length are no strangers, though the length may begin as XML, a
// zip or a bzip2 file, gzip, UTF-16 and zeros do.
func TestLengths(t *testing.T) {
	lengths := []uint64{0x20c533c, 0x4034b50, 0x1685a42, 0x8b1f, 0xfeff, 0xfffe, 0x1000000}
	for range 1000 {
		lengths = append(lengths, 1+rand.Uint64N(100_000_000))
	}
	for _, n := range lengths {
		head := []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), 0, 0, 0, 0, '{', '"', 'a', '"'}
		if found := look(head, 1<<30); found != nil {
			t.Errorf("a header of %d bytes %s", n, found.found)
		}
	}
}
