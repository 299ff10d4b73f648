// Package message shows text from outside in error messages: quoted, so that
// control characters do no harm, and shortened, for a tensor's name may be as
// long as a file.
package message

import (
	"fmt"
	"strconv"
)

// Quote quotes s and shows at most its first 200 bytes.
func Quote(s string) string {
	const limit = 200
	if len(s) <= limit {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%s... (%d bytes)", strconv.Quote(s[:limit]), len(s))
}

// Clip shows at most the first 40 bytes of a JSON value as they are written.
func Clip(value string) string {
	const limit = 40
	if len(value) <= limit {
		return value
	}
	return value[:limit] + "..."
}

// Count is "1 tensor" or "3 tensors".
func Count[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
