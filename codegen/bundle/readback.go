package bundle

import (
	"fmt"
	"path/filepath"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/regular"
	"smelt.example/smelt/ir"
)

// verifyWritten reads back what was written to dir, whose bundle.json is going to be
// document. It must be this bundle: module, plan, kernels and what they were made from.
func (b *Bundle) verifyWritten(dir string, document []byte) error {
	planned := b.Begin.Wait("planning again what was written")
	again, err := read(dir, document)
	if err == nil {
		err = b.same(again)
	}
	planned()
	done, end := b.Begin.Phase("reading back", int64(len(b.Plan.Kernels)), "kernels")
	defer end()
	for i := 0; err == nil && i < len(b.Plan.Kernels); i++ {
		err = sameText(b.Plan.Kernels[i], filepath.Join(dir, again.folder, filepath.FromSlash(kernelFile(b.Plan.Kernels[i]))))
		done(1)
	}
	if err != nil {
		return fmt.Errorf("%s was not written, for it would not be read back the same: %w", dir, err)
	}
	return nil
}

// same compares with a bundle whose plan was found to be encoded in the same bytes.
func (b *Bundle) same(again *Bundle) error {
	switch {
	case b.Name != again.Name || b.Checkpoint != again.Checkpoint || b.Layout != again.Layout || b.Config != again.Config || !slices.Equal(b.Files, again.Files):
		return fmt.Errorf("the model's names and files are read as %q, %s of %s, %s, %v; please report this", again.Name, again.Layout, again.Checkpoint, again.Config, again.Files)
	case b.CacheRows != again.CacheRows || b.CacheKeys != again.CacheKeys || !slices.Equal(b.Notes, again.Notes):
		return fmt.Errorf("caches and notes are read as %s, %s, %q; please report this", again.CacheRows, again.CacheKeys, again.Notes)
	case !ir.Equal(b.Module, again.Module):
		return fmt.Errorf("%s is read as another module; please report this", moduleName)
	case !slices.EqualFunc(b.Plan.Kernels, again.Plan.Kernels, kernel.Equal):
		return fmt.Errorf("planning %s gives other kernels; please report this", moduleName)
	}
	return nil
}

// sameText reads a kernel's file.
func sameText(k *kernel.Kernel, path string) error {
	source, err := regular.Read(path, maxKernel)
	if err != nil {
		return err
	}
	again, err := kernel.Parse(string(source))
	if err != nil {
		return fmt.Errorf("%s: %w; please report this", path, err)
	}
	if !kernel.Equal(k, again) {
		return fmt.Errorf("%s is read as another kernel; please report this", path)
	}
	return nil
}
