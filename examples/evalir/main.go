// Command evalir runs a module of the tensor IR through the evaluator, on a prompt of
// six tokens, and prints its named values. The module has no parameters.
//
//	go run ./examples/evalir examples/evalir/blocks.ir
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: evalir FILE.ir")
	}
	if err := run(os.Stdout, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// run evaluates one step of the module in a file.
func run(out io.Writer, path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	module, err := text.Parse(path, string(source))
	if err != nil {
		return err
	}
	machine, err := eval.New[float32](module, func(string) tensor.Source { return nil })
	if err != nil {
		return err
	}
	machine.Observe = func(name string, v tensor.Value[float32]) {
		if v.I != nil {
			fmt.Fprintln(out, name, v.Shape, v.I)
		} else {
			fmt.Fprintln(out, name, v.Shape, v.F)
		}
	}
	var rows []ir.Row
	for i := range int32(6) {
		rows = append(rows, ir.Row{Token: i, Position: i})
	}
	_, err = machine.Step(rows, []int{len(rows) - 1})
	return err
}
