// Package printer prints kernels as the text of a target: the table of languages.
package printer

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/llvm"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/codegen/target"
)

// languages are the printers, one for each language of targets.
var languages = map[target.Language]func(*kernel.Kernel, target.Target) (string, error){
	target.Metal: func(k *kernel.Kernel, _ target.Target) (string, error) { return msl.Print(k) },
	target.LLVM:  func(k *kernel.Kernel, t target.Target) (string, error) { return llvm.Module(k, t.Vector) },
}

// Print is the kernel as text for the target. The error names a language that
// has no printer, or what of the kernel cannot be printed.
func Print(k *kernel.Kernel, t target.Target) (string, error) {
	p := languages[t.Language]
	if p == nil {
		return "", fmt.Errorf("target %s: no printer for the language %q", t.Name, t.Language)
	}
	return p(k, t)
}
