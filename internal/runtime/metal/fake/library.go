package fake

import (
	"regexp"
	"strconv"
	"strings"
)

// compileOptions are an MTLCompileOptions'.
type compileOptions struct {
	language uintptr
	safe     bool // fast math was turned off
	precise  bool // so were fast functions
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
	metal31          = 3<<16 + 1
	mathModeSafe     = 0
	preciseFunctions = 1
	// maxThreads is how many threads a threadgroup has at most.
	maxThreads = 1024

	libraryErrors = "MTLLibraryErrorDomain"
	compileFailed = 3
)

// declared is a kernel's declaration from its keyword on, with and without
// attributes.
var (
	declared   = regexp.MustCompile(`^kernel\b([^\]]*\]\])?\s*void\s+(\w+)\s*\(`)
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
				o := self.data.(*compileOptions)
				o.safe = args[0]&0xff == 0
				o.precise = o.safe
				return 0
			}},
			{selector: "setMathMode:", params: []string{word}, since: 15, do: func(_ *Runtime, self *object, args []uintptr) uintptr {
				self.data.(*compileOptions).safe = args[0] == mathModeSafe
				return 0
			}},
			{selector: "setMathFloatingPointFunctions:", params: []string{word}, since: 15, do: func(_ *Runtime, self *object, args []uintptr) uintptr {
				self.data.(*compileOptions).precise = args[0] == preciseFunctions
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
	switch {
	case !o.safe:
		r.violate("fast math was not turned off")
	case !o.precise:
		r.violate("fast functions were not turned off")
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
	for source = uncommented(source); ; {
		at := strings.Index(source, "kernel")
		if at < 0 {
			return out, nil
		}
		m := declared.FindStringSubmatch(source[at:])
		source = source[at+len("kernel"):]
		if m == nil {
			continue
		}
		out[m[2]] = maxThreads
		if limit := mostThread.FindStringSubmatch(m[1]); limit != nil {
			n, err := strconv.Atoi(limit[1])
			if err != nil {
				return nil, err
			}
			out[m[2]] = min(n, maxThreads)
		}
	}
}

// uncommented is a source without its comments.
func uncommented(source string) string {
	var out strings.Builder
	for {
		at := strings.IndexByte(source, '/')
		if at < 0 || at+1 == len(source) {
			out.WriteString(source)
			return out.String()
		}
		out.WriteString(source[:at])
		end := ""
		switch source[at+1] {
		case '/':
			end = "\n"
		case '*':
			end = "*/"
		default:
			out.WriteByte('/')
			source = source[at+1:]
			continue
		}
		_, source, _ = strings.Cut(source[at+2:], end)
		out.WriteByte(' ')
	}
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
