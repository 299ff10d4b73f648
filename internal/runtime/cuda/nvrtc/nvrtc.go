// Package nvrtc compiles CUDA C++ to machine code with NVIDIA's run-time compiler, a
// library that needs neither a card nor CUDA's headers. It is loaded when asked for,
// without cgo.
package nvrtc

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"smelt.example/smelt/internal/runtime/dynlib"
)

// Env names the environment variable that says which libnvrtc to load.
const Env = "SMELT_NVRTC"

// oldest is the first major version whose compiler is known to take the kernels,
// newest how far the search goes.
const oldest, newest = 12, 14

// Candidates lists where libnvrtc may be, best first. Names without a folder are for
// the dynamic loader to find.
func Candidates() (list []string) {
	for v := newest; v >= oldest; v-- {
		list = append(list, fmt.Sprintf("libnvrtc.so.%d", v), fmt.Sprintf("/usr/local/cuda-%d/lib64/libnvrtc.so.%d", v, v),
			fmt.Sprintf("/usr/local/cuda/lib64/libnvrtc.so.%d", v))
	}
	return append(list, "libnvrtc.so")
}

// table is NVRTC's interface as far as it is used: the field Name is nvrtcName.
type table struct {
	GetErrorString       func(result int32) *byte
	Version              func(major, minor *int32) int32
	CreateProgram        func(program *uintptr, source, name string, headers int32, texts, names **byte) int32
	DestroyProgram       func(program *uintptr) int32
	CompileProgram       func(program uintptr, options int32, list **byte) int32
	GetPTXSize           func(program uintptr, size *uintptr) int32
	GetPTX               func(program uintptr, text *byte) int32
	GetCUBINSize         func(program uintptr, size *uintptr) int32
	GetCUBIN             func(program uintptr, code *byte) int32
	GetProgramLogSize    func(program uintptr, size *uintptr) int32
	GetProgramLog        func(program uintptr, text *byte) int32
	GetSupportedArchs    func(list *int32) int32
	GetNumSupportedArchs func(n *int32) int32
}

// Compiler is a loaded NVRTC. Its methods may be called from several goroutines.
type Compiler struct {
	t            table
	path         string
	identity     string
	major, minor int32
}

// Open loads NVRTC: the library that Env names, else the newest at the usual places.
// The error is one line that says what was tried and what to install.
func Open() (*Compiler, error) {
	if path := os.Getenv(Env); path != "" {
		c, err := load(path)
		if err != nil {
			return nil, fmt.Errorf("%s %w (%s names it)", path, err, Env)
		}
		return c, nil
	}
	list := Candidates()
	var unfit []string
	for _, name := range list {
		c, err := load(name)
		if err == nil {
			return c, nil
		}
		if !dynlib.Absent(name, err) {
			unfit = append(unfit, fmt.Sprintf("; %s %v", name, err))
		}
	}
	return nil, fmt.Errorf("no libnvrtc of version %d or newer (tried %d places from %s to %s%s): install CUDA's run-time compiler (package cuda-nvrtc, or pip install nvidia-cuda-nvrtc), or set %s to the path of the library",
		oldest, len(list), list[0], list[len(list)-1], strings.Join(unfit, ""), Env)
}

func load(name string) (*Compiler, error) {
	handle, err := dynlib.Load(name)
	if err != nil {
		return nil, err
	}
	c := &Compiler{path: name}
	if missing, total := dynlib.Bind(handle, "nvrtc", &c.t); len(missing) == total {
		return nil, errors.New("is not libnvrtc: it has no " + missing[0])
	} else if len(missing) > 0 {
		return nil, errors.New("is too old: it has no " + strings.Join(missing, ", "))
	}
	if err := c.failure(c.t.Version(&c.major, &c.minor)); err != nil {
		return nil, err
	}
	if c.major < oldest {
		return nil, fmt.Errorf("is of version %s, expected %d or newer", c.Version(), oldest)
	}
	if at, err := dynlib.Symbol(handle, "nvrtcVersion"); err == nil {
		if file, ok := dynlib.FileOf(at); ok {
			c.path = file
		}
	}
	c.identity = dynlib.Identity(c.path)
	return c, nil
}

// Version is the compiler's: "13.0".
func (c *Compiler) Version() string { return fmt.Sprintf("%d.%d", c.major, c.minor) }

// Major is the version's first number: of the oldest driver that takes the code.
func (c *Compiler) Major() int { return int(c.major) }

// Identity tells this library's file from others.
func (c *Compiler) Identity() string { return c.identity }

// Path is the library's file.
func (c *Compiler) Path() string { return c.path }

// Capabilities are the compute capabilities that it makes code for, in order: 90 is
// 9.0.
func (c *Compiler) Capabilities() ([]int32, error) {
	var n int32
	if err := c.failure(c.t.GetNumSupportedArchs(&n)); err != nil || n <= 0 || n > 1000 {
		return nil, err
	}
	list := make([]int32, n)
	return list, c.failure(c.t.GetSupportedArchs(&list[0]))
}

// Header is a file that sources include.
type Header struct{ Name, Text string }

// Compile makes machine code of a source that the name stands for in messages. The
// error has the compiler's first lines.
func (c *Compiler) Compile(name, source string, headers []Header, options []string) ([]byte, error) {
	return c.make(name, source, headers, options, c.t.GetCUBINSize, c.t.GetCUBIN)
}

// Assembly makes PTX, the text that machine code is made of.
func (c *Compiler) Assembly(name, source string, headers []Header, options []string) (string, error) {
	text, err := c.make(name, source, headers, options, c.t.GetPTXSize, c.t.GetPTX)
	return string(text), err
}

func (c *Compiler) make(name, source string, headers []Header, options []string, size func(uintptr, *uintptr) int32, get func(uintptr, *byte) int32) (code []byte, err error) {
	var texts, names, list []*byte
	for _, h := range headers {
		texts, names = append(texts, cString(h.Text)), append(names, cString(h.Name))
	}
	for _, o := range options {
		list = append(list, cString(o))
	}
	var program uintptr
	if err := c.failure(c.t.CreateProgram(&program, source, name, int32(len(headers)), first(texts), first(names))); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.failure(c.t.DestroyProgram(&program))) }()
	if err := c.failure(c.t.CompileProgram(program, int32(len(list)), first(list))); err != nil {
		return nil, fmt.Errorf("%w: %s", err, c.log(program))
	}
	var n uintptr
	if err := c.failure(size(program, &n)); err != nil || n == 0 {
		return nil, errors.Join(err, errors.New("no code came of it"))
	}
	code = make([]byte, n)
	return code, c.failure(get(program, &code[0]))
}

// log is what the compiler says, cut where it gets long.
func (c *Compiler) log(program uintptr) string {
	const most = 2000
	var size uintptr
	if c.t.GetProgramLogSize(program, &size) != 0 || size <= 1 {
		return "no message"
	}
	text := make([]byte, size)
	if c.t.GetProgramLog(program, &text[0]) != 0 {
		return "no message"
	}
	return strings.TrimSpace(string(text[:min(size-1, most)]))
}

func (c *Compiler) failure(result int32) error {
	if result == 0 {
		return nil
	}
	return fmt.Errorf("NVRTC %s: %s", c.Version(), dynlib.Text(c.t.GetErrorString(result)))
}

// cString is a NUL-terminated copy.
func cString(s string) *byte { return &append([]byte(s), 0)[0] }

func first(list []*byte) **byte {
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}
