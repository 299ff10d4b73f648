// Command kernel compiles a checkpoint and prints one of its kernels as Metal text,
// or the names of all.
//
//	go run ./examples/kernel examples/storyteller/checkpoint
//	go run ./examples/kernel examples/storyteller/checkpoint head_decode
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"smelt.example/smelt"
	"smelt.example/smelt/codegen/bundle"
)

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		log.Fatal("usage: kernel CHECKPOINT [KERNEL]")
	}
	if err := show(os.Stdout, os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

// show compiles the checkpoint at path. It writes the texts of the named kernels, or
// all names if there are none.
func show(out io.Writer, path string, names []string) error {
	files, err := smelt.OpenFiles(path)
	if err != nil {
		return err
	}
	defer files.Close()
	compiled, _, err := bundle.Compile(files.Source(), bundle.Options{Lean: true})
	if err != nil {
		return err
	}
	if len(names) == 0 {
		for _, k := range compiled.Plan.Kernels {
			fmt.Fprintln(out, k.Name)
		}
	}
	for _, name := range names {
		text, err := compiled.Text(name)
		if err != nil {
			return err
		}
		fmt.Fprint(out, text)
	}
	return nil
}
