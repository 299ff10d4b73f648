package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"smelt/internal/message"
	"smelt/internal/regular"
)

const (
	extension  = ".safetensors"
	configName = "config.json"
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"

	maxConfigBytes = 16 << 20
	maxIndexBytes  = 256 << 20
	// maxShards bounds how many files are open at once. The largest published
	// checkpoints have some 200; systems map 65,530 ranges for a process.
	maxShards = 10_000
)

// fileSet says which files make up a checkpoint.
type fileSet struct {
	dir   string
	names []string // weight files in dir, sorted
	index *index   // nil without an index file
	notes []string
}

// locate finds the weight files of the checkpoint at path, a folder or a
// single file. Without a usable answer the set has no names and findings say
// why.
func locate(path string, findings *Findings) fileSet {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		findings.AddError(fmt.Errorf("%w; check the path", errors.Unwrap(err))) // findings name the path
	case err != nil:
		findings.AddError(err)
	case info.IsDir():
		return locateFolder(path, findings)
	case !info.Mode().IsRegular():
		findings.Add("this is "+regular.Kind(info.Mode()), "give the folder that holds "+configName+" and the weights, or a "+extension+" file")
	case !strings.HasSuffix(path, extension):
		findings.Add("this is neither a folder nor a "+extension+" file", "give the folder that holds "+configName+" and the weights")
	default:
		set := fileSet{dir: filepath.Dir(path), names: []string{filepath.Base(path)}}
		if s, ok := parseShardName(set.names[0]); ok && s.of > 1 {
			findings.Add(fmt.Sprintf("this is shard %d of %d, not a whole checkpoint", s.number, s.of), "give its folder")
		}
		return set
	}
	return fileSet{}
}

func locateFolder(dir string, findings *Findings) fileSet {
	entries, err := os.ReadDir(dir)
	if err != nil {
		findings.AddError(err)
		return fileSet{}
	}
	var present []string
	hasIndex := false
	for _, e := range entries {
		hasIndex = hasIndex || e.Name() == indexName
		if strings.HasSuffix(e.Name(), extension) && !strings.HasPrefix(e.Name(), ".") {
			present = append(present, e.Name())
		}
	}
	slices.Sort(present)
	set := fileSet{dir: dir}
	if hasIndex {
		set.fromIndex(present, findings)
	} else {
		set.fromNames(present, entries, findings)
	}
	return set
}

// fromIndex takes the files the index names. Shards of the same set that it
// does not name are an error, other files beside them a note.
func (s *fileSet) fromIndex(present []string, findings *Findings) {
	path := filepath.Join(s.dir, indexName)
	raw, err := regular.Read(path, maxIndexBytes)
	if err == nil {
		s.index, err = parseIndex(raw)
		if err != nil {
			err = fmt.Errorf("%s: %w; download it again", path, err)
		}
	}
	if err != nil {
		findings.AddError(err)
		return
	}
	named := s.index.shards
	missing := without(named, present)
	advice := "download them into " + s.dir
	if slices.Contains(present, singleName) && !slices.Contains(named, singleName) {
		advice += ", or remove " + indexName + " to use " + singleName
	}
	findings.AddEach("shard", "named by "+indexName+" not in the folder", advice, missing)
	if len(named) == 0 {
		findings.Add("weight_map of "+indexName+" is empty", "download it again")
	}

	var strays, others []string
	sets := setsOf(named)
	for _, name := range without(present, named) {
		if shard, ok := parseShardName(name); ok && sets[shard.total] {
			strays = append(strays, name)
		} else {
			others = append(others, name)
		}
	}
	findings.AddEach("shard", "of the same set not named by "+indexName, "download the index again or remove the files", strays)
	s.noteOthers(others)
	s.names = without(named, missing)
}

// fromNames takes model.safetensors or a complete set of numbered shards.
func (s *fileSet) fromNames(present []string, entries []fs.DirEntry, findings *Findings) {
	numbers := map[string][]int{} // by total
	var shards, others []string
	for _, name := range present {
		shard, ok := parseShardName(name)
		switch {
		case ok:
			numbers[shard.total] = append(numbers[shard.total], shard.number)
			shards = append(shards, name)
		case name != singleName:
			others = append(others, name)
		}
	}
	hasSingle := slices.Contains(present, singleName)
	switch {
	case hasSingle && len(shards) > 0, len(numbers) > 1:
		findings.Add("several sets of weights and no "+indexName+" to choose", "remove all but one or add the index", present...)
	case hasSingle:
		s.names = []string{singleName}
	case len(numbers) == 1:
		for total, have := range numbers {
			findings.AddEach("shard", "missing, going by the names (there is no "+indexName+")", "download them into "+s.dir, missingShards(total, have))
		}
		s.names = shards
	default:
		var there []string
		for _, e := range entries {
			there = append(there, e.Name())
		}
		findings.Add(fmt.Sprintf("no weights: looked for %s, %s and model-00001-of-0000N%s", indexName, singleName, extension),
			"give a folder that has one of them or the path of a single "+extension+" file", describeFolder(there)...)
		return
	}
	if len(s.names) > maxShards {
		findings.Add(fmt.Sprintf("%d weight files, at most %d are opened", len(s.names), maxShards), "give a folder that holds one checkpoint")
		s.names = nil
	}
	s.noteOthers(others)
}

// noteOthers lists weight files that are left alone.
func (s *fileSet) noteOthers(names []string) {
	if len(names) > 0 {
		s.notes = append(s.notes, "not part of the checkpoint, not opened: "+message.List(names))
	}
}

func describeFolder(names []string) []string {
	if len(names) == 0 {
		return []string{"the folder is empty"}
	}
	return append([]string{"the folder has:"}, names...)
}

// A shardName is a parsed "model-00002-of-00010.safetensors". total is the
// last number as written: it identifies the set that the shard belongs to.
type shardName struct {
	number, of int
	total      string
}

// Five digits at most: the list of missing shards that a file name can cause
// stays bounded.
var shardPattern = regexp.MustCompile(`^model-(\d{1,5})-of-(\d{1,5})\.safetensors$`)

func parseShardName(name string) (shardName, bool) {
	m := shardPattern.FindStringSubmatch(name)
	if m == nil {
		return shardName{}, false
	}
	number, _ := strconv.Atoi(m[1]) // digits only, as the pattern says
	of, _ := strconv.Atoi(m[2])
	return shardName{number, of, m[2]}, number >= 1 && number <= of
}

// missingShards lists the shards of the set "-of-total" that are not among
// numbers.
func missingShards(total string, numbers []int) []string {
	of, _ := strconv.Atoi(total)
	have := make([]bool, of+1)
	for _, n := range numbers {
		have[n] = true
	}
	var names []string
	for n := 1; n <= of; n++ {
		if !have[n] {
			names = append(names, fmt.Sprintf("model-%0*d-of-%s%s", len(total), n, total, extension))
		}
	}
	return names
}

// setsOf are the sets of shards that files belong to, by their total as written.
func setsOf(names []string) map[string]bool {
	sets := map[string]bool{}
	for _, name := range names {
		if shard, ok := parseShardName(name); ok {
			sets[shard.total] = true
		}
	}
	return sets
}

// without is the elements of all that are not in gone.
func without(all, gone []string) []string {
	away := make(map[string]bool, len(gone))
	for _, s := range gone {
		away[s] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return away[s] })
}
