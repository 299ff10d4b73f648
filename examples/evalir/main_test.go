package main

import "os"

func Example() {
	if err := run(os.Stdout, "blocks.ir"); err != nil {
		panic(err)
	}
	// Output:
	// ends [1] [3]
	// block [1] [0]
	// seen [6 1] [-1 -1 -1 0 0 0]
}
