package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"smelt.example/smelt/internal/hub"
	"smelt.example/smelt/internal/imposter"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/checkpoint/formats"
	"smelt.example/smelt/internal/regular"
)

const (
	configName = formats.ConfigName

	maxConfigBytes = 16 << 20
	maxIndexBytes  = 256 << 20
	// maxShards bounds how many files are open at once. The largest published
	// checkpoints have some 200; systems map 65,530 ranges for a process.
	maxShards = 10_000
)

// fileSet says which files make up a checkpoint.
type fileSet struct {
	formats.Weights
	dir   string
	names []string // weight files in dir, sorted
	list  *index   // nil without an index file
	notes []string

	// missing are files that the index names and that are not in the folder, with what
	// to do about it; strays those of the same set that it does not name; others are
	// files that belong to something else.
	missing, strays, others []string
	missingAdvice           string
}

// locate finds the weight files of the checkpoint at path, a folder or a
// single file. Without a usable answer the set has no names and findings say
// why.
func locate(cs formats.Table, path string, findings *Findings) fileSet {
	info, err := regular.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		findings.AddError(fmt.Errorf("%w; check the path", errors.Unwrap(err))) // findings name the path
	case err != nil:
		findings.AddError(imposter.Explain(path, err))
	case info.IsDir():
		return locateFolder(cs, path, findings)
	case !info.Mode().IsRegular():
		findings.Add("this is "+regular.Kind(info.Mode()), "give the folder that holds "+configName+" and the weights, or a "+cs.Extensions()+" file")
	default:
		return locateFile(cs, path, findings)
	}
	return fileSet{}
}

// locateFile takes one file for all weights.
func locateFile(cs formats.Table, path string, findings *Findings) fileSet {
	c, ok := cs.Of(path)
	if !ok {
		findings.Add("this is neither a folder nor a "+cs.Extensions()+" file", "give the folder that holds "+configName+" and the weights")
		return fileSet{}
	}
	set := fileSet{Weights: formats.Weights{Extension: c.Extension}, dir: filepath.Dir(path), names: []string{filepath.Base(path)}}
	if s, ok := set.ParseShard(set.names[0]); ok && s.Of > 1 {
		findings.Add(fmt.Sprintf("this is shard %d of %d, not a whole checkpoint", s.Number, s.Of), "give its folder")
	}
	return set
}

func locateFolder(cs formats.Table, dir string, findings *Findings) fileSet {
	entries, err := os.ReadDir(dir)
	if err != nil {
		findings.AddError(err)
		return fileSet{}
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	set := fileSet{dir: dir}
	all := cs.In(names)
	found := slices.DeleteFunc(slices.Clone(all), func(w formats.Weights) bool { return len(w.Present) == 0 && !w.HasIndex })
	switch {
	case len(found) > 1:
		findings.Add("weights of several formats", "remove those of all but one, or give the path of a single file", describeFolder(names)...)
		return set
	case len(found) == 1:
		set.Weights = found[0]
	}
	switch {
	case set.HasIndex:
		set.fromIndex(findings)
	case !set.fromNames(findings):
		var expected []string
		for _, w := range all {
			expected = append(expected, w.Expected())
		}
		advice := "give a folder that has one of them or the path of a single " + cs.Extensions() + " file"
		if d, ok := hub.Of(dir); ok {
			advice = d.String() + " goes on with the download"
		}
		findings.Add("no weights: looked for "+strings.Join(expected, ", or "), advice, describeFolder(names)...)
	}
	return set
}

// fromIndex takes the files the index names. Shards of the same set that it does not
// name are strays, other files beside them a note.
func (s *fileSet) fromIndex(findings *Findings) {
	path := filepath.Join(s.dir, s.Index())
	raw, err := imposter.Read(path, maxIndexBytes)
	if err == nil {
		s.list, err = parseIndex(raw, s.Extension)
		if err != nil {
			err = fmt.Errorf("%s: %w; download it again", path, err)
		}
	}
	if err != nil {
		findings.AddError(err)
		return
	}
	named, present := s.list.shards, s.Present
	s.missing = without(named, present)
	s.missingAdvice = hub.Again(s.dir)
	if slices.Contains(present, s.Single()) && !slices.Contains(named, s.Single()) {
		s.missingAdvice += ", or remove " + s.Index() + " to use " + s.Single()
	}
	if len(named) == 0 {
		findings.Add("weight_map of "+s.Index()+" is empty", "download it again")
	}

	sets := s.Sets(named)
	for _, name := range without(present, named) {
		if shard, ok := s.ParseShard(name); ok && sets[shard.Total] {
			s.strays = append(s.strays, name)
		} else {
			s.others = append(s.others, name)
		}
	}
	s.noteOthers()
	s.names = without(named, s.missing)
}

// fromNames takes model.safetensors or a complete set of numbered shards.
// It is false if there are none of these.
func (s *fileSet) fromNames(findings *Findings) bool {
	numbers := map[string][]int{} // by total
	var shards []string
	for _, name := range s.Present {
		shard, ok := s.ParseShard(name)
		switch {
		case ok:
			numbers[shard.Total] = append(numbers[shard.Total], shard.Number)
			shards = append(shards, name)
		case name != s.Single():
			s.others = append(s.others, name)
		}
	}
	hasSingle := slices.Contains(s.Present, s.Single())
	switch {
	case hasSingle && len(shards) > 0, len(numbers) > 1:
		findings.Add("several sets of weights and no "+s.Index()+" to choose", "remove all but one or add the index", s.Present...)
	case hasSingle:
		s.names = []string{s.Single()}
	case len(numbers) == 1:
		for total, have := range numbers {
			findings.AddEach("shard", "missing, going by the names (there is no "+s.Index()+")", hub.Again(s.dir), s.Missing(total, have))
		}
		s.names = shards
	default:
		return false
	}
	if len(s.names) > maxShards {
		findings.Add(fmt.Sprintf("%d weight files, at most %d are opened", len(s.names), maxShards), "give a folder that holds one checkpoint")
		s.names = nil
	}
	s.noteOthers()
	return true
}

// noteOthers lists weight files that are left alone.
func (s *fileSet) noteOthers() {
	if len(s.others) > 0 {
		s.notes = append(s.notes, "not part of the checkpoint, not used: "+message.List(s.others))
	}
}

func describeFolder(names []string) []string {
	if len(names) == 0 {
		return []string{"the folder is empty"}
	}
	return append([]string{"the folder has:"}, names...)
}

// without is the elements of all that are not in gone.
func without(all, gone []string) []string {
	away := make(map[string]bool, len(gone))
	for _, s := range gone {
		away[s] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return away[s] })
}
