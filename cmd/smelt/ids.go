package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"smelt.example/smelt/internal/hub"
)

// followIDs puts the folder of a snapshot in the place of an id or a folder of the
// Hugging Face cache, before a command that takes a checkpoint sees its arguments:
// what it reads, it must not write over.
func followIDs(io stdio, cmd *cobra.Command, args []string) error {
	if len(args) == 0 || !strings.Contains(cmd.Use, "CHECKPOINT") {
		return nil
	}
	path, err := hub.Resolve(args[0])
	if err != nil {
		return err
	}
	if path != args[0] {
		fmt.Fprintf(io.err, "note: %s is %s\n", args[0], path)
		args[0] = path
	}
	return nil
}

// cachedIDs completes ids of the cache, where no path goes on like that.
func cachedIDs(begun string) []string {
	if begun == "" {
		return nil
	}
	if paths, err := filepath.Glob(begun + "*"); err != nil || len(paths) > 0 {
		return nil
	}
	return hub.Cached(begun)
}
