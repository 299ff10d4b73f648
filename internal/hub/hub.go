// Package hub knows the cache that the Hugging Face hub's library and its command hf
// keep on disk:
//
//	models--org--name/refs/main         the name of a snapshot
//	models--org--name/snapshots/HASH/   a folder of links
//	models--org--name/blobs/            the files
//
// It only reads; nothing here uses a network.
package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/regular"
)

const (
	repoPrefix    = "models--"
	snapshots     = "snapshots"
	mainRef       = "refs/main"
	maxRefBytes   = 1 << 10
	maxListed     = 20
	shortRevision = 7 // letters that a shortened hash has at least
)

// idPattern is that of an id: org/name, with @revision or without.
var idPattern = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]{0,95})/([A-Za-z0-9_][A-Za-z0-9._-]{0,95})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{0,200}))?$`)

// Resolve follows a path into the cache: the folder of a model there
// (models--org--name, or its snapshots, or a link to one of them) to one snapshot, and
// an id such as org/name, if nothing has that path, to that model's. Any other path is
// returned as it is, whether something is there or not.
func Resolve(path string) (string, error) {
	// A link to nothing, or what must not be looked at, has the path too.
	if _, err := os.Lstat(path); err == nil || errors.Is(err, fs.ErrPermission) {
		if repo, ok := repoAt(path); ok {
			return snapshotOf(repo, "")
		}
		return path, nil
	}
	m := idPattern.FindStringSubmatch(path)
	if m == nil || strings.HasSuffix(path, ".safetensors") || strings.HasSuffix(path, ".json") {
		return path, nil
	}
	id, revision, cache := m[1]+"/"+m[2], m[3], CacheDir()
	repo := filepath.Join(cache, repoPrefix+m[1]+"--"+m[2])
	if info, err := os.Stat(repo); err == nil && info.IsDir() {
		return snapshotOf(repo, revision)
	}
	return "", &MissingError{ID: id, Revision: revision, Cache: cache}
}

// A MissingError says that neither a path nor the cache has what an id names.
type MissingError struct{ ID, Revision, Cache string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("there is no file or folder %s here, and no model of that id in the Hugging Face cache (%s); check the path, or download it: %s",
		e.ID, e.Cache, Download{ID: e.ID, Revision: e.Revision})
}

// Is makes the error one of those about files that do not exist.
func (e *MissingError) Is(target error) bool { return target == fs.ErrNotExist }

// repoAt is the folder of a cached model that a path leads to: itself, or the folder
// of its snapshots.
func repoAt(path string) (string, bool) {
	whole, err := filepath.Abs(path)
	if err != nil {
		return "", false
	}
	if isRepo(repoOf(whole)) {
		return repoOf(whole), true
	}
	// Names are those at the end of links.
	if whole, err = filepath.EvalSymlinks(whole); err == nil && isRepo(repoOf(whole)) {
		return repoOf(whole), true
	}
	return "", false
}

// repoOf is a folder or, of one of snapshots, the model's that it is in.
func repoOf(dir string) string {
	if filepath.Base(dir) == snapshots {
		return filepath.Dir(dir)
	}
	return dir
}

// isRepo tells a cached model's folder, whatever of it was downloaded, from others.
func isRepo(dir string) bool {
	if _, ok := idOf(dir); !ok {
		return false
	}
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return false // somebody's copy of a model under the cache's name
	}
	return slices.ContainsFunc([]string{snapshots, "refs", "blobs"}, func(part string) bool {
		info, err := os.Stat(filepath.Join(dir, part))
		return err == nil && info.IsDir()
	})
}

// idOf is the id of a model by its folder in the cache.
func idOf(repo string) (string, bool) {
	name, ok := strings.CutPrefix(filepath.Base(repo), repoPrefix)
	return strings.Replace(name, "--", "/", 1), ok && name != ""
}

// snapshotOf chooses a snapshot of a cached model: that of a revision, else that of
// the branch main, else the only one.
func snapshotOf(repo, revision string) (string, error) {
	id, _ := idOf(repo)
	dir := filepath.Join(repo, snapshots)
	have := folders(dir)
	get := Download{ID: id, Revision: revision, Cache: filepath.Dir(repo)}
	if len(have) == 0 {
		return "", fmt.Errorf("%s has no snapshot of %s: its download was not finished; %s goes on with it", dir, id, get)
	}
	ref := mainRef
	if revision != "" {
		switch named := namedBy(revision, have); len(named) {
		case 0:
			ref = "refs/" + revision
		case 1:
			return filepath.Join(dir, named[0]), nil
		default:
			return "", fmt.Errorf("%s begins the names of %d snapshots of %s; give one of%s", revision, len(named), id, listed(dir, named))
		}
	}
	hash, err := readRef(repo, ref)
	switch {
	case err == nil && slices.Contains(have, hash):
		return filepath.Join(dir, hash), nil
	case err == nil:
		return "", fmt.Errorf("%s says %s, and there is no such snapshot of %s: its download was not finished; %s goes on with it, or give one of%s",
			filepath.Join(repo, ref), message.Quote(hash), id, get, listed(dir, have))
	case revision != "":
		return "", fmt.Errorf("there is no revision %s of %s in %s; download it with %s, or give one of%s", revision, id, repo, get, listed(dir, have))
	case len(have) == 1:
		return filepath.Join(dir, have[0]), nil
	}
	return "", fmt.Errorf("%s has %d snapshots of %s and no %s that chooses; give one of%s", dir, len(have), id, mainRef, listed(dir, have))
}

// namedBy are the snapshots that a revision names: the one of that hash, or those whose
// hashes it begins.
func namedBy(revision string, have []string) (named []string) {
	if slices.Contains(have, revision) {
		return []string{revision}
	}
	for _, h := range have {
		if len(revision) >= shortRevision && strings.HasPrefix(h, revision) {
			named = append(named, h)
		}
	}
	return named
}

// readRef is the hash that a branch or tag stands for.
func readRef(repo, ref string) (string, error) {
	if !filepath.IsLocal(ref) {
		return "", fs.ErrNotExist
	}
	data, err := regular.Read(filepath.Join(repo, filepath.FromSlash(ref)), maxRefBytes)
	return strings.TrimSpace(string(data)), err
}

// folders lists the folders in a folder, and none if it cannot be read.
func folders(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// listed has a line for each snapshot.
func listed(dir string, names []string) string {
	var b strings.Builder
	for i, n := range names {
		if i == maxListed {
			fmt.Fprintf(&b, "\n  and %d more", len(names)-i)
			break
		}
		b.WriteString("\n  " + filepath.Join(dir, n))
	}
	return b.String()
}
