package main

import (
	"fmt"
	"strconv"
	"strings"
)

// parseTokens reads token ids: numbers separated by commas or white space, as
// a list or as a JSON array. Nothing before a comma is an error: an id may be
// lost there. name stands for their source in errors.
func parseTokens(text, name string) ([]int32, error) {
	body := strings.TrimSpace(text)
	if opened := strings.HasPrefix(body, "["); opened != strings.HasSuffix(body, "]") {
		found := "a ] at its end and no [ before it"
		if opened {
			found = "a [ and no ] at its end"
		}
		return nil, fmt.Errorf("%s: expected a whole list of token ids, found %s; a part of it is missing", name, found)
	}
	body = strings.TrimSuffix(strings.TrimPrefix(body, "["), "]")
	ids := make([]int32, 0, len(body)/2+1)
	for more := true; more; {
		var part string
		part, body, more = strings.Cut(body, ",")
		fields := strings.FieldsFunc(part, func(r rune) bool { return strings.ContainsRune(" \t\r\n", r) })
		if len(fields) == 0 && more {
			return nil, fmt.Errorf("%s: expected token ids (whole numbers from 0), found nothing before a comma in place %d", name, len(ids)+1)
		}
		for _, f := range fields {
			n, err := strconv.ParseInt(f, 10, 32)
			if err != nil || n < 0 {
				return nil, fmt.Errorf("%s: expected token ids (whole numbers from 0), found %.40q in place %d", name, f, len(ids)+1)
			}
			ids = append(ids, int32(n))
		}
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
