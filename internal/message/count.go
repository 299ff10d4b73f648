package message

import (
	"strconv"

	"golang.org/x/exp/constraints"
)

// Grouped writes a number with thousands apart: 1,048,576.
func Grouped[N constraints.Signed](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// Plural writes a count with its noun: "1 kernel", "1,024 kernels".
func Plural[N constraints.Signed](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Grouped(n) + " " + noun + "s"
}
