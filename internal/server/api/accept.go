package api

import (
	"mime"
	"strconv"
	"strings"
)

// Accepts tells whether the request asks for a type of content by its name: "*/*" does
// not.
func (c *Call) Accepts(kind string) bool {
	for _, line := range c.r.Header.Values("Accept") {
		for _, part := range strings.Split(line, ",") {
			found, params, err := mime.ParseMediaType(part)
			if err != nil || found != kind {
				continue
			}
			q, err := strconv.ParseFloat(params["q"], 64)
			if params["q"] == "" || err == nil && q > 0 {
				return true
			}
		}
	}
	return false
}
