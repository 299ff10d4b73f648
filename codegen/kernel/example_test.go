package kernel_test

import (
	"fmt"
	"log"

	"smelt.example/smelt/codegen/kernel"
)

// A kernel that doubles the elements of a vector, a SIMD group for each 32.
func ExampleBuilder() {
	b := kernel.New("double", nil, kernel.Schedule{Threads: 32, SimdWidth: 32}, "twice x")
	x := b.Pointer("x", kernel.Of(kernel.F32), kernel.ReadWrite)
	i := b.Let("i", kernel.Group(0).Mul(kernel.I(32)).Add(kernel.Thread()))
	x.Set(i, x.At(i).Mul(kernel.F(2)))
	k, err := b.Kernel()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(kernel.Print(k))
	// Output:
	// kernel double
	// doc "twice x"
	// schedule 32 32
	// pointer x f32 readwrite
	// {
	//   let i = ((%group.x * 32) + %thread)
	//   store device x[i] = (device x[i] * 2.0)
	// }
}

// Text that is no kernel: the error says where and why.
func ExampleParse() {
	_, err := kernel.Parse("kernel sum\nschedule 32 32\n{\n  let x = (%lane + 1.0)\n}\n")
	fmt.Println(err)
	// Output:
	// 4:18: + of i32 and f32: operands must have one type
}
