//go:build !unix

package bundle

import (
	"context"
	"os"
)

// lock does nothing: these systems have no such lock of a folder.
func lock(context.Context, string) (unlock func() error, held bool, err error) {
	return func() error { return nil }, false, nil
}

func syncPart(f *os.File) error { return f.Sync() }
