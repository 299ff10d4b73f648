package hub

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

const (
	hashA = "0123456789abcdef0123456789abcdef01234567"
	hashB = "89abcdef0123456789abcdef0123456789abcdef"
	hashC = "0123456789ffffffffffffffffffffffffffffff" // begins as hashA does
)

// cache makes a cache of files by their paths; those that end in / are folders.
func cache(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hub")
	for path, content := range files {
		whole := filepath.Join(dir, path)
		err := os.MkdirAll(filepath.Dir(whole), 0o700)
		if err == nil && strings.HasSuffix(path, "/") {
			err = os.MkdirAll(whole, 0o700)
		} else if err == nil {
			err = os.WriteFile(whole, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HF_HUB_CACHE", dir)
	return dir
}

// several has models in every state that downloads leave.
func several(t *testing.T) string {
	return cache(t, map[string]string{
		"models--org--main/refs/main":                   hashA,
		"models--org--main/refs/v1.0":                   hashB + "\n",
		"models--org--main/refs/pr/1":                   hashB,
		"models--org--main/snapshots/" + hashA + "/":    "",
		"models--org--main/snapshots/" + hashB + "/":    "",
		"models--org--only/snapshots/" + hashA + "/":    "",
		"models--org--two/snapshots/" + hashA + "/":     "",
		"models--org--two/snapshots/" + hashB + "/":     "",
		"models--org--begun/refs/main":                  hashA,
		"models--org--begun/blobs/a1.incomplete":        "",
		"models--org--old/refs/main":                    hashA,
		"models--org--old/snapshots/" + hashB + "/":     "",
		"models--org--none/snapshots/":                  "",
		"models--org--strange/refs/main":                "../../../x",
		"models--org--strange/snapshots/" + hashA + "/": "",
		"models--org--twins/snapshots/" + hashA + "/":   "",
		"models--org--twins/snapshots/" + hashC + "/":   "",
		"models--gpt2/snapshots/" + hashA + "/":         "",
		"datasets--org--main/snapshots/" + hashA + "/":  "",
	})
}

func TestResolve(t *testing.T) {
	dir := several(t)
	t.Chdir(t.TempDir())
	for _, name := range []string{"here/folder", "org/dir-wins", "models--org--copy/snapshots"} {
		if err := os.MkdirAll(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("models--org--copy/config.json", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(dir, "models--org--main", "snapshots")
	for link, to := range map[string]string{
		"org/only": "nowhere", "models--gone--x": "nowhere", "circle": "circle", // links to nothing
		"flash": filepath.Join(dir, "models--org--main"), "shots": main, "link": "flash", "here/link": "folder",
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Skip(err)
		}
	}
	for path, want := range map[string]string{
		"org/main":                                    filepath.Join(main, hashA),
		"org/main@v1.0":                               filepath.Join(main, hashB),
		"org/main@pr/1":                               filepath.Join(main, hashB),
		"org/main@" + hashB:                           filepath.Join(main, hashB),
		"org/main@" + hashB[:7]:                       filepath.Join(main, hashB),
		"org/main@main":                               filepath.Join(main, hashA),
		"org/twins@" + hashC:                          filepath.Join(dir, "models--org--twins", "snapshots", hashC),
		"org/twins@" + hashC[:11]:                     filepath.Join(dir, "models--org--twins", "snapshots", hashC),
		filepath.Join(dir, "models--org--only"):       filepath.Join(dir, "models--org--only", "snapshots", hashA),
		filepath.Join(dir, "models--org--main"):       filepath.Join(main, hashA),
		filepath.Join(dir, "models--org--main") + "/": filepath.Join(main, hashA),
		main:                               filepath.Join(main, hashA),
		main + "/":                         filepath.Join(main, hashA),
		filepath.Join(dir, "models--gpt2"): filepath.Join(dir, "models--gpt2", "snapshots", hashA),
		filepath.Join(main, hashB):         filepath.Join(main, hashB), // the snapshot itself
		"flash":                            filepath.Join(main, hashA), // links to the folders
		"flash/":                           filepath.Join(main, hashA),
		"flash/snapshots":                  filepath.Join(main, hashA),
		"shots":                            filepath.Join(main, hashA),
		"link":                             filepath.Join(main, hashA),
		// What is no id, or is there, stays.
		"org/only": "org/only", "models--gone--x": "models--gone--x", "circle": "circle", "here/link": "here/link", "nowhere": "nowhere",
		"here/folder": "here/folder", "org/dir-wins": "org/dir-wins", "./org/main": "./org/main", "/org/main": "/org/main", "../org": "../org",
		"main": "main", "a/b/c": "a/b/c", "org/": "org/", "org/x.safetensors": "org/x.safetensors", "x/tokenizer.json": "x/tokenizer.json", "": "", "~/x": "~/x",
		"org/na me": "org/na me", "models--org--copy": "models--org--copy", dir: dir,
	} {
		got, err := Resolve(path)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", path, got, err, want)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	dir := several(t)
	t.Chdir(t.TempDir())
	in := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	for path, want := range map[string][]string{
		"org/missing":            {"there is no file or folder org/missing here", "in the Hugging Face cache (" + dir + ")", "`hf download org/missing`"},
		"org/missing@v2":         {"`hf download org/missing --revision v2`"},
		"org/two":                {"has 2 snapshots of org/two", "no refs/main", "\n  " + in("models--org--two", "snapshots", hashA), "\n  " + in("models--org--two", "snapshots", hashB)},
		"org/begun":              {"no snapshot of org/begun", "`hf download org/begun` goes on with it"},
		"org/none":               {"no snapshot of org/none", "`hf download org/none` goes on with it"},
		"org/old":                {in("models--org--old", "refs", "main") + ` says "` + hashA, "`hf download org/old` goes on with it", hashB},
		"org/strange":            {`says "../../../x"`, "no such snapshot"},
		"org/main@v9":            {"no revision v9 of org/main", "`hf download org/main --revision v9`", hashA, hashB},
		"org/main@../../x":       nil, // no revision: not an id
		"org/main@a/../../../x":  {"no revision a/../../../x"},
		"org/main@0123":          {"no revision 0123"}, // too short for a hash
		"org/twins@0123456789":   {"0123456789 begins the names of 2 snapshots of org/twins", hashA, hashC},
		in("models--org--two"):   {"has 2 snapshots"},
		in("models--org--none"):  {"no snapshot of org/none"},
		in("models--org--begun"): {"no snapshot of org/begun: its download was not finished; `hf download org/begun` goes on with it"},
	} {
		got, err := Resolve(path)
		if want == nil {
			if err != nil || got != path {
				t.Errorf("%s: %s, %v", path, got, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: %s, want an error", path, got)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: the error lacks %q:\n%v", path, w, err)
			}
		}
	}
	if _, err := Resolve("org/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a missing model is no file that does not exist")
	}
}

// A cache elsewhere is named in the command.
func TestElsewhere(t *testing.T) {
	dir := several(t)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	if _, err := Resolve(filepath.Join(dir, "models--org--none")); err == nil || !strings.Contains(err.Error(), "`hf download org/none --cache-dir "+dir+"`") {
		t.Error(err)
	}
}

func TestCacheDir(t *testing.T) {
	for _, c := range []struct {
		set  map[string]string
		want string
	}{
		{map[string]string{}, "/home/me/.cache/huggingface/hub"},
		{map[string]string{"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub"},
		{map[string]string{"XDG_CACHE_HOME": "/xdg", "HF_HOME": "/hf"}, "/hf/hub"},
		{map[string]string{"HF_HOME": "~/hf"}, "/home/me/hf/hub"},
		{map[string]string{"HF_HOME": "$HOME/hf"}, "/home/me/hf/hub"},
		{map[string]string{"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/older"}, "/older"},
		{map[string]string{"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/older", "HF_HUB_CACHE": "/newer"}, "/newer"},
		{map[string]string{"HF_HUB_CACHE": "", "HF_HOME": "/hf"}, "/hf/hub"},
		{map[string]string{"HF_HUB_CACHE": "/a/$UNSET_NAME"}, "/a/$UNSET_NAME"},
	} {
		for _, name := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"} {
			t.Setenv(name, c.set[name])
		}
		t.Setenv("HOME", "/home/me")
		if got := CacheDir(); got != c.want {
			t.Errorf("%v: %s, want %s", c.set, got, c.want)
		}
	}
}

// Without HOME the system knows where this user is at home.
func TestHomeless(t *testing.T) {
	me, err := user.Current()
	if err != nil || me.HomeDir == "" {
		t.Skip(err)
	}
	for _, name := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"} {
		t.Setenv(name, "")
	}
	if got := CacheDir(); !filepath.IsAbs(got) || !strings.HasSuffix(got, "/.cache/huggingface/hub") {
		t.Error(got)
	}
}

func TestOf(t *testing.T) {
	dir := several(t)
	snapshot := func(model, hash string) string { return filepath.Join(dir, model, "snapshots", hash) }
	for path, want := range map[string]string{
		snapshot("models--org--main", hashA):                        "`hf download org/main`",
		snapshot("models--org--main", hashA) + "/model.safetensors": "`hf download org/main`",
		snapshot("models--org--main", hashB):                        "`hf download org/main --revision " + hashB + "`",
		snapshot("models--org--only", hashA) + "/a/b":               "`hf download org/only --revision " + hashA + "`",
		snapshot("models--gpt2", "gone"):                            "`hf download gpt2 --revision gone`",
		filepath.Join(dir, "models--org--main"):                     "",
		filepath.Join(dir, "datasets--org--main", "snapshots", "x"): "",
		"/": "", ".": "", "": "",
	} {
		d, ok := Of(path)
		if got := ""; ok != (want != "") || ok && d.String() != want {
			t.Errorf("%s: %s%s, %v; want %s", path, got, d, ok, want)
		}
	}
	again := Again(filepath.Join(dir, "models--org--begun", "snapshots", hashA))
	if again != "`hf download org/begun` goes on with the download (1 file half downloaded)" {
		t.Error(again)
	}
	if again := Again("/models/x"); again != "download them into /models/x" {
		t.Error(again)
	}
}

func TestCached(t *testing.T) {
	several(t)
	for prefix, want := range map[string]string{"org/ma": "org/main", "org/o": "org/old org/only", "x": "", "gpt": ""} {
		if got := strings.Join(Cached(prefix), " "); got != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
}
