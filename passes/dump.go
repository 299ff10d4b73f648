package passes

import (
	"fmt"
	"os"
	"path/filepath"

	"smelt/ir"
	"smelt/ir/text"
)

// DumpTo returns an Options.Dump that writes NN_pass.ir into a folder, which it
// makes if need be: 00_input.ir, 01_canonicalise.ir and so on.
func DumpTo(dir string) func(int, string, *ir.Module) error {
	return func(index int, pass string, m *ir.Module) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		name := fmt.Sprintf("%02d_%s.ir", index, pass)
		return os.WriteFile(filepath.Join(dir, name), []byte(text.String(m)), 0o644)
	}
}
