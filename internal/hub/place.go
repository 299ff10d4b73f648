package hub

import (
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"smelt.example/smelt/internal/message"
)

// CacheDir is the folder of the cache, as the hub's library finds it: HF_HUB_CACHE,
// else the older HUGGINGFACE_HUB_CACHE, else hub in HF_HOME, which is huggingface in
// XDG_CACHE_HOME or ~/.cache.
func CacheDir() string {
	for _, name := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if dir := os.Getenv(name); dir != "" {
			return expand(dir)
		}
	}
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return filepath.Join(expand(dir), "hub")
	}
	dir := os.Getenv("XDG_CACHE_HOME")
	if dir == "" {
		dir = "~/.cache"
	}
	return filepath.Join(expand(dir), "huggingface", "hub")
}

// expand puts the home folder in the place of ~, and values in that of $NAME where
// there are some.
func expand(dir string) string {
	if dir == "~" || strings.HasPrefix(dir, "~/") {
		if home := homeDir(); home != "" {
			dir = home + dir[1:]
		}
	}
	return os.Expand(dir, func(name string) string {
		if v, ok := os.LookupEnv(name); ok {
			return v
		}
		return "$" + name
	})
}

// homeDir is that of HOME or, where that is not set, of the system's list of users.
func homeDir() string {
	if home, err := os.UserHomeDir(); err == nil {
		return home
	}
	me, err := user.Current()
	if err != nil {
		return ""
	}
	return me.HomeDir
}

// A Download is what to download, and prints as the command for it.
type Download struct {
	ID       string // org/name
	Revision string // "" for main
	Cache    string // the folder that holds it; "" for CacheDir
}

// String is the command, which goes on with a download that was not finished.
func (d Download) String() string {
	command := "hf download " + d.ID
	if d.Revision != "" {
		command += " --revision " + d.Revision
	}
	if d.Cache != "" && !same(d.Cache, CacheDir()) {
		command += " --cache-dir " + quoted(d.Cache)
	}
	return "`" + command + "`"
}

func same(a, b string) bool {
	x, err := os.Stat(a)
	y, other := os.Stat(b)
	return err == nil && other == nil && os.SameFile(x, y)
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	if strings.ContainsAny(path, " '\"$\\&;()<>|*?") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

// Of tells what a file or folder below a snapshot, which need not be there, was
// downloaded with; ok is false for paths that are not of the cache.
func Of(path string) (d Download, ok bool) {
	whole, err := filepath.Abs(path)
	if err != nil {
		return d, false
	}
	for {
		up := filepath.Dir(whole)
		if up == whole {
			return d, false
		}
		if repo := filepath.Dir(up); filepath.Base(up) == snapshots {
			if d.ID, ok = idOf(repo); ok {
				d.Cache = filepath.Dir(repo)
				if hash, err := readRef(repo, mainRef); err != nil || hash != filepath.Base(whole) {
					d.Revision = filepath.Base(whole)
				}
				return d, true
			}
		}
		whole = up
	}
}

// Again says how files that are missing from a folder get there.
func Again(dir string) string {
	d, ok := Of(dir)
	if !ok {
		return "download them into " + dir
	}
	return d.String() + " goes on with the download" + halves(d)
}

// halves counts what an interrupted download of the model left.
func halves(d Download) string {
	left, _ := filepath.Glob(filepath.Join(escapeGlob(d.Cache), repoPrefix+strings.Replace(d.ID, "/", "--", 1), "blobs", "*.incomplete"))
	if len(left) == 0 {
		return ""
	}
	return " (" + message.Count(len(left), "file") + " half downloaded)"
}

// escapeGlob takes the meaning from a path's characters that Glob has one for.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Cached lists the ids of the models in the cache that begin with a prefix.
func Cached(prefix string) (ids []string) {
	for _, name := range folders(CacheDir()) {
		if id, ok := idOf(name); ok && strings.Contains(id, "/") && strings.HasPrefix(id, prefix) {
			ids = append(ids, id)
		}
	}
	return ids
}
