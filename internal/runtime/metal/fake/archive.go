package fake

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// archiveDescriptor is an MTLBinaryArchiveDescriptor's.
type archiveDescriptor struct{ path string }

// archive is an MTLBinaryArchive's: the entries of the functions it has.
type archive struct{ entries map[string]bool }

const (
	archiveErrors = "MTLBinaryArchiveDomain"
	invalidFile   = 1
	writeFailed   = 3
	// archiveHead is the first line of a file; a kernel's entry follows on each line.
	archiveHead = "fake binary archive"
)

func archiveClasses() []*class {
	return []*class{
		{name: "MTLBinaryArchiveDescriptor", extends: root, static: []method{
			{selector: "new", do: func(r *Runtime, _ *object, _ []uintptr) uintptr {
				return r.owned(r.make("MTLBinaryArchiveDescriptor", &archiveDescriptor{}))
			}},
		}, instance: []method{
			{selector: "setUrl:", params: []string{"NSURL?"}, do: func(r *Runtime, self *object, args []uintptr) uintptr {
				path := ""
				if url := r.object(args[0]); url != nil {
					path = url.data.(string)
				}
				self.data.(*archiveDescriptor).path = path
				return 0
			}},
		}},
		{name: "MTLBinaryArchive", extends: root, instance: []method{
			setLabel(),
			{selector: "addComputePipelineFunctionsWithDescriptor:error:", params: []string{"MTLComputePipelineDescriptor", failure}, do: archiveAdd},
			{selector: "serializeToURL:error:", params: []string{"NSURL", failure}, do: archiveWrite},
		}},
	}
}

// entry names a function's code: the kernel and what it was made of.
func (f *function) entry() string {
	return fmt.Sprintf("%s %x", f.kernel, sha256.Sum256([]byte(f.source)))
}

func newArchive(r *Runtime, _ *object, args []uintptr) uintptr {
	a := &archive{map[string]bool{}}
	path := r.object(args[0]).data.(*archiveDescriptor).path
	if path != "" {
		content, err := os.ReadFile(path)
		if err != nil {
			return r.fail(args[1], archiveErrors, invalidFile, "%v", err)
		}
		head, entries, _ := strings.Cut(string(content), "\n")
		if head != archiveHead {
			return r.fail(args[1], archiveErrors, invalidFile, "%s is no binary archive", path)
		}
		for _, line := range strings.Split(strings.TrimSuffix(entries, "\n"), "\n") {
			if line != "" {
				a.entries[line] = true
			}
		}
	}
	return r.owned(r.make("MTLBinaryArchive", a))
}

func archiveAdd(r *Runtime, self *object, args []uintptr) uintptr {
	f := r.object(args[0]).data.(*pipelineDescriptor).function
	if f == nil {
		r.violate("the descriptor has no function")
		return r.fail(args[1], archiveErrors, invalidFile, "the descriptor has no function")
	}
	self.data.(*archive).entries[f.entry()] = true
	return 1
}

func archiveWrite(r *Runtime, self *object, args []uintptr) uintptr {
	lines := append([]string{archiveHead}, slices.Sorted(maps.Keys(self.data.(*archive).entries))...)
	path := r.object(args[0]).data.(string)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return r.fail(args[1], archiveErrors, writeFailed, "%v", err)
	}
	return 1
}
