// Package dump writes the stages of a pipeline into files.
package dump

import (
	"fmt"
	"io"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// To returns a passes.Options.Dump that has every stage written as NN_pass.ir:
// 00_input.ir, 01_canonicalise.ir and so on.
func To(file func(name string, content func(io.Writer) error) error) func(int, string, *ir.Module) error {
	return func(index int, pass string, m *ir.Module) error {
		return file(fmt.Sprintf("%02d_%s.ir", index, pass), func(w io.Writer) error { return text.Print(w, m) })
	}
}
