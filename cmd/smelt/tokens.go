package main

import (
	"fmt"
	"strconv"
	"strings"
)

// parseTokens reads token ids: numbers separated by commas or white space, as
// a list or as a JSON array. name stands for their source in errors.
func parseTokens(text, name string) ([]int32, error) {
	body := strings.TrimSpace(text)
	if strings.HasPrefix(body, "[") != strings.HasSuffix(body, "]") {
		return nil, fmt.Errorf("%s: a list that begins with [ ends with ]", name)
	}
	body = strings.TrimSuffix(strings.TrimPrefix(body, "["), "]")
	fields := strings.FieldsFunc(body, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	ids := make([]int32, len(fields))
	for i, f := range fields {
		n, err := strconv.ParseInt(f, 10, 32)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s: expected token ids (whole numbers from 0), found %.40q in place %d", name, f, i+1)
		}
		ids[i] = int32(n)
	}
	return ids, nil
}

// checkTokens requires ids below the vocabulary's size.
func checkTokens(ids []int32, vocab int, name string) error {
	for i, id := range ids {
		if int(id) >= vocab {
			return fmt.Errorf("%s: token %d in place %d is outside the vocabulary of %d", name, id, i+1, vocab)
		}
	}
	return nil
}
