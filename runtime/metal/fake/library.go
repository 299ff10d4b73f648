package fake

import (
	"regexp"
	"strconv"
)

// compileOptions are an MTLCompileOptions'.
type compileOptions struct {
	language uintptr
	safe     bool // fast math was turned off
}

// library is an MTLLibrary's.
type library struct {
	source  string
	kernels map[string]int // the most threads that the attribute allows, or maxThreads
}

// function is an MTLFunction's.
type function struct {
	kernel, source string
	threads        int
}

const (
	metal31      = 3<<16 + 1
	mathModeSafe = 0
	// maxThreads is how many threads a threadgroup has at most.
	maxThreads = 1024

	libraryErrors = "MTLLibraryErrorDomain"
	compileFailed = 3
)

// comments are those of C; kernels are the declarations of kernels, with and
// without attributes.
var (
	comments   = regexp.MustCompile(`(?s)//[^\n]*|/\*.*?\*/`)
	kernels    = regexp.MustCompile(`(\[\[\s*kernel\b[^\]]*\]\]|\bkernel\b)\s*void\s+(\w+)\s*\(`)
	mostThread = regexp.MustCompile(`max_total_threads_per_threadgroup\(\s*(\d+)\s*\)`)
)

func libraryClasses() []*class {
	return []*class{
		{name: "MTLCompileOptions", extends: root, static: []method{
			{selector: "new", do: func(r *Runtime, _ *object, _ []uintptr) uintptr {
				return r.owned(r.make("MTLCompileOptions", &compileOptions{}))
			}},
		}, instance: []method{
			{selector: "setLanguageVersion:", params: []string{word}, do: func(_ *Runtime, self *object, args []uintptr) uintptr {
				self.data.(*compileOptions).language = args[0]
				return 0
			}},
			{selector: "setFastMathEnabled:", params: []string{word}, do: func(_ *Runtime, self *object, args []uintptr) uintptr {
				self.data.(*compileOptions).safe = args[0]&0xff == 0
				return 0
			}},
			{selector: "setMathMode:", params: []string{word}, since: 15, do: func(_ *Runtime, self *object, args []uintptr) uintptr {
				self.data.(*compileOptions).safe = args[0] == mathModeSafe
				return 0
			}},
		}},
		{name: "MTLFunction", extends: root},
		{name: "MTLLibrary", extends: root, instance: []method{
			{selector: "newFunctionWithName:", params: []string{"NSString"}, do: newFunction},
		}},
	}
}

func newLibrary(r *Runtime, _ *object, args []uintptr) uintptr {
	source := r.text(args[0])
	o := r.object(args[1]).data.(*compileOptions)
	if o.language != metal31 {
		r.violate("the language version is %#x, not 3.1 (%#x)", o.language, metal31)
	}
	if !o.safe {
		r.violate("fast math was not turned off")
	}
	if compile := r.options.Compile; compile != nil {
		if err := r.unlocked(func() error { return compile(source) }); err != nil {
			return r.fail(args[2], libraryErrors, compileFailed, "%v", err)
		}
	}
	found, err := kernelsOf(source)
	if err != nil {
		return r.fail(args[2], libraryErrors, compileFailed, "%v", err)
	}
	return r.owned(r.make("MTLLibrary", &library{source, found}))
}

// kernelsOf finds the kernels of a source.
func kernelsOf(source string) (map[string]int, error) {
	out := map[string]int{}
	for _, m := range kernels.FindAllStringSubmatch(comments.ReplaceAllString(source, " "), -1) {
		out[m[2]] = maxThreads
		if limit := mostThread.FindStringSubmatch(m[1]); limit != nil {
			n, err := strconv.Atoi(limit[1])
			if err != nil {
				return nil, err
			}
			out[m[2]] = min(n, maxThreads)
		}
	}
	return out, nil
}

func newFunction(r *Runtime, self *object, args []uintptr) uintptr {
	lib, name := self.data.(*library), r.text(args[0])
	threads, ok := lib.kernels[name]
	if !ok {
		return 0
	}
	f := r.make("MTLFunction", &function{name, lib.source, threads})
	f.label = name
	return r.owned(f)
}
