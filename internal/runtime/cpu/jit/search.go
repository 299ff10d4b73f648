package jit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ebitengine/purego"

	"smelt.example/smelt/internal/runtime/dynlib"
)

// Env names the environment variable that says which libLLVM to load.
const Env = "SMELT_LLVM"

// oldest is the first version whose C interface has all that bindings lists;
// newest is how far the search by number goes.
const oldest, newest = 14, 30

// Candidates lists where libLLVM may be on an operating system (as in
// runtime.GOOS), best first: newer before older. Names without a folder are for
// the dynamic loader to find.
func Candidates(goos string) []string {
	var list []string
	if goos == "darwin" {
		// Homebrew on Apple silicon and on Intel, then MacPorts.
		brews := []string{"/opt/homebrew/opt", "/usr/local/opt"}
		for _, brew := range brews {
			list = append(list, brew+"/llvm/lib/libLLVM.dylib")
		}
		for v := newest; v >= oldest; v-- {
			for _, brew := range brews {
				list = append(list, fmt.Sprintf("%s/llvm@%d/lib/libLLVM.dylib", brew, v))
			}
			list = append(list, fmt.Sprintf("/opt/local/libexec/llvm-%d/lib/libLLVM.dylib", v))
		}
		return list
	}
	for v := newest; v >= oldest; v-- {
		list = append(list,
			fmt.Sprintf("libLLVM.so.%d.1", v), // since 18
			fmt.Sprintf("libLLVM-%d.so.1", v), // Debian and Ubuntu
			fmt.Sprintf("libLLVM-%d.so", v),   // Fedora, Arch, SUSE
			fmt.Sprintf("/usr/lib/llvm-%d/lib/libLLVM.so.1", v),
			fmt.Sprintf("/usr/lib/llvm-%d/lib/libLLVM-%d.so", v, v),
			fmt.Sprintf("/usr/lib64/llvm%d/lib/libLLVM.so", v))
	}
	return append(list, "libLLVM.so")
}

// errSecond is the refusal of libraries that would get in each other's way.
var errSecond = errors.New("cannot be used beside the one that this process has loaded")

// advice says how to get libLLVM.
func advice(goos string) string {
	how := "install libLLVM (Debian, Ubuntu: apt-get install libllvm19 or libllvm14)"
	if goos == "darwin" {
		how = "install libLLVM (brew install llvm)"
	}
	return how + ", or set " + Env + " to the path of the library"
}

// open loads the first library of the list that is fit, and says in one line why
// there is none.
func open(goos string, list []string) (*LLVM, error) {
	var unfit []string
	for _, name := range list {
		l, err := load(name)
		if err == nil {
			return l, nil
		}
		if !dynlib.Absent(name, err) {
			unfit = append(unfit, fmt.Sprintf("; %s %v", name, err))
		}
	}
	return nil, fmt.Errorf("no libLLVM of version %d or newer (tried %d places from %s to %s%s): %s",
		oldest, len(list), list[0], list[len(list)-1], strings.Join(unfit, ""), advice(goos))
}

// library is a loaded libLLVM: handle is the loader's, path the file.
type library struct {
	handle uintptr
	path   string
}

// loadLibrary loads a library and fills b with its functions.
func loadLibrary(name string, b *bindings) (library, error) {
	// First for this package alone: what turns out unfit must not lend its
	// symbols to libraries loaded later.
	handle, err := dynlib.Load(name)
	if err != nil {
		return library{}, err
	}
	if err := b.bind(handle); err != nil {
		purego.Dlclose(handle)
		return library{}, err
	}
	lib := library{handle, name}
	own, err := purego.Dlsym(handle, "LLVMContextCreate")
	if err != nil {
		return library{}, err
	}
	if file, ok := dynlib.FileOf(own); ok {
		lib.path = file
	}
	if other, err := purego.Dlsym(purego.RTLD_DEFAULT, "LLVMContextCreate"); err == nil && other != own {
		file, _ := dynlib.FileOf(other)
		purego.Dlclose(handle)
		return library{}, fmt.Errorf("%w, %s", errSecond, file)
	}
	// Then for the process, where compiled code looks for the functions it
	// calls: what libLLVM brings along (libm) is there too.
	if _, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL); err != nil {
		return library{}, fmt.Errorf("%w: %s", dynlib.ErrLoad, oneLine(err.Error()))
	}
	return lib, nil
}

// has reports whether the library has a function.
func (l library) has(name string) bool {
	_, err := purego.Dlsym(l.handle, name)
	return err == nil
}
