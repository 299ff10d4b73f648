package encoding_test

import (
	"fmt"
	"log"

	"smelt.example/smelt/ir/encoding"
)

// A matrix of 2 x 32 values, stored and read back.
func ExampleDecode() {
	e, err := encoding.Parse("mxfp4")
	if err != nil {
		log.Fatal(err)
	}
	values := make([]float64, 2*32)
	for i := range values {
		values[i] = float64(i%4) * 0.875
	}
	stored, err := encoding.Encode(e, values, 2, 32)
	if err != nil {
		log.Fatal(err)
	}
	planes, err := e.Planes(2, 32)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range planes {
		fmt.Printf("%s: %d x %d of %s, %d bytes\n", p.Role, p.Rows, p.Cols, p.DType, len(stored.Of(p.Role)))
	}
	row := make([]float32, 32)
	encoding.Decode(e, row, stored, 1)
	fmt.Println(values[32:36], "are read as", row[:4])
	// Output:
	// weight: 2 x 4 of U32, 32 bytes
	// scales: 2 x 1 of U8, 2 bytes
	// [0 0.875 1.75 2.625] are read as [0 1 2 3]
}

// A row of a cache, the last two elements kept as bf16.
func ExampleParseRow() {
	format, err := encoding.ParseRow("fp8_b64_r2")
	if err != nil {
		log.Fatal(err)
	}
	layout, err := format.Layout(6)
	if err != nil {
		log.Fatal(err)
	}
	row := []float32{0.1, 0.2, 0.3, 100, 0.1, 100}
	stored, back := make([]byte, layout.Bytes), make([]float32, layout.Width)
	encoding.EncodeRow(layout, stored, row)
	encoding.DecodeRow(layout, back, stored)
	fmt.Println(layout.Bytes, "bytes:", back)
	// Output:
	// 16 bytes: [0.1015625 0.203125 0.3125 96 0.100097656 100]
}
