package message

import (
	"fmt"
	"strconv"
	"strings"

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

// Bytes writes a size: 160.0 GB.
func Bytes(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	return InUnits(n, "bytes", "kB", "MB", "GB", "TB")
}

// InUnits writes a number in the largest unit, in steps of 1000, that leaves a
// whole part, with two decimals below 10 and one from there.
func InUnits(n int64, units ...string) string {
	x, unit := float64(n), 0
	for x >= 999.95 && unit < len(units)-1 {
		x /= 1000
		unit++
	}
	switch {
	case unit == 0:
		return strings.TrimSpace(Grouped(n) + " " + units[0])
	case x < 10:
		return fmt.Sprintf("%.2f %s", x, units[unit])
	}
	return fmt.Sprintf("%.1f %s", x, units[unit])
}
